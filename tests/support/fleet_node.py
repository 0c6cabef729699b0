# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A node whose folders and journal are real, and whose machine, clock and driver are simulated.

The machine is an object of its own: it outlives the :class:`Node` that is dropped when a test interrupts a step, as
the real processes outlive a killed module.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Optional, TypeVar

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.equipment import located
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.durable import make_folder
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import (
    DriverError,
    ImageMissing,
    NoBridge,
    ReleaseRefused,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.images.store import ImageStore
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import REHEARSAL, NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import (
    Capabilities,
    Exit,
    Image,
    Instance,
    Release,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.node import Node
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.proposal import Declaration, Wanted
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import Holder
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.scratch import newest_core

ME = Holder(who="the test")


@pytest.fixture(scope="module", autouse=True)
def no_waiting_for_disks() -> Iterator[None]:
    """A simulated machine loses no page of the real one's memory, so nothing need reach a disk. To be imported."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda descriptor: None)
        yield


class Interrupted(BaseException):
    """The process dies here; nothing of the library may catch it."""


@dataclass
class InterruptAt:
    """Raises at the step of that number, and remembers the steps."""

    number: int = -1
    steps: list[str] = field(default_factory=list)

    def __call__(self, step: str) -> None:
        self.steps.append(step)
        if len(self.steps) - 1 == self.number:
            raise Interrupted(step)


@dataclass
class FakeClock:
    """A clock that moves only when told."""

    seconds: float = 1000.0
    boot: str = "boot-1"
    walls: str = "2026-01-01T00:00:00.000Z"

    def boottime_s(self) -> float:
        return self.seconds

    def boot_id(self) -> str:
        return self.boot

    def wall(self) -> str:
        return self.walls


@dataclass
class Machine:
    """What runs: by name and release number. Processes here outlive whoever started them."""

    instances: dict[str, dict[int, Instance]] = field(default_factory=dict)
    releases: dict[tuple[str, int], Release] = field(default_factory=dict)
    started: int = 0
    broken: set[str] = field(default_factory=set)
    """SHA-256 of images that do not start."""
    consoles: dict[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)
    on_trial: dict[tuple[str, int], bool] = field(default_factory=dict)
    rehearsing: dict[str, Instance] = field(default_factory=dict)
    """What is being rehearsed: apart from all instances."""
    rehearsed: list[str] = field(default_factory=list)
    """SHA-256 of what was ever rehearsed."""
    says: dict[str, str] = field(default_factory=dict)
    """By the image's SHA-256, the console of its rehearsal, where it is not that all is well."""
    writers: list[str] = field(default_factory=list)
    """SHA-256 of what was started on disks, in order: each adds its own to every disk that it has."""
    unplugged: bool = False
    """Without the bridge that all releases are to be on."""
    crashing: set[str] = field(default_factory=set)
    """SHA-256 of images that start and end."""

    def of(self, name: str) -> dict[int, Instance]:
        return self.instances.setdefault(name, {})

    def alive(self, name: str) -> list[int]:
        return sorted(number for number, instance in self.of(name).items() if instance.alive)

    def start(self, name: str, release: Release) -> Instance:
        self.started += 1
        instance = Instance(name, release.number, True, identity=f"process-{self.started}")
        self.of(name)[release.number] = instance
        self.releases[name, release.number] = release
        return instance

    def end(self, name: str, number: int, meaning: str) -> None:
        instance = self.of(name).get(number)
        if instance is not None and instance.alive:
            self.of(name)[number] = replace(instance, alive=False, exit=Exit(meaning=meaning))

    def power_cut(self) -> None:
        for name, instances in self.instances.items():
            for number in instances:
                self.end(name, number, "ended with the machine")
        self.rehearsing.clear()


T = TypeVar("T")


class FakeRehearsals:
    """Rehearses on a :class:`Machine`; its folder is made first and removed last, as the real ones do."""

    def __init__(self, machine: Machine, layout: NodeLayout, reached: Callable[[str], None]) -> None:
        self._machine = machine
        self._layout = layout
        self._reached = reached

    def refusals(self, name: str, release: Release) -> list[str]:
        return ["it has nothing to rehearse with"] if release.configuration.working_directory == "/alone" else []

    def unseen(self, name: str, release: Release) -> Optional[str]:
        return "it is far away" if release.configuration.working_directory == "/far" else None

    def prepare(self, name: str, release: Release) -> None:
        make_folder(self._layout.rehearsal(name))
        self._reached("made the folder")
        if release.configuration.working_directory == "/no-room":
            raise DriverError("no bridge could be made")

    def start(self, name: str, release: Release) -> None:
        if release.image.sha256 in self._machine.broken:
            raise DriverError("it is broken")
        ended = release.image.sha256 in self._machine.crashing
        end = Exit(status=2, meaning="exited with status 2") if ended else None
        self._machine.rehearsing[name] = Instance(name, release.number, not ended, "rehearsed", exit=end)
        self._machine.rehearsed.append(release.image.sha256)
        self._machine.consoles[name, 0] = tuple(self._machine.says.get(release.image.sha256, "all is well").split("\n"))
        self._reached("started the rehearsal")

    def inside(self, name: str, work: Callable[[], T]) -> T:
        return work()

    def inspect(self, name: str, release: Release) -> Optional[Instance]:
        return self._machine.rehearsing.get(name)

    def console(self, name: str, lines: int) -> tuple[str, ...]:
        return self._machine.consoles.get((name, 0), ())[-lines:]

    def core(self, name: str) -> Optional[Path]:
        return newest_core(self._layout.scratch(name, REHEARSAL))

    def end(self, name: str) -> None:
        self._machine.rehearsing.pop(name, None)
        self._reached("stopped the rehearsal")
        shutil.rmtree(self._layout.rehearsal(name), ignore_errors=True)


class FakeDriver:
    """Runs releases on a :class:`Machine`, as the protocol demands: repeatable after an end at any point within."""

    name = "unix"

    def __init__(self, machine: Machine, layout: NodeLayout, store: ImageStore, reached: Callable[[str], None]) -> None:
        self._machine = machine
        self._layout = layout
        self._store = store
        self._reached = reached

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(discovers=True)

    @property
    def rehearsals(self) -> FakeRehearsals:
        return FakeRehearsals(self._machine, self._layout, self._reached)

    def inspect(self, names: Sequence[str]) -> Mapping[str, tuple[Instance, ...]]:
        return {name: tuple(self._machine.of(name).values()) for name in names}

    def validate(self, name: str, release: Release) -> tuple[str, ...]:
        if release.configuration.working_directory == "/refused":
            raise ReleaseRefused(f"{name}: {release} is refused here. Nothing was stopped or started.")
        return ()

    def swap(self, name: str, old: Optional[Release], new: Optional[Release]) -> Optional[Instance]:
        starts = new if new is not None and new.running else None
        if starts is not None:
            self._store.verify(starts.image)
        for number in self._machine.alive(name):
            if starts is None or number != starts.number:
                self._machine.end(name, number, "killed by SIGTERM")
                self._reached(f"stopped {number}")
        if starts is None:
            return None
        running = self._machine.of(name).get(starts.number)
        if running is not None and running.alive:
            return running
        if starts.image.sha256 in self._machine.broken:
            raise DriverError(f"{name}: {starts} was not started: it is broken")
        if self._machine.unplugged:
            raise NoBridge(f"{name}: {starts} cannot be reached: the bridge br0 does not exist")
        self._keep_link(name, starts)
        self._write_to_disks(name, starts)
        instance = self._machine.start(name, starts)
        self._reached(f"started {starts.number}")
        return instance

    def _write_to_disks(self, name: str, release: Release) -> None:
        devices = located(self._layout, name, release).configuration.block_devices
        if devices:
            self._machine.writers.append(release.image.sha256)
        for device in devices:
            path = Path(str(device.path))
            make_folder(path.parent)
            with open(path, "a", encoding="ascii") as disk:
                disk.write(f"{release.image.sha256}\n")

    def _keep_link(self, name: str, release: Release) -> None:
        link = self._layout.instance_image(name, release.number)
        make_folder(link.parent)
        if not link.exists():
            os.link(self._layout.image(release.image.sha256), link)

    def stop(self, name: str, release: int) -> Optional[Exit]:
        self._machine.end(name, release, "killed by SIGTERM")
        instance = self._machine.of(name).get(release)
        return instance.exit if instance else None

    def on_trial(self, name: str, release: int, trial: bool) -> None:
        self._machine.on_trial[name, release] = trial

    def discard(self, name: str, release: int) -> None:
        instance = self._machine.of(name).get(release)
        if instance is not None and instance.alive:
            raise DriverError("it lives")
        self._machine.of(name).pop(release, None)
        self._layout.instance_image(name, release).unlink(missing_ok=True)

    def console(self, name: str, release: int, lines: int) -> tuple[str, ...]:
        return self._machine.consoles.get((name, release), ())[-lines:]

    def core(self, name: str, release: int) -> Optional[Path]:
        return newest_core(self._layout.scratch(name, release))

    def discovered(self, name: str, number: int) -> Optional[Release]:
        alive = self._machine.alive(name)
        return self._machine.releases[name, alive[-1]] if alive else None

    def fetch_image(self, name: str, number: int) -> Optional[tuple[Release, Image]]:
        for number in reversed(self._machine.alive(name)):
            release = self._machine.releases[name, number]
            try:
                self._store.verify(release.image)
            except ImageMissing as error:
                raise DriverError(str(error)) from error
            return release, release.image
        return None


class FleetNode:
    """A folder, a machine and a clock; a fresh :class:`Node` on them whenever one is asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layout = NodeLayout(root / "state")
        self.store = ImageStore(self.layout)
        self.clock = FakeClock()
        self.machine = Machine()

    def node(self, reached: Callable[[str], None] = lambda step: None) -> Node:
        driver = FakeDriver(self.machine, self.layout, self.store, reached)
        return Node(self.layout, self.store, lambda name: driver, self.clock, reached)

    def reboot(self) -> None:
        self.machine.power_cut()
        self.clock.boot = f"boot-{int(self.clock.boot.split('-')[1]) + 1}"
        self.clock.seconds = 10.0

    def image(self, content: str) -> Image:
        return self.store.add_stream([content.encode("utf-8")])

    def declaration(self, content: Optional[str] = None, wanted: str = "running", **configuration: Any) -> Declaration:
        image = None if content is None else self.image(content)
        return Declaration(wanted=Wanted(wanted), image=image, configuration=configuration)

    def running(self, name: str) -> Optional[str]:
        """Content of the image that runs under the name; None when nothing does. Two at a time is an error."""
        alive = self.machine.alive(name)
        assert len(alive) <= 1, f"{alive} run at once"
        if not alive:
            return None
        release = self.machine.releases[name, alive[0]]
        return self.layout.image(release.image.sha256).read_text(encoding="utf-8")
