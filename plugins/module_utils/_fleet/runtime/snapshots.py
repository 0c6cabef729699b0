# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots of a unikernel's data by any method: planned, taken, restored, removed. Each of these may be repeated after
a crash at any point within it; nobody may have the disks open meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Optional, Protocol

from ..model import Snapshot, SnapshotMethod
from .snapshots_by_hook import HookSnapshots
from .snapshots_of_files import FileSnapshots
from .snapshots_of_volumes import VolumeSnapshots


class Method(Protocol):
    """One way to keep what a disk holds."""

    def copy_of(self, disk: str, label: str) -> str:
        """Where, or by which name, the copy of a disk is; empty where only the method itself knows."""

    def faults(self, paths: Sequence[str], hook: Optional[str]) -> list[str]:
        """What forbids such a snapshot of these disks, in clauses; nothing is left of the tries."""

    def take(self, snapshot: Snapshot, disk: str, copy: str) -> None:
        """DriverError: it is not whole."""

    def restore(self, snapshot: Snapshot, disk: str, copy: str) -> None:
        """DriverError: it has to be repeated."""

    def remove(self, snapshot: Snapshot, disk: str, copy: str) -> None:
        """What there is of it. DriverError."""


METHODS: Mapping[SnapshotMethod, Method] = {
    SnapshotMethod.REFLINK: FileSnapshots(reflink=True),
    SnapshotMethod.COPY: FileSnapshots(reflink=False),
    SnapshotMethod.LVM: VolumeSnapshots(),
    SnapshotMethod.HOOK: HookSnapshots(),
}


def copy_of(method: SnapshotMethod, disk: str, label: str) -> str:
    return METHODS[method].copy_of(disk, label)


def faults(method: SnapshotMethod, paths: Sequence[str], hook: Optional[str]) -> list[str]:
    return METHODS[method].faults(paths, hook)


def take(snapshot: Snapshot) -> None:
    """DriverError: it is not whole, and counts as not taken."""
    for disk, copy in zip(snapshot.disks, snapshot.copies):
        METHODS[snapshot.method].take(snapshot, disk, copy)


def restore(snapshot: Snapshot) -> None:
    """DriverError: some disks may be restored and others not; it has to be repeated."""
    for disk, copy in zip(snapshot.disks, snapshot.copies):
        METHODS[snapshot.method].restore(snapshot, disk, copy)


def remove(snapshot: Snapshot) -> None:
    """What there is of it. DriverError."""
    for disk, copy in zip(snapshot.disks, snapshot.copies):
        METHODS[snapshot.method].remove(snapshot, disk, copy)
