# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The disks of guests that are processes of the node: looked at beforehand, made when they are first needed, and copied
for rehearsals."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Optional

from ..durable import make_passable_folder
from ..errors import DriverError
from ..layout import REHEARSAL, NodeLayout
from ..model import BlockDevice, Release
from ..runtime import disks, lvm
from ..runtime.limits import MIB
from ..runtime.reflink import place, why_no_reflink
from ..runtime.tender_user import POWERLESS_ROOT, UNPRIVILEGED, TenderUser, expected_tender_user, may_open
from . import equipment


def refusals_of_disks(layout: NodeLayout, name: str, release: Release) -> list[str]:
    """What forbids the declared block devices here, in clauses."""
    reasons = []
    seen: dict[str, str] = {}
    for declared, device in zip(release.configuration.block_devices, _devices(layout, name, release)):
        path = str(device.path)
        if declared.path is not None:
            fault = disks.why_unfit(declared.path) or _why_not_open(layout, name, release, declared.path)
            reasons += [f"its block device {device.name!r}: {declared.path} {fault}"] if fault else []
        elif elsewhere := _why_elsewhere(layout, name, declared):
            reasons.append(f"its block device {device.name!r}: {elsewhere}")
        elif Path(path).exists() and disks.size_of(path) != (device.size_mib or 0) * MIB:
            reasons.append(
                f"its block device {device.name!r} is declared with {device.size_mib} MiB, and {path} has "
                f"{disks.size_of(path) / MIB:g} (stop it and resize that file, or declare what it has)"
            )
        found = disks.identity(path) or path
        if found in seen:
            reasons.append(f"its block devices {seen[found]!r} and {device.name!r} would be one and the same disk")
        seen[found] = device.name
    return reasons


def _why_not_open(layout: NodeLayout, name: str, release: Release, path: str) -> Optional[str]:
    """What forbids its tender to open a disk that was there before; None when nothing does, or it has all power."""
    if os.geteuid() != 0 or release.configuration.driver not in UNPRIVILEGED:
        return None
    user = expected_tender_user(layout, name, release)
    if user is not None or may_open(path, POWERLESS_ROOT):
        return None
    return "may neither be opened by its tender's user nor by root without capabilities (its owner and mode forbid it)"


def make_disks(layout: NodeLayout, name: str, release: Release) -> None:
    """Those of its own that are not there yet: empty, sparse. DriverError."""
    for declared in release.configuration.block_devices:
        if declared.size_mib is not None:
            elsewhere = _why_elsewhere(layout, name, declared)
            if elsewhere:
                raise DriverError(f"its block device {declared.name!r}: {elsewhere}")
            disks.create(layout.disk(name, declared.name), declared.size_mib)


def _why_elsewhere(layout: NodeLayout, name: str, declared: BlockDevice) -> Optional[str]:
    """Before the first release they lay among the records. An empty disk instead of that one is the last thing that
    anybody wants."""
    before, now = layout.unikernel(name) / "disks" / declared.name, layout.disk(name, declared.name)
    if now.exists() or not before.exists():
        return None
    return f"it lies at {before}, where an earlier version kept it, and belongs to {now} (stop it and move it there)"


def give_disks(layout: NodeLayout, name: str, release: Release, user: Optional[TenderUser]) -> None:
    """Those of its own to the user of its tender. Whoever had them before can open them no more, so it must have ended.
    DriverError."""
    for declared in release.configuration.block_devices:
        if declared.size_mib is not None:
            _give(layout.disk(name, declared.name), user)


def _give(path: Path, user: Optional[TenderUser]) -> None:
    """Without capabilities, root cannot open what another user has: so one way as the other."""
    if os.geteuid() == 0:
        disks.give(path, 0 if user is None else user.user_id)


def why_no_copies(layout: NodeLayout, name: str, release: Release) -> list[str]:
    """What forbids to copy the disks for a rehearsal, in clauses: the release that runs may be writing to them, so only
    a copy of one moment will do."""
    reasons = []
    for device in _devices(layout, name, release):
        path = str(device.path)
        found = disks.identity(path)
        if found is None:
            continue  # it will be made, empty; so will the copy
        if found.startswith("device"):
            fault = lvm.why_no_snapshot(path)
        else:
            fault = why_no_reflink(path, str(_nearest(layout.rehearsal_disks(name)) / f".{device.name}"))
        reasons += [f"its block device {device.name!r}: {fault}"] if fault else []
    return reasons


def make_copies(layout: NodeLayout, name: str, release: Release, user: Optional[TenderUser]) -> None:
    """Copies of its disks; those of its own are its user's. DriverError."""
    folder = layout.rehearsal_disks(name)
    try:
        make_passable_folder(folder)
    except OSError as error:
        raise DriverError(f"no copies of its disks can be made in {folder}: {error.strerror}") from error
    for declared, device in zip(release.configuration.block_devices, _devices(layout, name, release)):
        path, copy = str(device.path), folder / device.name
        if disks.identity(path) is None and device.size_mib is not None:
            disks.create(copy, device.size_mib)
        elif is_volume(path):
            lvm.take(path, _snapshot_of(path))
        else:
            place(path, str(copy), reflink=True)
        if declared.size_mib is not None:
            _give(copy, user)


def on_copies(layout: NodeLayout, name: str, release: Release) -> Release:
    """The release on those copies."""
    folder = layout.rehearsal_disks(name)
    devices = tuple(
        replace(device, path=_copy_of(str(device.path), folder / device.name), size_mib=None)
        for device in _devices(layout, name, release)
    )
    return replace(release, configuration=replace(release.configuration, block_devices=devices))


def remove_copied_volumes(layout: NodeLayout, name: str, release: Release) -> None:
    """Snapshots. DriverError."""
    for device in _devices(layout, name, release):
        if is_volume(str(device.path)):
            lvm.remove(str(device.path), _snapshot_of(str(device.path)))


def remove_copied_files(layout: NodeLayout, name: str) -> None:
    """OSError."""
    if layout.rehearsal_disks(name).is_dir():
        shutil.rmtree(layout.rehearsal_disks(name))


def is_volume(path: str) -> bool:
    return (disks.identity(path) or "").startswith("device")


def _nearest(folder: Path) -> Path:
    """The folder, or what there is of the way to it: on the same file system, as a rule."""
    return next(place for place in (folder, *folder.parents) if place.is_dir())


def _copy_of(path: str, file: Path) -> str:
    return lvm.path_of(path, _snapshot_of(path)) if is_volume(path) else str(file)


def _snapshot_of(path: str) -> str:
    return f"{Path(path).name}-fleet-{REHEARSAL}"


def _devices(layout: NodeLayout, name: str, release: Release) -> tuple[BlockDevice, ...]:
    return equipment.located(layout, name, release).configuration.block_devices
