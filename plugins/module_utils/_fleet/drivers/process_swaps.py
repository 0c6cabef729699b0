# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Swaps of guests that are processes of the node: what is to run comes up instead of what runs, or beside it, and what
need not run any more ends."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Optional, Protocol

from ..errors import DriverError, ImageMissing, NoBridge, ReleaseRefused
from ..layout import NodeLayout
from ..model import Exit, Image, Instance, Release, SwapMethod
from ..runtime import network
from ..runtime.bridge import missing_bridges
from ..runtime.cut_over import cut_over
from ..runtime.ip_command import BatchAtHand, program, run_batch
from ..runtime.ports import Port, PortKind
from ..runtime.process import ProcessIdentity, alive, wait_end
from ..runtime.supervisor import Phase, Supervisor
from ..runtime.tender_user import TenderUser, tender_user
from . import equipment
from .equipment import CANDIDATES_OOM_SCORE, RELEASE
from .guest import Guest
from .process_instances import Instances


class Images(Protocol):
    """What is needed of the node's image store."""

    def verify(self, image: Image) -> Path:
        """Path of the image, whose bytes were read and found right; else ImageMissing."""


class Swaps:
    """Changes of what runs of one unikernel or another."""

    def __init__(
        self, guest: Guest, layout: NodeLayout, images: Images, supervisor: Supervisor, instances: Instances
    ) -> None:
        self._guest = guest
        self._layout = layout
        self._images = images
        self._supervisor = supervisor
        self._instances = instances

    def swap(self, name: str, new: Optional[Release]) -> Optional[Instance]:
        """What else runs is found on the disk, and need not be named. After a cut-over the instance that served
        before lives on, off its bridge; after any other change nothing but ``new`` does. NoBridge when ``new`` does not
        serve for want of its bridge; an instance of it that lives is left alive."""
        if new is None or not new.running:
            self._stop_all_but(name, None)
            return None
        try:
            if self._stands_by(name, new):
                self._put_into_service(name, new)
            else:
                self._bring_up(name, new)
        except DriverError as error:
            missing = missing_bridges(network.bridge for network in new.configuration.networks)
            if missing:
                raise NoBridge(f"{name}: {new} cannot be reached: {'; '.join(missing)}.") from error
            raise
        return self._instances.one(name, new.number, self._supervisor.inspect(self._instances.folder(name, new.number)))

    def _stands_by(self, name: str, release: Release) -> bool:
        """Whether exactly this release lives and can be reached. What is in its place and is not that, is stopped.

        Numbers begin anew when a state is lost, so what runs under this one may be of another image or configuration;
        it is stopped before the record is replaced: a crash in between must not make it look like the new release.
        """
        standing = self._supervisor.inspect(self._instances.folder(name, release.number))
        if standing.phase is not Phase.RUNNING:
            return False
        recorded = self._instances.record_of(name, release.number)
        same = recorded is not None and _runs_alike(recorded, release)
        if same and self._instances.one(name, release.number, standing).works:
            return True
        self.end(name, release.number)
        return False

    def _put_into_service(self, name: str, release: Release) -> None:
        """A release that lives, on its bridge or parked: its ports go on first, then the others' come off."""
        ports = self._instances.ports(name, release)
        numbers = [number for number in self._instances.numbers(name) if number != release.number]
        others = [port for number in numbers for port in self._instances.existing_ports(name, number)]
        parked = [port for port in ports if not _on_bridge(port)]
        if ports:
            cut_over(ports, others, lambda: self._instances.runs(name, release.number))
            network.ask_after(parked)
        self._stop_all_but(name, release.number)

    # --- bringing one up

    def _bring_up(self, name: str, release: Release) -> None:
        from .process_disks import make_disks
        from .swap_method import cuts_over

        # Before anything is stopped: hashing takes its time, and a bad image must not cost an outage.
        image = verified(self._images, name, release)
        user = tender_user(self._layout, name, release)
        make_disks(self._layout, name, release)
        self._instances.record(name, release, image)
        serving = [i for i in self._instances.of(name) if i.alive and i.serving and i.unreachable is None]
        if serving and cuts_over(release.configuration, self._obstacles(name, release)):
            self._bring_up_beside(name, release, image, user, serving[-1].release)
        else:
            self._bring_up_instead(name, release, image, user)

    def _obstacles(self, name: str, release: Release) -> list[str]:
        from .process_validation import Validation

        return Validation(self._guest, self._layout, self._instances, name, release).obstacles()

    def _bring_up_instead(self, name: str, release: Release, image: Path, user: Optional[TenderUser]) -> None:
        """``stop_start``: what can be made ready is, then the others are stopped, and it begins."""
        from .process_disks import give_disks

        folder = self._instances.folder(name, release.number)
        ports = equipment.owned(self._instances.ports(name, release), user)
        taps = [port for port in ports if port.kind is PortKind.TAP]
        others = [number for number in self._instances.numbers(name) if number != release.number]
        living = [number for number in others if self._instances.runs(name, number)]
        try:
            for number in others:
                if number not in living:
                    self._supervisor.stop(self._instances.folder(name, number))
            network.make(ports)
            run_batch(network.attach(taps))
            spec = self._instances.spec(name, release, image, ports, user)
            # The bridge goes on sending to the port where it saw the MAC last, until that is taken off: a tap loses its
            # carrier with its guest, which the bridge may hear of a second later, and a namespace answers on its own.
            leaving = [p for other in others for p in self._instances.existing_ports(name, other) if _on_bridge(p)]
            moves = [*network.detach(leaving), *network.attach(port for port in ports if port not in taps)]
            with BatchAtHand(moves) as moving:

                def make_room() -> None:
                    # Nobody answers from here until the program runs: only what has to be done in between is.
                    for other in living:
                        self._ask_to_end(name, other)
                        self._supervisor.halt(self._instances.folder(name, other))
                    give_disks(self._layout, name, release, user)
                    moving.tell()

                self._supervisor.start(folder, spec, first=make_room)
                moving.finish()
            self._wait_for_ports(name, release, ports)
            for number in living:
                self._supervisor.stop(self._instances.folder(name, number))
        except DriverError as error:
            with suppress(DriverError):
                self.end(name, release.number)
            raise DriverError(f"{name}: {release} was not started: {error}") from error
        for number in others:
            with suppress(DriverError):  # it is stopped; what is left of its ports goes with its records
                self.remove_ports(name, number)

    def _wait_for_ports(self, name: str, release: Release, ports: Sequence[Port]) -> None:
        if ports and network.wait_until_forwarding(ports, lambda: self._instances.runs(name, release.number)):
            network.introduce(ports)

    def _bring_up_beside(
        self, name: str, release: Release, image: Path, user: Optional[TenderUser], serving: int
    ) -> None:
        """``cut_over``: it comes up on a wire of its own, takes the ports' place when it is ready, and the one that
        served is left alive off its bridge."""
        from ..runtime.quarantine import lift, quarantine
        from .process_disks import give_disks
        from .readiness import wait_until_ready

        root, number = str(self._layout.root), release.number
        folder = self._instances.folder(name, number)
        ports = equipment.owned(self._instances.ports(name, release), user)
        for other in self._instances.numbers(name):
            if other not in (number, serving):
                self.end(name, other)
        try:
            network.make(ports)
            namespace = quarantine(root, name, number, ports)
            give_disks(self._layout, name, release, user)  # the one that serves has none of them
            spec = self._instances.spec(name, release, image, ports, user)
            self._supervisor.start(folder, replace(spec, oom_score_adj=CANDIDATES_OOM_SCORE))
            wait_until_ready(namespace, release.configuration, lambda: self._instances.end_of(name, number))
            leaving = self._instances.existing_ports(name, serving)
            if not cut_over(ports, leaving, lambda: self._instances.runs(name, number)):
                raise DriverError(f"it ended when it was to take over: {self._instances.end_of(name, number)}")
        except DriverError as error:
            with suppress(DriverError):
                self.end(name, number)
            raise DriverError(
                f"{name}: {release} came up beside the one that runs and did not take over: {error}"
            ) from error
        with suppress(DriverError):  # it goes with the instance, at the latest
            lift(root, name, number, ports)

    # --- ending

    def end(self, name: str, number: int) -> Optional[Exit]:
        end = self._stop_process(name, number)
        self.remove_ports(name, number)
        return end

    def _stop_all_but(self, name: str, kept: Optional[int]) -> None:
        for number in self._instances.numbers(name):
            if number != kept:
                self.end(name, number)

    def _stop_process(self, name: str, number: int) -> Optional[Exit]:
        self._ask_to_end(name, number)
        return self._supervisor.stop(self._instances.folder(name, number))

    def _ask_to_end(self, name: str, number: int) -> None:
        """In the guest's own way, where it has one; what does not listen is ended by its supervisor."""
        folder = self._instances.folder(name, number)
        release = self._instances.record_of(name, number)
        identity = self._supervisor.inspect(folder).identity
        if release is not None and identity is not None:
            process = ProcessIdentity.parse(identity)
            if alive(process) and self._guest.ask_to_end(release, folder):
                wait_end(process, release.configuration.stop_grace_s)

    def remove_ports(self, name: str, number: int) -> None:
        release = self._instances.record_of(name, number)
        if release is None:
            has_ports = program("ip") is not None and (self._instances.folder(name, number) / RELEASE).exists()
        else:
            has_ports = bool(release.configuration.networks)
        if has_ports:
            network.remove(str(self._layout.root), name, number)


def verified(images: Images, name: str, release: Release) -> Path:
    """Path of its image. ReleaseRefused when that is not in the store, or not whole."""
    try:
        return images.verify(release.image)
    except ImageMissing as error:
        raise ReleaseRefused(f"{name}: {release} cannot run: {error} Nothing was stopped or started.") from error


def _on_bridge(port: Port) -> bool:
    return network.standing(port.interface).master is not None


def _runs_alike(one: Release, other: Release) -> bool:
    """Equal in all that a process has of its release: how it takes over, and when it starts, is not of it."""
    return (one.image, _of_process(one)) == (other.image, _of_process(other))


def _of_process(release: Release) -> object:
    return replace(release.configuration, swap=SwapMethod.AUTO, ready=None, start_order=50)
