# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where things lie on a node: one place that knows every path below the state folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Union

from .errors import InvalidDeclaration
from .model import checked_device, checked_name, checked_sha256

DEFAULT_ROOT = "/var/lib/unikernel-fleet"
REHEARSAL = "rehearsal"
"""In the place of a release's number, in the names of what belongs to its rehearsal."""


@dataclass(frozen=True)
class NodeLayout:
    """Paths below the state folder of a node. Names and digests are checked here, so no path can leave it."""

    root: Path

    def __post_init__(self) -> None:
        # The guard works in "/" and a module somewhere else: a relative folder would be two.
        if not self.root.is_absolute():
            raise InvalidDeclaration(
                f"The state folder {str(self.root)!r} has to be an absolute path. Nothing was changed."
            )

    @property
    def images(self) -> Path:
        return self.root / "images"

    def image(self, sha256: str) -> Path:
        return self.images / checked_sha256(sha256)

    @property
    def unikernels(self) -> Path:
        return self.root / "unikernels"

    def unikernel(self, name: str) -> Path:
        return self.unikernels / checked_name(name)

    def state(self, name: str) -> Path:
        return self.unikernel(name) / "state.json"

    def history(self, name: str) -> Path:
        return self.unikernel(name) / "history.jsonl"

    def evidence(self, name: str) -> Path:
        return self.unikernel(name) / "evidence"

    def lock(self, name: str) -> Path:
        return self.unikernel(name) / "lock"

    def albatross(self, name: str) -> Path:
        """Where its albatross is, of a unikernel that is run by one."""
        return self.unikernel(name) / "albatross.json"

    def instance(self, name: str, release: int) -> Path:
        """Folder of the instance of one release: its process, its console, how it ended."""
        return self.unikernel(name) / "instances" / str(int(release))

    def instance_image(self, name: str, release: int) -> Path:
        """A hard link to the image that the instance was started from: it outlives a deletion in the store."""
        return self.instance(name, release) / "image"

    def disks(self, name: str) -> Path:
        """Folder of the files behind block devices that are the unikernel's own. They outlive its releases. Not within
        the folder of its records: a tender that is another user passes to this one, and not to that."""
        return self.root / "disks" / checked_name(name)

    def disk(self, name: str, device: str) -> Path:
        return self.disks(name) / checked_device(device)

    @property
    def disks_lock(self) -> Path:
        """Held from the look whether a disk is another's to the record that it is ours."""
        return self.root / "disks.lock"

    def quarantine_lock(self, bridge: str) -> Path:
        """Held by who rehearses on a bridge that others use for that as well."""
        return self.root / f"quarantine-{bridge}.lock"

    def rehearsal(self, name: str) -> Path:
        """Folder of what is being rehearsed: none of the instances, and gone with the rehearsal."""
        return self.unikernel(name) / REHEARSAL

    def rehearsal_disks(self, name: str) -> Path:
        """Folder of the copies of its disks that a rehearsal runs on."""
        return self.root / "rehearsal-disks" / checked_name(name)

    def scratch(self, name: str, release: Union[int, str]) -> Path:
        """The folder that belongs to the user of an instance. Not within the one of its records, as its disks."""
        label = REHEARSAL if release == REHEARSAL else str(int(release))
        return self.root / "scratch" / checked_name(name) / label

    def scratch_of(self, folder: Path) -> Path:
        """The same from the folder of its records."""
        rehearsed = folder.name == REHEARSAL
        return self.scratch((folder if rehearsed else folder.parent).parent.name, folder.name)

    @property
    def store_lock(self) -> Path:
        return self.root / "images.lock"

    @property
    def guards(self) -> Path:
        """Folder of installed guards, each named by the digest of its content."""
        return self.root / "guard"

    @property
    def guard(self) -> Path:
        """A link to the newest of them: what the node's own units run."""
        return self.root / "guard.pyz"

    def guard_lock(self, name: str, trial: str) -> Path:
        """Held by the guard of a trial for as long as it lives."""
        return self.unikernel(name) / "guards" / f"{trial}.lock"

    def guard_log(self, name: str) -> Path:
        return self.unikernel(name) / "guard.log"

    @property
    def bridges(self) -> Path:
        """The bridges that role node was told to make."""
        return self.root / "bridges.json"

    @property
    def node(self) -> Path:
        """What role node brought to this machine, and the user of its tenders."""
        return self.root / "node.json"

    @property
    def users(self) -> Path:
        """Which user is whose: a link per number, to the name of the unikernel whose tenders have it."""
        return self.root / "users"

    @property
    def tenders(self) -> Path:
        """The tenders that role node found or was told of: their kind to their path."""
        return self.root / "tenders.json"

    def probe(self, name: str) -> Path:
        """What was found out about this machine, and holds until its next boot."""
        return self.root / "probes" / f"{checked_name(name)}.json"

    @property
    def inhibit(self) -> Path:
        return self.root / "inhibit"
