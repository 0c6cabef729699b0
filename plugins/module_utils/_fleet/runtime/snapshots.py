# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots of a unikernel's data by any method: planned, taken, restored, removed. Each of these may be repeated after
a crash at any point within it; nobody may have the disks open meanwhile."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from ..errors import DriverError
from ..model import Snapshot, SnapshotMethod
from . import disks, lvm, reflink

HOOK_PATIENCE_S = 600.0


def copy_of(method: SnapshotMethod, disk: str, label: str) -> str:
    """Where the copy of a disk is: beside a file, since a reflink has to be on its file system; in a volume's group."""
    if method is SnapshotMethod.HOOK:
        return ""
    name = os.path.basename(disk)
    return (
        f"{name}-fleet-{label}"
        if method is SnapshotMethod.LVM
        else os.path.join(os.path.dirname(disk), f".{name}.{label}")
    )


def faults(method: SnapshotMethod, paths: Sequence[str], hook: Optional[str]) -> list[str]:
    """What forbids such a snapshot of these disks, in clauses; nothing is left of the tries."""
    if method is SnapshotMethod.HOOK:
        fit = hook is not None and os.path.isabs(hook) and os.path.isfile(hook) and os.access(hook, os.X_OK)
        return [] if fit else [f"snapshot_hook is {hook!r}, and the path of a program on the node is needed"]
    found = []
    for path in paths:
        is_volume = (disks.identity(path) or "").startswith("device")
        if method is SnapshotMethod.LVM:
            found.append(lvm.why_no_snapshot(path))
        elif is_volume:
            found.append(f"{path} is a volume and no file (snapshot: lvm)")
        elif method is SnapshotMethod.REFLINK:
            fault = reflink.why_no_reflink(path, copy_of(method, path, "try"))
            found.append(f"{fault} (snapshot: copy copies byte for byte)" if fault else "")
        else:
            found.append(_no_room(path))
    return [fault for fault in found if fault]


def take(snapshot: Snapshot) -> None:
    """DriverError: it is not whole, and counts as not taken."""
    for disk, copy in zip(snapshot.disks, snapshot.copies):
        if snapshot.method is SnapshotMethod.LVM:
            lvm.take(disk, copy)
        elif snapshot.method is SnapshotMethod.HOOK:
            _call(snapshot, "take", disk)
        else:
            reflink.place(disk, copy, snapshot.method is SnapshotMethod.REFLINK)


def restore(snapshot: Snapshot) -> None:
    """DriverError: some disks may be restored and others not; it has to be repeated."""
    for disk, copy in zip(snapshot.disks, snapshot.copies):
        if snapshot.method is SnapshotMethod.LVM:
            lvm.restore(disk, copy)
        elif snapshot.method is SnapshotMethod.HOOK:
            _call(snapshot, "restore", disk)
        else:
            reflink.place(copy, disk, snapshot.method is SnapshotMethod.REFLINK)


def remove(snapshot: Snapshot) -> None:
    """What there is of it. DriverError."""
    for disk, copy in zip(snapshot.disks, snapshot.copies):
        if snapshot.method is SnapshotMethod.LVM:
            lvm.remove(disk, copy)
        elif snapshot.method is SnapshotMethod.HOOK:
            _call(snapshot, "remove", disk)
        else:
            reflink.remove(copy)


def _no_room(path: str) -> str:
    try:
        room = os.statvfs(Path(path).parent)
        wanted = 2 * reflink.allocated(path)  # the copy, and another one when it is restored
    except OSError as error:
        return f"{path} cannot be looked at: {error.strerror}"
    free = room.f_bavail * room.f_frsize
    if wanted <= free:
        return ""
    return f"copies of {path} may need {wanted >> 20} MiB in its folder, and {free >> 20} MiB are free"


def _call(snapshot: Snapshot, what: str, disk: str) -> None:
    words = [str(snapshot.hook), what, disk, snapshot.label]
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=HOOK_PATIENCE_S,
            check=False,
            cwd="/",
            env={"PATH": lvm.PATH, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DriverError(f"the snapshot hook did not end well: {' '.join(words)}: {error}") from error
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split())[:500]
        raise DriverError(f"the snapshot hook failed: {' '.join(words)}: {said or f'exit status {done.returncode}'}")
