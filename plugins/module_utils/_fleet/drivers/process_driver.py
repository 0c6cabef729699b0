# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The driver of every guest that is a process of the node: an instance per release, with a folder and ports of its own.

What is special about a kind of guest is said by its :class:`Guest`; how processes are kept, by the supervisor. What
only changes and refusals need is imported by them: the plan looks at every node, and changes nothing there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Optional, Protocol

from .. import codec
from ..durable import make_folder, write_durably
from ..errors import DriverError, ImageError, ImageMissing, NoBridge, ReleaseRefused
from ..layout import NodeLayout
from ..model import Capabilities, Exit, Image, Instance, Release, SwapMethod
from ..runtime import network
from ..runtime.bridge import missing_bridges
from ..runtime.cut_over import cut_over
from ..runtime.ip_command import BatchAtHand, program, run_batch
from ..runtime.ports import Port, PortKind, faults_of_networks
from ..runtime.process import ProcessIdentity, alive, wait_end
from ..runtime.scratch import newest_core, remove_scratch
from ..runtime.supervisor import Phase, ProcessSpec, Standing, Supervisor
from . import equipment
from .equipment import CANDIDATES_OOM_SCORE, RELEASE
from .guest import Guest
from .protocol import Rehearsals


class Images(Protocol):
    """What the driver needs of the node's image store."""

    def verify(self, image: Image) -> Path:
        """Path of the image, whose bytes were read and found right; else ImageMissing."""

    def add_file(self, path: Path) -> Image:
        """Put a file's bytes into the store."""


