# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots that a program of the operator's takes, restores and removes: it alone knows where they are."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from typing import Optional

from ..errors import DriverError
from ..model import Snapshot

PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
PATIENCE_S = 600.0


class HookSnapshots:
    """``HOOK take|restore|remove DISK LABEL``, once for each disk."""

    def copy_of(self, disk: str, label: str) -> str:
        return ""

    def faults(self, paths: Sequence[str], hook: Optional[str]) -> list[str]:
        fit = hook is not None and os.path.isabs(hook) and os.path.isfile(hook) and os.access(hook, os.X_OK)
        return [] if fit else [f"snapshot_hook is {hook!r}, and the path of a program on the node is needed"]

    def take(self, snapshot: Snapshot, disk: str, copy: str) -> None:
        _call(snapshot, "take", disk)

    def restore(self, snapshot: Snapshot, disk: str, copy: str) -> None:
        _call(snapshot, "restore", disk)

    def remove(self, snapshot: Snapshot, disk: str, copy: str) -> None:
        _call(snapshot, "remove", disk)


def _call(snapshot: Snapshot, what: str, disk: str) -> None:
    words = [str(snapshot.hook), what, disk, snapshot.label]
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE_S,
            check=False,
            cwd="/",
            env={"PATH": PATH, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DriverError(f"the snapshot hook did not end well: {' '.join(words)}: {error}") from error
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split())[:500]
        raise DriverError(f"the snapshot hook failed: {' '.join(words)}: {said or f'exit status {done.returncode}'}")
