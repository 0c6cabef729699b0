# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Solo5's tenders on the node: where they are and which version of the interface to guests they have."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import Optional

from ..errors import ReleaseRefused
from ..layout import NodeLayout

TARGETS = ("hvt", "spt")
DUMPS = "hvt"
"""The target whose tender can leave the core of a guest."""
DEBUG = "hvt-debug"
"""The kind of the tender for it that may be installed beside the other one."""
PLACES = "/usr/local/bin:/usr/bin:/usr/local/sbin:/usr/sbin:/usr/lib/albatross:/usr/libexec/albatross"
"""Where they are looked for after PATH: albatross keeps its own."""
_PATIENCE_S = 5.0
_ABI = re.compile(r"ABI version (\d+)")


def tender(layout: NodeLayout, target: str) -> Optional[str]:
    """Path of the tender for a target: the one that is written down (``tenders.json``), else the one in PATH."""
    return _place(layout, target)


def dumping_tender(layout: NodeLayout) -> Optional[str]:
    """Path of a tender for hvt that can leave cores: the one for that, else the ordinary one if it was built so."""
    return next((path for path in (_place(layout, DEBUG), _place(layout, DUMPS)) if path and _dumps(path)), None)


def _dumps(path: str) -> bool:
    return "--dumpcore=" in _said(path, "--help")


def _place(layout: NodeLayout, kind: str) -> Optional[str]:
    recorded = _recorded(layout).get(kind)
    if recorded is not None:
        return recorded if os.access(recorded, os.X_OK) else None
    return shutil.which(f"solo5-{kind}", path=f"{os.environ.get('PATH', '')}:{PLACES}")


def why_no_tender(layout: NodeLayout, target: str) -> str:
    recorded = _recorded(layout).get(target)
    if recorded is not None:
        return f"the tender {recorded}, which {layout.tenders} names, cannot be executed"
    return (
        f"the tender solo5-{target} is not on this node (install Solo5, or name its path in {layout.tenders}, as role "
        "node does)"
    )


def abi_version(path: str) -> Optional[int]:
    """What ``--version`` says; None when it does not say it in words that are known."""
    found = _ABI.search(_said(path, "--version"))
    return int(found[1]) if found else None


def _said(path: str, option: str) -> str:
    """What a tender answers; nothing when it does not."""
    try:
        done = subprocess.run(
            [path, option], stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout + done.stderr).decode("utf-8", "replace")


def _recorded(layout: NodeLayout) -> dict[str, str]:
    try:
        data = json.loads(layout.tenders.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ReleaseRefused(
            f"{layout.tenders} cannot be read ({error}), so nobody knows which tenders to use. Nothing was stopped or "
            "started. Mend or remove that file."
        ) from error
    known = data if isinstance(data, dict) else {}
    return {key: value for key, value in known.items() if key in (*TARGETS, DEBUG) and isinstance(value, str)}
