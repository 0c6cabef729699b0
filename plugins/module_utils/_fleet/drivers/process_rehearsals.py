# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rehearsals of guests that are processes of the node: on wires of their own, under the addresses of production.

Everything that a rehearsal has bears its name and lies in its folder, which is made first and removed last: so whoever
finds that folder can remove the rest, whatever became of the one who began it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Optional, Protocol, TypeVar

from .. import codec
from ..durable import make_folder, write_durably
from ..errors import DriverError, ImageMissing
from ..layout import REHEARSAL, NodeLayout
from ..model import Image, Instance, Release, RestartPolicy
from ..runtime import namespace, network
from ..runtime.bridge import bridge, looking_addresses
from ..runtime.ip_command import IpError, program
from ..runtime.ports import Port, quarantine_namespace_of
from ..runtime.quarantine import quarantine
from ..runtime.scratch import newest_core, remove_scratch
from ..runtime.supervisor import Phase, Supervisor
from ..runtime.tender_user import tender_user
from . import equipment
from .equipment import CANDIDATES_OOM_SCORE, RELEASE
from .guest import Guest
from .process_disks import make_copies, on_copies, remove_copied_files, remove_copied_volumes, why_no_copies

GRACE_S = 1.0
"""What it does when it is asked to end is of no use to anybody."""

T = TypeVar("T")


class Images(Protocol):
    """What is needed of the node's image store."""

    def verify(self, image: Image) -> Path: ...


class ProcessRehearsals:
    """The rehearsals of one process driver."""

    def __init__(self, guest: Guest, layout: NodeLayout, images: Images, supervisor: Supervisor) -> None:
        self._guest = guest
        self._layout = layout
        self._images = images
        self._supervisor = supervisor

    def refusals(self, name: str, release: Release) -> list[str]:
        if not release.configuration.networks:
            return ["it has no networks of its own (networks), so it would act on the node's own network at once"]
        return [
            *self._refusals_of_addresses(name, release),
            *self._refusals_of_memory(release),
            *why_no_copies(self._layout, name, release),
        ]

    def unseen(self, name: str, release: Release) -> None:
        """What has no network, or none that can be looked onto, is refused."""

    def _refusals_of_addresses(self, name: str, release: Release) -> list[str]:
        try:
            if any(looking_addresses(p.addresses, bridge(p.bridge).addresses) for p in self._ports(name, release)):
                return []
        except IpError as error:
            return [str(error)]
        return ["no network declares its addresses, so nobody knows from where to look at it off its bridge"]

    def _refusals_of_memory(self, release: Release) -> list[str]:
        wanted, room = self._guest.memory_mib(release), self._supervisor.room()
        if wanted is None or room is None or wanted <= room.free_mib:
            return []
        return [f"beside the one that runs it needs {wanted} MiB of memory, and only {room}"]

    def prepare(self, name: str, release: Release) -> None:
        folder = self._layout.rehearsal(name)
        try:
            make_folder(folder)
            write_durably(folder / RELEASE, json.dumps(codec.encode(release)).encode("ascii"))
        except OSError as error:
            raise DriverError(f"its records cannot be written to {folder}: {error}") from error
        user = tender_user(self._layout, name, release)
        if release.configuration.block_devices:
            make_copies(self._layout, name, release, user)
        ports = equipment.owned(self._ports(name, release), user)
        network.make(ports)
        quarantine(str(self._layout.root), name, REHEARSAL, ports, as_gateway=True)

    def start(self, name: str, release: Release) -> None:
        folder = self._layout.rehearsal(name)
        try:
            image = self._images.verify(release.image)
        except ImageMissing as error:
            raise DriverError(str(error)) from error
        user, ports = tender_user(self._layout, name, release), self._ports(name, release)
        copied = on_copies(self._layout, name, release)
        spec = equipment.process(self._guest, self._layout, name, copied, image, folder, ports, user)
        self._supervisor.start(
            folder,
            replace(
                spec,
                restart=RestartPolicy.NEVER,
                oom_score_adj=CANDIDATES_OOM_SCORE,
                stop_grace_s=min(spec.stop_grace_s, GRACE_S),
            ),
        )

    def inside(self, name: str, work: Callable[[], T]) -> T:
        return namespace.inside(quarantine_namespace_of(str(self._layout.root), name, REHEARSAL), work)

    def inspect(self, name: str, release: Release) -> Optional[Instance]:
        """Its ports are not looked at: they are where whoever looks from inside cannot see them."""
        folder = self._layout.rehearsal(name)
        standing = self._supervisor.inspect(folder)
        if standing.phase is Phase.NEVER:
            return None
        alive, end = standing.phase is Phase.RUNNING, standing.exit
        if end is not None:
            end = self._guest.explained(release, end, lambda lines: self.console(name, lines))
        return Instance(
            name=name,
            release=release.number,
            alive=alive,
            identity=standing.identity,
            cpu_time_s=standing.cpu_time_s,
            memory_mib=standing.memory_mib,
            uptime_s=standing.uptime_s,
            exit=end,
            serving=False,
            unreachable=self._guest.trouble(folder) if alive else None,
        )

    def console(self, name: str, lines: int) -> tuple[str, ...]:
        try:
            return self._supervisor.tail(self._layout.rehearsal(name), lines)
        except OSError as error:
            raise DriverError(f"The console of the rehearsal of {name} cannot be read: {error}.") from error

    def core(self, name: str) -> Optional[Path]:
        return newest_core(self._layout.scratch(name, REHEARSAL))

    def end(self, name: str) -> None:
        folder = self._layout.rehearsal(name)
        if not folder.is_dir():
            return
        self._supervisor.stop(folder)
        if program("ip") is not None:
            network.remove(str(self._layout.root), name, REHEARSAL)
        with suppress(OSError, ValueError):  # without a record, nothing of it was made
            release = codec.decode(Release, json.loads((folder / RELEASE).read_bytes()))
            remove_copied_volumes(self._layout, name, release)
        try:
            remove_copied_files(self._layout, name)
            remove_scratch(self._layout.scratch(name, REHEARSAL))
            self._supervisor.discard(folder)
        except OSError as error:
            raise DriverError(
                f"What is left of the rehearsal of {name} in {folder} cannot be removed: {error}."
            ) from error

    def _ports(self, name: str, release: Release) -> tuple[Port, ...]:
        return equipment.ports(self._guest, self._layout, name, release, REHEARSAL)
