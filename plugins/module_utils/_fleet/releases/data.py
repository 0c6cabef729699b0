# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The data of a unikernel over its changes: whose disks they are, what an update needs, and what is done to them.

Going back to an old image does not undo what a new one did to the data. So an update of a unikernel with data needs a
snapshot, or the word of somebody that the data stays as the old one understands it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Optional

from ..drivers.equipment import located
from ..errors import DriverError, FleetError, ReleaseRefused
from ..model import Release, Snapshot, SnapshotMethod
from ..runtime import disks, snapshots
from .lock import exclusive
from .node import Node
from .state import State

LOCK_WAIT_S = 30.0


@dataclass(frozen=True)
class DataOptions:
    """What is to become of the data in a change."""

    compatible: bool = False
    """The old release can go on with what the new one leaves."""
    snapshot: Optional[SnapshotMethod] = None
    hook: Optional[str] = None
    remove: bool = False
    """When the unikernel is removed: its own disks with it."""


@contextmanager
def claimed(node: Node, name: str, candidate: Optional[Release]) -> Iterator[None]:
    """While the record is written that makes the candidate's disks this unikernel's: none may be another's."""
    if candidate is None or not candidate.configuration.block_devices:
        yield
        return
    with exclusive(node.layout.disks_lock, name, name, LOCK_WAIT_S):
        refuse_shared(node, name, candidate)
        yield


def refuse_shared(node: Node, name: str, candidate: Optional[Release]) -> None:
    """ReleaseRefused when a disk is another unikernel's; unreadable states count as whoever's they are."""
    mine = _identities(node, name, candidate)
    if not mine:
        return
    for other in _others(node, name):
        try:
            state = node.journal(other).read()
        except FleetError as error:
            raise ReleaseRefused(
                f"{name}: whether its disks are used by {other} as well cannot be known: {error} Nothing was stopped "
                "or started."
            ) from error
        for release in (state.current, state.trial.candidate if state.trial else None):
            shared = sorted(mine[key] for key in mine.keys() & _identities(node, other, release).keys())
            if shared:
                raise ReleaseRefused(
                    f"{name}: {candidate} would use {', '.join(shared)}, and that is a disk of {other} ({release}). "
                    "Two that write to one disk destroy it. Nothing was stopped or started."
                )


def refuse(node: Node, name: str, state: State, candidate: Optional[Release], options: DataOptions) -> None:
    """ReleaseRefused for a disk of another, and for data of which nobody said what is to become of it."""
    refuse_shared(node, name, candidate)
    _at_stake(node, name, state.current, candidate, options)


def planned(
    node: Node, name: str, state: State, candidate: Optional[Release], options: DataOptions, label: str
) -> Optional[Snapshot]:
    """The snapshot that a change to the candidate takes; None when it takes none. ReleaseRefused when it cannot be."""
    refuse_shared(node, name, candidate)
    paths = _at_stake(node, name, state.current, candidate, options)
    if not paths or options.snapshot is None:
        return None
    if _on_albatross(candidate) and options.snapshot is not SnapshotMethod.HOOK:
        raise ReleaseRefused(
            f"{name}: its data is on block devices of albatross, of which only a hook could take a snapshot. Nothing "
            "was stopped or started."
        )
    faults = snapshots.faults(options.snapshot, paths, options.hook)
    if faults:
        raise ReleaseRefused(
            f"{name}: no snapshot ({options.snapshot.value}) can be taken of its data: {'; '.join(faults)}. Nothing "
            "was stopped or started."
        )
    return Snapshot(
        method=options.snapshot,
        label=label,
        disks=paths,
        copies=tuple(snapshots.copy_of(options.snapshot, path, label) for path in paths),
        hook=options.hook if options.snapshot is SnapshotMethod.HOOK else None,
    )


def take(node: Node, snapshot: Snapshot) -> None:
    """Nothing may run. DriverError."""
    node.reached("before the snapshot")
    snapshots.take(snapshot)
    node.reached("after the snapshot")


def restore(node: Node, snapshot: Snapshot) -> None:
    """Nothing may run. DriverError."""
    node.reached("before the data is restored")
    snapshots.restore(snapshot)
    node.reached("after the data was restored")


def remove(node: Node, snapshot: Snapshot) -> None:
    node.reached("before the snapshot is removed")
    snapshots.remove(snapshot)
    node.reached("after the snapshot was removed")


def to_be_removed(node: Node, name: str, candidate: Optional[Release], options: DataOptions) -> bool:
    """Whether disks of a unikernel that is not to be there are still there, against what is declared."""
    return options.remove and candidate is None and node.layout.disks(name).exists()


def remove_disks(node: Node, name: str) -> None:
    """Those that are the unikernel's own, and nothing that was there before. DriverError."""
    folder = node.layout.disks(name)
    try:
        if folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        raise DriverError(f"{name}: its disks in {folder} cannot be removed: {error.strerror}") from error


def _at_stake(
    node: Node, name: str, origin: Optional[Release], candidate: Optional[Release], options: DataOptions
) -> tuple[str, ...]:
    """The disks that the candidate may change and the origin would find changed; none when it may keep them so."""
    paths = _shared_with_origin(node, name, origin, candidate)
    if not paths or origin is None or candidate is None or origin.image == candidate.image:
        return ()
    if options.snapshot is None or not candidate.running:
        if options.compatible:
            return ()
        raise ReleaseRefused(
            f"{name}: {candidate} is another image than that of {origin}, and both use {', '.join(paths)}. Going back "
            "to the old image would not undo what the new one does to that data. Nothing was stopped or started. "
            "Declare a snapshot (of one that runs), or say data_compatible: true if the old image understands what the "
            "new one writes."
        )
    return paths


def _shared_with_origin(
    node: Node, name: str, origin: Optional[Release], candidate: Optional[Release]
) -> tuple[str, ...]:
    """Paths of the disks that there are and that both use."""
    if _on_albatross(origin) and _on_albatross(candidate):
        both = _devices(origin) & _devices(candidate)
        return tuple(sorted(both))
    before, after = _identities(node, name, origin), _identities(node, name, candidate)
    return tuple(after[key] for key in after if key in before and disks.identity(after[key]) is not None)


def _identities(node: Node, name: str, release: Optional[Release]) -> dict[str, str]:
    """What each disk is, whatever it is called, to its path."""
    if release is None or _on_albatross(release):
        return {}  # whose that is, albatross knows: it lends each to one at a time
    paths = [str(device.path) for device in located(node.layout, name, release).configuration.block_devices]
    return {disks.identity(path) or path: path for path in paths}


def _on_albatross(release: Optional[Release]) -> bool:
    """Its disks are no files or volumes of this node."""
    return release is not None and release.configuration.driver == "albatross"


def _devices(release: Optional[Release]) -> set[str]:
    return {str(device.path) for device in release.configuration.block_devices} if release is not None else set()


def _others(node: Node, name: str) -> list[str]:
    try:
        return sorted(p.name for p in node.layout.unikernels.iterdir() if p.is_dir() and p.name != name)
    except OSError:
        return []
