# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The instances of a driver whose guests are processes of the node: what is on record of each, and how it stands."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from .. import codec
from ..durable import make_folder, write_durably
from ..errors import DriverError
from ..layout import NodeLayout
from ..model import Instance, Release
from ..runtime import network
from ..runtime.ports import Port
from ..runtime.scratch import newest_core
from ..runtime.supervisor import Phase, ProcessSpec, Standing, Supervisor
from ..runtime.tender_user import TenderUser
from . import equipment
from .equipment import RELEASE
from .guest import Guest

if TYPE_CHECKING:
    from ..runtime.memory_room import Room


class Instances:
    """Those of all unikernels, each in a folder of its own, by the number of its release."""

    def __init__(self, guest: Guest, layout: NodeLayout, supervisor: Supervisor) -> None:
        self._guest = guest
        self._layout = layout
        self._supervisor = supervisor

    # --- how they stand

    def of(self, name: str) -> list[Instance]:
        found = []
        for number in self.numbers(name):
            standing = self._supervisor.inspect(self.folder(name, number))
            if standing.phase is not Phase.NEVER:
                found.append(self.one(name, number, standing))
        return found

    def one(self, name: str, number: int, standing: Standing) -> Instance:
        release = self.record_of(name, number)
        alive = standing.phase is Phase.RUNNING
        reach = _reach(self.ports(name, release)) if alive and release is not None else _Reach(serving=alive)
        unreachable = reach.deleted
        if alive and unreachable is None:
            unreachable = self._guest.trouble(self.folder(name, number))
        end = standing.exit
        if end is not None:
            end = self._guest.explained(release, end, lambda lines: self.console(name, number, lines))
        return Instance(
            name=name,
            release=number,
            alive=alive,
            identity=standing.identity,
            restarts=standing.restarts,
            cpu_time_s=standing.cpu_time_s,
            memory_mib=standing.memory_mib,
            uptime_s=standing.uptime_s,
            exit=end,
            serving=reach.serving,
            unreachable=unreachable,
            cut_off=reach.deleted or reach.down,
            watched=standing.watched,
        )

    def runs(self, name: str, number: int) -> bool:
        return self._supervisor.inspect(self.folder(name, number)).phase is Phase.RUNNING

    def end_of(self, name: str, number: int) -> Optional[str]:
        """How it ended, in words; None while it lives."""
        instance = self.one(name, number, self._supervisor.inspect(self.folder(name, number)))
        if instance.alive:
            return None
        return instance.exit.meaning if instance.exit is not None else "nobody saw how"

    def console(self, name: str, release: int, lines: int) -> tuple[str, ...]:
        try:
            return self._supervisor.tail(self.folder(name, release), lines)
        except OSError as error:
            raise DriverError(f"The console of {name}, release {release}, cannot be read: {error}.") from error

    def core(self, name: str, release: int) -> Optional[Path]:
        return newest_core(self._layout.scratch(name, release))

    def room(self) -> Optional[Room]:
        """The memory for one more of them."""
        return self._supervisor.room()

    # --- which there are

    def folder(self, name: str, number: int) -> Path:
        return self._layout.instance(name, number)

    def numbers(self, name: str) -> list[int]:
        """Of the releases that have a folder here, begun or complete, and that are this driver's."""
        folder = self.folder(name, 0).parent
        try:
            numbers = sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal())
            return [number for number in numbers if self.is_mine(name, number)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise DriverError(f"The instances of {name} cannot be looked at: {error}. Nothing was changed.") from error

    def is_mine(self, name: str, number: int) -> bool:
        """The instances of all process drivers lie side by side. One without a record is anybody's."""
        release = self.record_of(name, number)
        return release is None or release.configuration.driver == self._guest.driver

    # --- what they have

    def ports(self, name: str, release: Optional[Release]) -> tuple[Port, ...]:
        return () if release is None else equipment.ports(self._guest, self._layout, name, release)

    def existing_ports(self, name: str, number: int) -> list[Port]:
        return [p for p in self.ports(name, self.record_of(name, number)) if network.exists(p.interface)]

    def spec(
        self, name: str, release: Release, image: Path, ports: Sequence[Port], user: Optional[TenderUser]
    ) -> ProcessSpec:
        folder = self.folder(name, release.number)
        return equipment.process(self._guest, self._layout, name, release, image, folder, ports, user)

    # --- records

    def record(self, name: str, release: Release, image: Path) -> None:
        folder = self.folder(name, release.number)
        link = self._layout.instance_image(name, release.number)
        try:
            make_folder(folder)
            write_durably(folder / RELEASE, json.dumps(codec.encode(release)).encode("ascii"))
            link.unlink(missing_ok=True)
            os.link(image, link)
        except OSError as error:
            raise DriverError(
                f"{name}: {release} was not started: its record cannot be written to {folder}: {error}. "
                "Nothing was stopped. Make room or correct the permissions."
            ) from error

    def record_of(self, name: str, number: int) -> Optional[Release]:
        with suppress(DriverError):
            return self.recorded(name, number)
        return None

    def recorded(self, name: str, number: int) -> Release:
        path = self.folder(name, number) / RELEASE
        try:
            return codec.decode(Release, json.loads(path.read_bytes()))
        except (OSError, ValueError) as error:
            raise DriverError(
                f"{name} runs as release {number}, but what that is cannot be read from {path}: {error}. "
                "It was left running. Stop it, or deploy anew."
            ) from error


@dataclass(frozen=True)
class _Reach:
    """Of a living instance by its ports."""

    serving: bool
    """All of them are on their bridges."""
    deleted: Optional[str] = None
    """Why it cannot be reached even if they should be put there."""
    down: Optional[str] = None
    """Why nobody reaches it through a bridge that they are on."""


def _reach(ports: Sequence[Port]) -> _Reach:
    """A tender does not end when its tap is deleted: it lives on, eats a whole CPU, and nobody can reach it."""
    serving = True
    down = None
    for port in ports:
        standing = network.standing(port.interface)
        if not standing.exists:
            return _Reach(
                serving=False,
                deleted=f"its network interface {port.interface} (device {port.device}) was deleted, so nobody can "
                "reach it, though its process lives; it has to be started anew",
            )
        serving = serving and standing.master == port.bridge
        if standing.bridge_down:
            down = f"the bridge {port.bridge} is down, so nobody is reached through it"
    return _Reach(serving, down=down if serving else None)
