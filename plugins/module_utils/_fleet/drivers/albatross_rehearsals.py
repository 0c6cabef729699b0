# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rehearsals on albatross: the candidate under a label of its own, on a bridge that leads nowhere.

albatross knows only bridges that existed when it was started, so the quarantine bridge is declared. Where it is this
machine's, checks are made from a namespace that has an end of its own on it; elsewhere only what albatross itself tells
can be judged: whether it lives, and what it says.

The rehearsal's folder is made first and removed last, so whoever finds it can remove the rest.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional, Protocol, TypeVar

from .. import codec
from ..albatross.client import Client
from ..albatross.errors import AnswerLost
from ..albatross.records import UnikernelInfo
from ..durable import make_folder, write_durably
from ..errors import DriverError, ImageMissing, RehearsalHindered
from ..file_lock import locks_within, open_lock
from ..layout import REHEARSAL, NodeLayout
from ..model import Exit, Image, Instance, Release
from ..runtime import namespace
from ..runtime.declared_quarantine import can_be_seen, guests_on, look_away, look_onto
from ..runtime.ip_command import IpError, program
from ..runtime.ports import Port, PortKind, ports_of, quarantine_namespace_of
from . import albatross_console as console
from .albatross_ending import POLL_S, SETTLES_WITHIN_S, destroy_for_sure
from .albatross_place import Place, Places
from .albatross_records import RELEASE, Created
from .albatross_rehearsal_label import rehearsal_label
from .albatross_rehearsal_room import refusals_of_rehearsal, rehearsed, room_of, unseen
from .albatross_running import config_of, differences, told

BEGUN = "begun.json"
LONGEST_WAIT_S = 600.0
"""For those who rehearse on the same bridge: each takes as long as its checks."""
_ITS_PORT_S = 2.0
_AFTER_ANOTHER = 2
"""Order of its record: its console may have lines of rehearsals before it."""

T = TypeVar("T")


class Images(Protocol):
    """What is needed of the node's image store."""

    def verify(self, image: Image) -> Path: ...


@dataclass(frozen=True)
class _Begun:
    """What is on record of a rehearsal, in its folder."""

    place: Place
    """Where it runs, whatever is declared meanwhile."""
    created: Created
    unseen: Optional[str]
    """Why no check of its network is made; None: there is a namespace to make them from."""


