# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which images are still needed on a node: all that any state file names, and nothing is guessed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import StateUnreadable
from ..layout import NodeLayout

_MOST_BYTES = 16 << 20


def marked_images(layout: NodeLayout) -> frozenset[str]:
    """The SHA-256 of every image in every ``state.json``, of whatever schema: the current release, the one to go back
    to, kept ones and one on trial. StateUnreadable names the first file that cannot be read.
    """
    try:
        folders = sorted(layout.unikernels.iterdir())
    except FileNotFoundError:
        return frozenset()
    except OSError as error:
        raise StateUnreadable(
            f"{layout.unikernels} cannot be read ({error.strerror}). Mend its permissions."
        ) from error
    return frozenset(digest for folder in folders for digest in _digests(_state(folder / "state.json")))


def _state(path: Path) -> Any:
    try:
        with open(path, "rb") as file:
            raw = file.read(_MOST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StateUnreadable(f"{path} cannot be read ({error.strerror}). Mend its permissions.") from error
    try:
        if len(raw) > _MOST_BYTES:
            raise ValueError("it is larger than any state")
        data = json.loads(raw)
        if not isinstance(data, dict):
            raise ValueError("it is no state")
    except (ValueError, RecursionError) as error:
        raise StateUnreadable(
            f"{path} cannot be understood ({error}). Restore it from a backup, or move it away."
        ) from error
    return data


def _digests(data: Any) -> Iterator[str]:
    if isinstance(data, dict):
        if isinstance(data.get("sha256"), str):
            yield data["sha256"].lower()
        data = list(data.values())
    if isinstance(data, list):
        for item in data:
            yield from _digests(item)