class ProcessDriver:
    """Runs each release of a unikernel as a process; two at a time only while one takes the other's place."""

    def __init__(self, guest: Guest, layout: NodeLayout, images: Images, supervisor: Supervisor) -> None:
        self._guest = guest
        self._layout = layout
        self._images = images
        self._supervisor = supervisor

    @property
    def name(self) -> str:
        return self._guest.driver

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(swap_methods=("stop_start", "cut_over"), discovers=True)

    @property
    def rehearsals(self) -> Rehearsals:
        from .process_rehearsals import ProcessRehearsals

        return ProcessRehearsals(self._guest, self._layout, self._images, self._supervisor)

    # --- looking ---

    def inspect(self, names: Sequence[str]) -> Mapping[str, tuple[Instance, ...]]:
        return {name: tuple(self._instances(name)) for name in names}

    def _instances(self, name: str) -> list[Instance]:
        found = []
        for number in self._numbers(name):
            standing = self._supervisor.inspect(self._folder(name, number))
            if standing.phase is not Phase.NEVER:
                found.append(self._instance(name, number, standing))
        return found

    def _instance(self, name: str, number: int, standing: Standing) -> Instance:
        release = self._record_of(name, number)
        alive = standing.phase is Phase.RUNNING
        serving, unreachable = _reach(self._ports(name, release)) if alive and release is not None else (alive, None)
        if alive and unreachable is None:
            unreachable = self._guest.trouble(self._folder(name, number))
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
            serving=serving,
            unreachable=unreachable,
        )

    def _folder(self, name: str, number: int) -> Path:
        return self._layout.instance(name, number)

    def _numbers(self, name: str) -> list[int]:
        """Of the releases that have a folder here, begun or complete, and that are this driver's."""
        folder = self._folder(name, 0).parent
        try:
            numbers = sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal())
            return [number for number in numbers if self._is_mine(name, number)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise DriverError(f"The instances of {name} cannot be looked at: {error}. Nothing was changed.") from error

    def _is_mine(self, name: str, number: int) -> bool:
        """The instances of all process drivers lie side by side. One without a record is anybody's."""
        release = self._record_of(name, number)
        return release is None or release.configuration.driver == self.name

    def console(self, name: str, release: int, lines: int) -> tuple[str, ...]:
        try:
            return self._supervisor.tail(self._folder(name, release), lines)
        except OSError as error:
            raise DriverError(f"The console of {name}, release {release}, cannot be read: {error}.") from error

    def core(self, name: str, release: int) -> Optional[Path]:
        return newest_core(self._layout.scratch(name, release))

    def _ports(self, name: str, release: Optional[Release]) -> tuple[Port, ...]:
        return () if release is None else equipment.ports(self._guest, self._layout, name, release)

    def _spec(self, name: str, release: Release, image: Path, folder: Path, ports: Sequence[Port]) -> ProcessSpec:
        return equipment.process(self._guest, self._layout, name, release, image, folder, ports)

    # --- refusing ---

    def validate(self, name: str, release: Release) -> tuple[str, ...]:
        from .process_disks import refusals_of_disks
        from .process_refusals import refusals_of_process

        path = self._verified(name, release)
        reasons = [
            *refusals_of_process(release.configuration),
            *self._refusals_of_networks(release),
            *refusals_of_disks(self._layout, name, release),
            *self._guest.refusals(release, path),
            *self._refusals_of_memory(name, release),
            *self._refusals_of_method(name, release),
        ]
        if reasons:
            raise ReleaseRefused(
                f"{name}: {release} cannot run on this node with driver {self.name}: {'; '.join(reasons)}. "
                "Nothing was stopped or started."
            )
        return self._remarks(name, release)

    def _remarks(self, name: str, release: Release) -> tuple[str, ...]:
        from .swap_method import remarks_on_method

        if not any(i.alive and i.serving and i.release != release.number for i in self._instances(name)):
            return ()
        return remarks_on_method(release.configuration, self._obstacles(name, release))

    def _verified(self, name: str, release: Release) -> Path:
        try:
            return self._images.verify(release.image)
        except ImageMissing as error:
            raise ReleaseRefused(f"{name}: {release} cannot run: {error} Nothing was stopped or started.") from error

    def _refusals_of_networks(self, release: Release) -> list[str]:
        if not release.configuration.networks:
            return []
        if program("ip") is None or program("bridge") is None:
            return ["networks were declared, and iproute2 is not on this node (install the package iproute2)"]
        if os.geteuid() != 0:
            return ["networks were declared, and only root may make their ports (become: true)"]
        faults = faults_of_networks(release.configuration, self._guest.port_kind)
        if not faults:
            faults += missing_bridges(network.bridge for network in release.configuration.networks)
        if self._guest.port_kind is PortKind.TAP and not os.path.exists("/dev/net/tun"):
            faults.append("networks were declared, and there is no /dev/net/tun on this node (modprobe tun)")
        return faults

    def _refusals_of_memory(self, name: str, release: Release) -> list[str]:
        from .process_refusals import available_mib

        wanted = self._guest.memory_mib(release)
        if wanted is None or wanted < 1:
            return []
        freed = sum(instance.memory_mib or 0.0 for instance in self._instances(name) if instance.alive)
        free = available_mib()
        if free is None or wanted <= free + freed:
            return []
        return [f"it needs {wanted} MiB of memory, and only {int(free + freed)} MiB are free"]

    def _refusals_of_method(self, name: str, release: Release) -> list[str]:
        configuration = release.configuration
        if configuration.ready is not None:
            from .readiness import why_no_ready_check

            reason = why_no_ready_check(configuration)
            if reason is not None:
                return [reason]
        if configuration.swap is not SwapMethod.CUT_OVER:
            return []
        return [f"swap: cut_over is not possible, {reason}" for reason in self._obstacles(name, release)]

    def _obstacles(self, name: str, release: Release) -> list[str]:
        """To its coming up beside what runs."""
        from .process_refusals import available_mib
        from .swap_method import obstacles_to_cut_over

        running = [self._record_of(name, i.release) for i in self._instances(name) if i.alive]
        others = [other for other in running if other is not None and other.number != release.number]
        return obstacles_to_cut_over(
            equipment.located(self._layout, name, release).configuration,
            [equipment.located(self._layout, name, other).configuration for other in others],
            self._guest.memory_mib(release),
            available_mib(),
        )

    # --- changing ---

    def swap(self, name: str, old: Optional[Release], new: Optional[Release]) -> Optional[Instance]:
        """What else runs is found on the disk and not only named as ``old``. After a cut-over the instance that served
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
        return self._instance(name, new.number, self._supervisor.inspect(self._folder(name, new.number)))

    def _stands_by(self, name: str, release: Release) -> bool:
        """Whether exactly this release lives and can be reached. What is in its place and is not that, is stopped.

        Numbers begin anew when a state is lost, so what runs under this one may be of another image or configuration;
        it is stopped before the record is replaced: a crash in between must not make it look like the new release.
        """
        standing = self._supervisor.inspect(self._folder(name, release.number))
        if standing.phase is not Phase.RUNNING:
            return False
        recorded = self._record_of(name, release.number)
        same = recorded is not None and _runs_alike(recorded, release)
        if same and self._instance(name, release.number, standing).works:
            return True
        self._end(name, release.number)
        return False

    def _put_into_service(self, name: str, release: Release) -> None:
        """A release that lives, on its bridge or parked: its ports go on first, then the others' come off."""
        ports = self._ports(name, release)
        others = [p for n in self._numbers(name) if n != release.number for p in self._existing_ports(name, n)]
        parked = [port for port in ports if not self._on_bridge(port)]
        if ports:
            cut_over(ports, others, lambda: self._runs(name, release.number))
            network.ask_after(parked)
        self._stop_all_but(name, release.number)

    def _bring_up(self, name: str, release: Release) -> None:
        from .process_disks import make_disks
        from .swap_method import cuts_over

        # Before anything is stopped: hashing takes its time, and a bad image must not cost an outage.
        image = self._verified(name, release)
        make_disks(self._layout, name, release)
        self._record(name, release, image)
        serving = [i for i in self._instances(name) if i.alive and i.serving and i.unreachable is None]
        if serving and cuts_over(release.configuration, self._obstacles(name, release)):
            self._bring_up_beside(name, release, image, serving[-1].release)
        else:
            self._bring_up_instead(name, release, image)

    def _bring_up_instead(self, name: str, release: Release, image: Path) -> None:
        """``stop_start``: what can be made ready is, then the others are stopped, and it begins."""
        folder = self._folder(name, release.number)
        ports = self._ports(name, release)
        taps = [port for port in ports if port.kind is PortKind.TAP]
        others = [number for number in self._numbers(name) if number != release.number]
        living = [number for number in others if self._runs(name, number)]
        try:
            for number in others:
                if number not in living:
                    self._supervisor.stop(self._folder(name, number))
            network.make(ports)
            run_batch(network.attach(taps))
            spec = self._spec(name, release, image, folder, ports)
            # The bridge goes on sending to the port where it saw the MAC last, until that is taken off: a tap loses its
            # carrier with its guest, which the bridge may hear of a second later, and a namespace answers on its own.
            leaving = [p for other in others for p in self._existing_ports(name, other) if self._on_bridge(p)]
            moves = [*network.detach(leaving), *network.attach(port for port in ports if port not in taps)]
            with BatchAtHand(moves) as moving:

                def make_room() -> None:
                    # Nobody answers from here until the program runs: only what has to be done in between is.
                    for other in living:
                        self._ask_to_end(name, other)
                        self._supervisor.halt(self._folder(name, other))
                    moving.tell()

                self._supervisor.start(folder, spec, first=make_room)
                moving.finish()
            self._wait_for_ports(name, release, ports)
            for number in living:
                self._supervisor.stop(self._folder(name, number))
        except DriverError as error:
            with suppress(DriverError):
                self._end(name, release.number)
            raise DriverError(f"{name}: {release} was not started: {error}") from error
        for number in others:
            with suppress(DriverError):  # it is stopped; what is left of its ports goes with its records
                self._remove_ports(name, number)

    @staticmethod
    def _on_bridge(port: Port) -> bool:
        return network.standing(port.interface).master is not None

    def _wait_for_ports(self, name: str, release: Release, ports: Sequence[Port]) -> None:
        if ports and network.wait_until_forwarding(ports, lambda: self._runs(name, release.number)):
            network.introduce(ports)

    def _bring_up_beside(self, name: str, release: Release, image: Path, serving: int) -> None:
        """``cut_over``: it comes up on a wire of its own, takes the ports' place when it is ready, and the one that
        served is left alive off its bridge."""
        from ..runtime.quarantine import lift, quarantine
        from .readiness import wait_until_ready

        root, number = str(self._layout.root), release.number
        folder = self._folder(name, number)
        ports = self._ports(name, release)
        for other in self._numbers(name):
            if other not in (number, serving):
                self._end(name, other)
        try:
            network.make(ports)
            namespace = quarantine(root, name, number, ports)
            spec = self._spec(name, release, image, folder, ports)
            self._supervisor.start(folder, replace(spec, oom_score_adj=CANDIDATES_OOM_SCORE))
            wait_until_ready(namespace, release.configuration, lambda: self._end_of(name, number))
            leaving = self._existing_ports(name, serving)
            if not cut_over(ports, leaving, lambda: self._runs(name, number)):
                raise DriverError(f"it ended when it was to take over: {self._end_of(name, number)}")
        except DriverError as error:
            with suppress(DriverError):
                self._end(name, number)
            raise DriverError(
                f"{name}: {release} came up beside the one that runs and did not take over: {error}"
            ) from error
        with suppress(DriverError):  # it goes with the instance, at the latest
            lift(root, name, number, ports)

    def _runs(self, name: str, number: int) -> bool:
        return self._supervisor.inspect(self._folder(name, number)).phase is Phase.RUNNING

    def _end_of(self, name: str, number: int) -> Optional[str]:
        """How it ended, in words; None while it lives."""
        instance = self._instance(name, number, self._supervisor.inspect(self._folder(name, number)))
        if instance.alive:
            return None
        return instance.exit.meaning if instance.exit is not None else "nobody saw how"

    def _stop_all_but(self, name: str, kept: Optional[int]) -> None:
        for number in self._numbers(name):
            if number != kept:
                self._end(name, number)

    def _end(self, name: str, number: int) -> Optional[Exit]:
        end = self._stop_process(name, number)
        self._remove_ports(name, number)
        return end

    def _stop_process(self, name: str, number: int) -> Optional[Exit]:
        self._ask_to_end(name, number)
        return self._supervisor.stop(self._folder(name, number))

    def _ask_to_end(self, name: str, number: int) -> None:
        """In the guest's own way, where it has one; what does not listen is ended by its supervisor."""
        folder = self._folder(name, number)
        release = self._record_of(name, number)
        identity = self._supervisor.inspect(folder).identity
        if release is not None and identity is not None:
            process = ProcessIdentity.parse(identity)
            if alive(process) and self._guest.ask_to_end(release, folder):
                wait_end(process, release.configuration.stop_grace_s)

    def _remove_ports(self, name: str, number: int) -> None:
        release = self._record_of(name, number)
        if release is None:
            has_ports = program("ip") is not None and (self._folder(name, number) / RELEASE).exists()
        else:
            has_ports = bool(release.configuration.networks)
        if has_ports:
            network.remove(str(self._layout.root), name, number)

    def _existing_ports(self, name: str, number: int) -> list[Port]:
        return [p for p in self._ports(name, self._record_of(name, number)) if network.exists(p.interface)]

    def stop(self, name: str, release: int) -> Optional[Exit]:
        return self._end(name, release) if self._is_mine(name, release) else None

    def on_trial(self, name: str, release: int, trial: bool) -> None:
        self._supervisor.hold_restarts(self._folder(name, release), trial)
        if not trial:
            self._count_as_proven(name, release)

    def _count_as_proven(self, name: str, number: int) -> None:
        identity = self._supervisor.inspect(self._folder(name, number)).identity
        with suppress(OSError, ValueError):
            if identity is not None:
                score = Path(f"/proc/{ProcessIdentity.parse(identity).pid}/oom_score_adj")
                if score.read_text(encoding="ascii").strip() == str(CANDIDATES_OOM_SCORE):
                    score.write_text("0", encoding="ascii")

    def discard(self, name: str, release: int) -> None:
        if not self._is_mine(name, release):
            return
        if not self._runs(name, release):
            self._remove_ports(name, release)
        self._supervisor.discard(self._folder(name, release))
        remove_scratch(self._layout.scratch(name, release))

    # --- records ---

    def _record(self, name: str, release: Release, image: Path) -> None:
        folder = self._folder(name, release.number)
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

    def _record_of(self, name: str, number: int) -> Optional[Release]:
        with suppress(DriverError):
            return self._recorded(name, number)
        return None

    def _recorded(self, name: str, number: int) -> Release:
        path = self._folder(name, number) / RELEASE
        try:
            return codec.decode(Release, json.loads(path.read_bytes()))
        except (OSError, ValueError) as error:
            raise DriverError(
                f"{name} runs as release {number}, but what that is cannot be read from {path}: {error}. "
                "It was left running. Stop it, or deploy anew."
            ) from error

    # --- adopting ---

    def discovered(self, name: str, number: int) -> Optional[Release]:
        found = self._served_by(name)
        return None if found is None else self._recorded(name, found.release)

    def fetch_image(self, name: str, number: int) -> Optional[tuple[Release, Image]]:
        found = self._served_by(name)
        if found is None or found.identity is None:
            return None
        release = self._recorded(name, found.release)
        self._ensure_image(name, release, found.identity)
        return release, release.image

    def _served_by(self, name: str) -> Optional[Instance]:
        served = (i for i in reversed(self._instances(name)) if i.alive and i.serving and i.identity is not None)
        return next(served, None)

    def _ensure_image(self, name: str, release: Release, identity: str) -> None:
        """From the store, from the instance's own link to it, or from its process: the kernel keeps a running
        program's bytes, even when its file was removed."""
        with suppress(ImageMissing):
            self._images.verify(release.image)
            return
        places = [self._layout.instance_image(name, release.number)]
        if self._guest.is_its_own_program():
            places.append(Path(f"/proc/{ProcessIdentity.parse(identity).pid}/exe"))
        for place in places:
            with suppress(OSError, ImageError):
                if place.stat().st_size == release.image.size and self._images.add_file(place) == release.image:
                    return
        raise DriverError(
            f"{name} runs as {release}, but its image is no more in the store and could not be taken from its process. "
            "It was left running. Bring the image into the store (module image), then try again."
        )


def _runs_alike(one: Release, other: Release) -> bool:
    """Equal in all that a process has of its release: how it takes over, and when it starts, is not of it."""
    return (one.image, _of_process(one)) == (other.image, _of_process(other))


def _of_process(release: Release) -> object:
    return replace(release.configuration, swap=SwapMethod.AUTO, ready=None, start_order=50)


def _reach(ports: Sequence[Port]) -> tuple[bool, Optional[str]]:
    """Whether all ports are on their bridges, and why the instance cannot be reached even if they should be put there.

    A tender does not end when its tap is deleted: it lives on, eats a whole CPU, and nobody can reach it.
    """
    serving = True
    for port in ports:
        standing = network.standing(port.interface)
        if not standing.exists:
            return False, (
                f"its network interface {port.interface} (device {port.device}) was deleted, so nobody can reach it, "
                "though its process lives; it has to be started anew"
            )
        serving = serving and standing.master == port.bridge
    return serving, None