class AlbatrossRehearsals:
    """The rehearsals of the driver ``albatross``."""

    def __init__(self, layout: NodeLayout, images: Images, places: Places, pause: Callable[[float], None]) -> None:
        self._layout = layout
        self._images = images
        self._places = places
        self._pause = pause
        self._lock: Optional[int] = None

    # --- what forbids it

    def refusals(self, name: str, release: Release) -> list[str]:
        place = self._declared(name)
        return refusals_of_rehearsal(name, place, release, room_of(place, place.client()))

    def unseen(self, name: str, release: Release) -> Optional[str]:
        begun = self._begun(name)
        if begun is not None:
            return begun.unseen
        place = self._declared(name)
        why = unseen(room_of(place, place.client()), release.configuration.networks)
        if why is not None:
            return why
        try:
            seen = can_be_seen(self._ports(name, place, release))
        except IpError as error:
            return str(error)
        return None if seen else "no network declares its addresses, so nobody knows from where to look at it"

    # --- the place

    def prepare(self, name: str, release: Release) -> None:
        place = self._declared(name)
        label = rehearsal_label(name)
        running = rehearsed(name, place, release)
        folder = self._layout.rehearsal(name)
        there = place.client().unikernel(place.name(label))
        if there is not None:
            raise RehearsalHindered(
                f"a unikernel {place.name(label)} runs on {place}, and is no rehearsal of ours. It was left alone. "
                "Destroy it, or give it another name."
            )
        created = Created(release.number, _AFTER_ANOTHER, label, running, asked_at=console.stamp())
        unseen_why = self.unseen(name, release)
        try:
            self._places.write(name)
            make_folder(folder)
            write_durably(folder / RELEASE, json.dumps(codec.encode(release)).encode("ascii"))
            self._put(name, _Begun(place, created, unseen_why))
        except OSError as error:
            raise DriverError(f"its records cannot be written to {folder}: {error}") from error
        if place.quarantine_bridge is not None and unseen_why is None:
            self._wait_for_turn(place.quarantine_bridge)
            ports = self._ports(name, place, release)
            look_onto(str(self._layout.root), name, REHEARSAL, place.quarantine_bridge, ports)

    def _wait_for_turn(self, bridge: str) -> None:
        """Two at once on one bridge would have two gateways with one address. A dead one holds nothing any more."""
        descriptor = open_lock(self._layout.quarantine_lock(bridge))
        if not locks_within(descriptor, LONGEST_WAIT_S, poll_s=POLL_S, pause=self._pause):
            os.close(descriptor)
            raise RehearsalHindered(
                f"others rehearse on the quarantine bridge {bridge} for more than {LONGEST_WAIT_S:g} s. "
                "Declare another one for some of them."
            )
        self._lock = descriptor

    def start(self, name: str, release: Release) -> None:
        begun = self._begun(name)
        if begun is None:
            raise RehearsalHindered(f"{self._layout.rehearsal(name)} was removed by somebody")
        place, created = begun.place, begun.created
        client, full = place.client(), place.name(created.label)
        info: Optional[UnikernelInfo]
        try:
            config = config_of(created.running, self._images.verify(release.image).read_bytes())
        except (ImageMissing, OSError) as error:
            raise RehearsalHindered(str(error)) from error
        try:
            # Not by force: what somebody else has under this label lives on.
            client.create(full, config)
        except AnswerLost as lost:
            info = self._made_sure(name, client, begun, lost)
        except DriverError as error:
            # The image itself was looked at before.
            raise RehearsalHindered(f"albatross did not start it: {error}") from error
        else:
            info = client.unikernel(full)
        if info is not None:
            self._put(name, replace(begun, created=replace(created, started=info.started)))
            if begun.unseen is None:
                self._make_sure_of_its_port(name, begun)

    def _made_sure(self, name: str, client: Client, begun: _Begun, lost: AnswerLost) -> UnikernelInfo:
        give_up = time.monotonic() + SETTLES_WITHIN_S
        while True:
            with suppress(DriverError):
                info = client.unikernel(begun.place.name(begun.created.label))
                if info is not None and not differences(begun.created.running, told(info)):
                    return info
            if time.monotonic() >= give_up:
                raise RehearsalHindered(f"it was asked for, and the answer was lost: {lost}") from lost
            self._pause(POLL_S)

    def _make_sure_of_its_port(self, name: str, begun: _Begun) -> None:
        """That the bridge which albatross calls so is the one on which we look."""
        bridge = str(begun.place.quarantine_bridge)
        give_up = time.monotonic() + _ITS_PORT_S
        while not guests_on(bridge):
            if begun.place.client().unikernel(begun.place.name(begun.created.label)) is None:
                return  # it has ended, and its port with it
            if time.monotonic() >= give_up:
                raise RehearsalHindered(
                    f"it runs, and nothing of it is on the bridge {bridge} of this node: its albatross has another one "
                    "of that name"
                )
            self._pause(POLL_S)

    def inside(self, name: str, work: Callable[[], T]) -> T:
        begun = self._begun(name)
        if begun is not None and begun.unseen is not None:
            return work()
        # Were it gone, what serves would be asked in its place: so this fails then.
        return namespace.inside(quarantine_namespace_of(str(self._layout.root), name, REHEARSAL), work)

    # --- what is seen

    def inspect(self, name: str, release: Release) -> Optional[Instance]:
        begun = self._begun(name)
        if begun is None:
            return None
        created = begun.created
        client, full = begun.place.client(), begun.place.name(created.label)
        info = client.unikernel(full)
        if info is None:
            said: tuple[str, ...] = ()
            with suppress(DriverError):
                said = console.spoken_by(client, full, created, ())
            return Instance(name, release.number, False, exit=Exit(meaning=console.last_words(said)), serving=False)
        changed = differences(created.running, told(info))
        if created.started not in (None, info.started):
            changed = ["somebody else started it again", *changed]
        return Instance(
            name=name,
            release=release.number,
            alive=True,
            identity=f"{info.started or '?'}/{info.digest.hex()[:16]}",
            uptime_s=console.seconds_since(info.started),
            serving=False,
            altered="; ".join(changed) or None,
        )

    def console(self, name: str, lines: int) -> tuple[str, ...]:
        begun = self._begun(name)
        if begun is None:
            return ()
        place, created = begun.place, begun.created
        return console.spoken_by(place.client(), place.name(created.label), created, (), lines)

    def core(self, name: str) -> Optional[Path]:
        """Albatross keeps none."""
        return None

    # --- the end

    def end(self, name: str) -> None:
        folder = self._layout.rehearsal(name)
        try:
            if not folder.is_dir():
                return
            begun = self._begun(name)
            if begun is not None:
                self._destroy(name, begun)
            if program("ip") is not None:
                look_away(str(self._layout.root), name, REHEARSAL)
            try:
                shutil.rmtree(folder)
            except FileNotFoundError:
                pass
            except OSError as error:
                raise DriverError(
                    f"What is left of the rehearsal of {name} in {folder} cannot be removed: {error}."
                ) from error
        finally:
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def _destroy(self, name: str, begun: _Begun) -> None:
        client, full = begun.place.client(), begun.place.name(begun.created.label)
        info = client.unikernel(full)
        if info is None:
            return
        if info.digest.hex() != begun.created.running.digest:
            return  # somebody else's, who took the label meanwhile
        destroy_for_sure(name, client, full, self._pause)

    # --- records

    def _begun(self, name: str) -> Optional[_Begun]:
        """None: nothing was asked of albatross, or all of that has been taken back."""
        folder = self._layout.rehearsal(name)
        try:
            begun = codec.decode(_Begun, json.loads((folder / BEGUN).read_bytes()))
        except (OSError, ValueError):
            return None
        declared, place = self._places.of(name), begun.place
        if declared is not None and (declared.path, declared.server) == (place.path, place.server):
            place = replace(declared, quarantine_bridge=place.quarantine_bridge)  # its certificates may be newer
        return replace(begun, place=place)

    def _put(self, name: str, begun: _Begun) -> None:
        path = self._layout.rehearsal(name) / BEGUN
        write_durably(path, json.dumps(codec.encode(begun)).encode("ascii"))

    def _declared(self, name: str) -> Place:
        return self._places.of(name) or Place()

    def _ports(self, name: str, place: Place, release: Release) -> Sequence[Port]:
        """Those that it has in production: who its neighbours are there, and which MAC is its own."""
        macs = {network.device: network.mac for network in rehearsed(name, place, release).networks}
        ports = ports_of(str(self._layout.root), name, release, PortKind.TAP, REHEARSAL)
        return tuple(replace(port, mac=macs[port.device]) for port in ports)
