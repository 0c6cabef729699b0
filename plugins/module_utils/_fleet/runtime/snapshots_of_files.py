# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots of disks that are files: a copy beside each, by reflink or byte for byte."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from ..model import Snapshot
from . import disks, reflink as copies


class FileSnapshots:
    """``reflink``: the copies share blocks with the disks, which their file system has to be able to."""

    def __init__(self, reflink: bool) -> None:
        self._reflink = reflink

    def copy_of(self, disk: str, label: str) -> str:
        """Beside it, since a reflink has to be on its file system."""
        return os.path.join(os.path.dirname(disk), f".{os.path.basename(disk)}.{label}")

    def faults(self, paths: Sequence[str], hook: Optional[str]) -> list[str]:
        return [fault for fault in map(self._fault, paths) if fault]

    def _fault(self, path: str) -> str:
        if (disks.identity(path) or "").startswith("device"):
            return f"{path} is a volume and no file (snapshot: lvm)"
        if not self._reflink:
            return _no_room(path)
        fault = copies.why_no_reflink(path, self.copy_of(path, "try"))
        return f"{fault} (snapshot: copy copies byte for byte)" if fault else ""

    def take(self, snapshot: Snapshot, disk: str, copy: str) -> None:
        copies.place(disk, copy, self._reflink)

    def restore(self, snapshot: Snapshot, disk: str, copy: str) -> None:
        copies.place(copy, disk, self._reflink)

    def remove(self, snapshot: Snapshot, disk: str, copy: str) -> None:
        copies.remove(copy)


def _no_room(path: str) -> str:
    try:
        room = os.statvfs(Path(path).parent)
        wanted = 2 * copies.allocated(path)  # the copy, and another one when it is restored
    except OSError as error:
        return f"{path} cannot be looked at: {error.strerror}"
    free = room.f_bavail * room.f_frsize
    if wanted <= free:
        return ""
    return f"copies of {path} may need {wanted >> 20} MiB in its folder, and {free >> 20} MiB are free"
