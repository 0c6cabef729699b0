# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots of disks that are volumes of LVM, by LVM (``lvm.py``)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Optional

from ..model import Snapshot
from . import lvm


class VolumeSnapshots:
    """Each is a volume in the group of its origin."""

    def copy_of(self, disk: str, label: str) -> str:
        return f"{os.path.basename(disk)}-fleet-{label}"

    def faults(self, paths: Sequence[str], hook: Optional[str]) -> list[str]:
        return [fault for fault in map(lvm.why_no_snapshot, paths) if fault]

    def take(self, snapshot: Snapshot, disk: str, copy: str) -> None:
        lvm.take(disk, copy)

    def restore(self, snapshot: Snapshot, disk: str, copy: str) -> None:
        lvm.restore(disk, copy)

    def remove(self, snapshot: Snapshot, disk: str, copy: str) -> None:
        lvm.remove(disk, copy)
