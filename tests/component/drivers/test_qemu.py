# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The driver ``qemu``: what it refuses, how it calls QEMU, and real virtual machines where this machine can."""

from __future__ import annotations

import os
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers import qemu
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.qemu_exits import (
    BEGINS,
    LAST_WORDS,
    meaning,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.registry import open_driver
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import DriverError, ReleaseRefused
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.images.store import ImageStore
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import (
    Abi,
    BlockDevice,
    Boot,
    BootedFrom,
    Configuration,
    Image,
    Instance,
    Limits,
    Network,
    Release,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime import emulator, qmp
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.emulator import Emulator
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.ports import Port, PortKind
from ansible_collections.unikernel.fleet.tests.support import network_lab as lab_support, programs
from ansible_collections.unikernel.fleet.tests.support.network_lab import BRIDGE, GUEST_V4, network_lab
from ansible_collections.unikernel.fleet.tests.support.programs import until
from ansible_collections.unikernel.fleet.tests.support.virtual_machine import guest as test_guest

NAME = "machine"
BOOT_S = 60.0
"""About 3 s under TCG on an idle machine."""
TCG = Emulator("/usr/bin/qemu-system-x86_64", "boot", 1, "tcg")
KERNEL = bytes(510) + b"\x55\xaa\0\0HdrS" + bytes(64)
SAYS_HELLO = b"\xba\xf8\x03" + b"".join(b"\xb0" + bytes([c]) + b"\xee" for c in b"hello\n") + b"\xf4\xeb\xfd"
"""mov dx, 0x3f8; for each character: mov al, c; out dx, al; then hlt for ever."""


class Node:
    """A state folder with a store and the driver on it."""

    def __init__(self, root: Path) -> None:
        # Longer than the address of a Unix socket may be, as real ones can be.
        self.layout = NodeLayout(root / ("state-" + "x" * 100))
        self.store = ImageStore(self.layout)
        self.driver = open_driver("qemu", self.layout, self.store)

    def add(self, content: bytes) -> Image:
        return self.store.add_stream([content])

    def instance(self, number: int = 1) -> Instance:
        return {instance.release: instance for instance in self.driver.inspect([NAME])[NAME]}[number]

    def folder(self, number: int = 1) -> Path:
        return self.layout.instance(NAME, number)

    def scratch(self, number: int = 1) -> Path:
        return self.layout.scratch(NAME, number)

    def console(self, number: int = 1) -> str:
        return "\n".join(self.driver.console(NAME, number, 100))

    def ended(self, number: int = 1) -> str:
        until(lambda: not self.instance(number).alive, BOOT_S)
        end = self.instance(number).exit
        assert end is not None
        return end.meaning


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    yield Node(tmp_path)
    programs.end_all_instances(tmp_path)


# --- what is refused --------------------------------------------------------------------------------------


@pytest.fixture
def with_qemu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu, "find_emulator", lambda record: TCG)


def refusal(node: Node, content: bytes = KERNEL, abi: Optional[Abi] = None, **configuration: Any) -> str:
    release = Release(1, node.add(content), Configuration(driver="qemu", **configuration), abi=abi)
    with pytest.raises(ReleaseRefused) as refused:
        node.driver.validate(NAME, release)
    return str(refused.value)


@pytest.mark.usefixtures("with_qemu")
def test_a_kernel_is_taken(node: Node) -> None:
    node.driver.validate(NAME, Release(1, node.add(KERNEL), Configuration(driver="qemu")))


@pytest.mark.usefixtures("with_qemu")
@pytest.mark.parametrize(
    ("configuration", "reason"),
    [
        ({"content": b"#!/bin/sh\n"}, "is no kernel that QEMU boots"),
        ({"content": bytes(510) + b"\x55\xaa"}, "it could be a disk"),
        ({"boot": Boot(image=BootedFrom.DISK), "content": bytes(512)}, "is no disk to boot from"),
        ({"abi": Abi("spt", 2)}, "needs a tender"),
        ({"boot": Boot(initrd=Image("0" * 64, 1))}, "its initrd is not here"),
        ({"environment": {"A": "b"}}, "has none"),
        ({"working_directory": "/"}, "has none"),
        ({"limits": Limits(open_files=5)}, "would bind QEMU"),
        ({"arguments": ("x" * 2048,)}, "longer than 2047"),
        ({"block_devices": (BlockDevice("data", "/nowhere"),)}, "'data': /nowhere is not on this node"),
        ({"memory_mib": 2**19}, "it needs 524416 MiB"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_is_touched(
    node: Node, configuration: dict[str, Any], reason: str
) -> None:
    said = refusal(node, **configuration)
    assert reason in said and "Nothing was stopped or started" in said


def test_a_node_without_qemu_refuses_and_says_what_to_install(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator, "PATH", "/nowhere")
    assert "the package qemu-system-x86" in refusal(node)


# --- how QEMU is called -----------------------------------------------------------------------------------


def words_of(boot: Boot = Boot(), initrd: Optional[Path] = None, **configuration: Any) -> str:  # noqa: B008
    given = Configuration(driver="qemu", boot=boot, **configuration)
    port = Port("ukp1", "label", PortKind.TAP, "service", "br0", "00:80:41:00:00:01")
    return " ".join(qemu.command_line(TCG, NAME, given, Path("/images/a,b"), initrd, (port,)))


def test_a_kernel_gets_its_initrd_and_its_arguments() -> None:
    words = words_of(initrd=Path("/images/i"), arguments=("a=1", "b"), secret_arguments=("c",), cpus=(0, 1))
    assert "-kernel /images/a,b -initrd /images/i -append a=1 b c" in words
    assert "-m 256 -smp 2" in words and "-accel tcg,tb-size=64" in words and "-no-reboot" in words


def test_a_guest_is_plugged_in_by_the_name_of_its_tap() -> None:
    assert "tap,id=net0,ifname=ukp1,script=no,downscript=no" in words_of()
    assert "virtio-net-pci,netdev=net0,mac=00:80:41:00:00:01,romfile=" in words_of()


def test_disks_are_called_what_they_are_and_the_one_it_boots_from_stays_as_it_is(tmp_path: Path) -> None:
    disk = tmp_path / "a,b"
    disk.write_bytes(b"QFI\xfb")
    given = Configuration(
        driver="qemu", boot=Boot(image=BootedFrom.DISK), block_devices=(BlockDevice("data", "/dev/data"),)
    )
    words = " ".join(qemu.command_line(TCG, NAME, given, disk, None, ()))
    assert "a,,b,format=qcow2,snapshot=on" in words and "-kernel" not in words
    assert "file=/dev/data,format=raw,if=none,id=block0" in words and "serial=data" in words


# --- how it ended -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "console", "words"),
    [
        (0, ["qemu_system_shutdown_request reason=6"], "its guest powered off"),
        (1, ["qemu_system_shutdown_request reason=8"], "its guest panicked"),
        (0, ["qemu-system-x86_64: terminating on signal 15 from pid 1 (a)"], "QEMU was told to end"),
        (0, ["bye"], "its guest restarted, or reset itself after a fault, which counts as its end"),
        (1, ["qemu-system-x86_64: -m 0: invalid"], "QEMU ended with status 1: -m 0: invalid"),
        (None, [], "QEMU was killed by SIGKILL"),
        (None, ["qemu_system_shutdown_request reason=8", f"runstate_set {LAST_WORDS}"], "its guest panicked"),
        (None, ["qemu_system_shutdown_request reason=6", f"runstate_set {LAST_WORDS}"], "its guest powered off"),
        (None, [f"runstate_set {LAST_WORDS}", f"runstate_set {BEGINS} 9 (running)"], "QEMU was killed by SIGKILL"),
    ],
)
def test_ways_to_end_are_told_apart(status: Optional[int], console: list[str], words: str) -> None:
    assert meaning(status, "killed by SIGKILL", console) == words


def test_nobody_answers_where_no_machine_runs(tmp_path: Path) -> None:
    assert qmp.status(tmp_path) is None and qmp.status(tmp_path / "missing") is None


# --- which QEMU there is ----------------------------------------------------------------------------------


def test_what_works_is_tried_out_once_for_each_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def probe(program: str, accelerator: str, processor: str) -> Optional[str]:
        tried.append(accelerator)
        return "failed to set MSR 0x10a" if accelerator == "kvm" else None

    monkeypatch.setattr(emulator, "find_program", lambda: "/bin/sh")
    monkeypatch.setattr(emulator, "run_probe", probe)
    record = tmp_path / "probes" / "qemu.json"
    first = emulator.find_emulator(record)
    assert first.accelerator == "tcg" and emulator.find_emulator(record) == first and tried.count("tcg") == 1
    monkeypatch.setattr(emulator, "boot_id", lambda: "another boot")
    emulator.find_emulator(record)
    assert tried.count("tcg") == 2


def test_a_qemu_that_runs_nothing_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator, "find_program", lambda: "/bin/true")
    with pytest.raises(DriverError, match="does not even run a guest of two instructions"):
        emulator.find_emulator(tmp_path / "record")


# --- real machines ----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def guest_files() -> test_guest.GuestFiles:
    reason = test_guest.why_not()
    if reason is not None:
        pytest.skip(reason)
    return test_guest.guest_files()


class Machines:
    """Releases of the test guest."""

    def __init__(self, node: Node, files: test_guest.GuestFiles) -> None:
        self.node = node
        self._kernel = node.store.add_file(files.kernel)
        self._initrd = node.store.add_file(files.initrd)

    def release(self, number: int = 1, *words: str, power_button: bool = False, **configuration: Any) -> Release:
        arguments = (*test_guest.CONSOLE, f"fleet.version={number}", *words)
        boot = Boot(initrd=self._initrd, power_button=power_button)
        given = {"memory_mib": 128, "stop_grace_s": 20.0, **configuration}
        return Release(number, self._kernel, Configuration(driver="qemu", arguments=arguments, boot=boot, **given))

    def start(self, release: Release, old: Optional[Release] = None) -> Instance:
        self.node.driver.validate(NAME, release)
        instance = self.node.driver.swap(NAME, old, release)
        assert instance is not None and instance.alive
        return instance

    def serves(self, number: int = 1) -> None:
        until(lambda: f"guest {number} serves" in self.node.console(number), BOOT_S)


@pytest.fixture
def machines(node: Node, guest_files: test_guest.GuestFiles) -> Machines:
    return Machines(node, guest_files)


def test_a_machine_starts_is_seen_and_stops(machines: Machines) -> None:
    node = machines.node
    release = machines.release()
    machines.start(release)
    machines.serves()
    assert qmp.status(node.scratch()) == "running"
    instance = node.instance()
    assert instance.works and (instance.memory_mib or 0) < 128 + qemu.OVERHEAD_MIB
    began = time.monotonic()
    node.driver.swap(NAME, release, None)
    assert time.monotonic() - began < 10 and node.ended() == "QEMU was told to end"
    assert qmp.status(node.scratch()) is None
    node.driver.discard(NAME, 1)
    assert not node.folder().exists() and not node.scratch().exists()


def test_a_guest_that_listens_is_asked_to_shut_down(machines: Machines) -> None:
    machines.start(machines.release(power_button=True))
    machines.serves()
    machines.node.driver.stop(NAME, 1)
    assert machines.node.ended() == "its guest powered off"


@pytest.mark.parametrize(
    ("does", "words"),
    [
        # Being looked at all the time, QEMU 7.2 now and then hangs when it is to exit, and has to be helped.
        ("panics", "its guest panicked"),
        ("powers_off", "its guest powered off"),
        ("restarts", "its guest restarted"),
    ],
)
def test_an_end_of_the_guest_is_an_end_of_the_instance(machines: Machines, does: str, words: str) -> None:
    machines.start(machines.release(1, f"fleet.does={does}"))
    assert machines.node.ended().startswith(words)


@pytest.mark.long
def test_a_guest_that_spins_lives_and_is_seen_to_work_hard(machines: Machines) -> None:
    machines.start(machines.release(1, "fleet.does=spins"))
    until(lambda: "guest: spins" in machines.node.console(), BOOT_S)
    before, began = machines.node.instance().cpu_time_s or 0.0, time.monotonic()
    until(lambda: (machines.node.instance().cpu_time_s or 0.0) - before > 0.3, 30.0)
    assert machines.node.instance().works and time.monotonic() - began < 30


@pytest.mark.long
def test_a_guest_that_stands_still_is_as_good_as_dead(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    release = machines.release()
    first = machines.start(release)
    machines.serves()
    qmp.ask(machines.node.scratch(), "stop", 5.0)
    assert qmp.status(machines.node.scratch()) == "paused"
    assert machines.node.instance().works  # somebody wished that
    monkeypatch.setitem(qemu.STANDING_STILL, "paused", "its guest stands still")
    instance = machines.node.instance()
    assert instance.alive and not instance.works and "started anew" in (instance.unreachable or "")
    assert machines.start(release, release).identity != first.identity


def test_a_disk_boots_by_itself_and_stays_as_it_was(node: Node, guest_files: test_guest.GuestFiles) -> None:
    disk = (SAYS_HELLO.ljust(510, b"\0") + b"\x55\xaa").ljust(2**20, b"\0")
    boot = Boot(image=BootedFrom.DISK)
    release = Release(1, node.add(disk), Configuration(driver="qemu", memory_mib=32, boot=boot))
    node.driver.validate(NAME, release)
    node.driver.swap(NAME, None, release)
    until(lambda: "hello" in node.console(), BOOT_S)
    node.driver.stop(NAME, 1)
    assert node.store.verify(release.image)


WRITES_ITSELF = b"\x31\xc0\x8e\xc0\xb8\x01\x03\xbb\x00\x7c\xb9\x01\x00\xba\x81\x00\xcd\x13" + SAYS_HELLO
"""es = 0; then, by the firmware, one sector from 0x7c00, where this lies itself, to the first sector of the second
disk; then as above."""


def test_a_disk_of_its_own_is_made_attached_and_outlives_it(node: Node, guest_files: test_guest.GuestFiles) -> None:
    sector = WRITES_ITSELF.ljust(510, b"\0") + b"\x55\xaa"
    given = Configuration(
        driver="qemu", memory_mib=32, boot=Boot(image=BootedFrom.DISK), block_devices=(BlockDevice("data", size_mib=2),)
    )
    release = Release(1, node.add(sector.ljust(2**20, b"\0")), given)
    node.driver.validate(NAME, release)
    assert not node.layout.disks(NAME).exists(), "looking makes nothing"
    node.driver.swap(NAME, None, release)
    until(lambda: "hello" in node.console(), BOOT_S)
    node.driver.swap(NAME, release, None)
    node.driver.discard(NAME, 1)
    disk = node.layout.disk(NAME, "data")
    assert disk.stat().st_size == 2 * 2**20 and disk.read_bytes()[:512] == sector
    larger = replace(release, configuration=replace(given, block_devices=(BlockDevice("data", size_mib=3),)))
    with pytest.raises(ReleaseRefused, match=r"declared with 3 MiB, and .* has 2 \(stop it and resize"):
        node.driver.validate(NAME, larger)


@pytest.mark.skipif(bool(lab_support.why_not_here()), reason=f"a real bridge: {lab_support.why_not_here()}")
def test_a_machine_on_a_bridge_answers_and_its_successor_takes_over(machines: Machines) -> None:
    assert os.geteuid() == 0
    with network_lab() as lab:
        network = Network("service", BRIDGE, addresses=(f"{GUEST_V4}/24",))
        ready = {"http": {"url": f"http://{GUEST_V4}/health"}, "within": BOOT_S}
        given: dict[str, Any] = {"networks": (network,), "ready": ready}
        first = machines.release(1, f"fleet.ip={GUEST_V4}/24", **given)
        second = machines.release(2, f"fleet.ip={GUEST_V4}/24", **given)
        machines.start(first)
        until(lambda: answer() == "guest 1", BOOT_S)
        machines.start(second, first)
        assert answer() == "guest 2", "it was ready before it took over"
        assert not machines.node.instance(1).serving and machines.node.instance(2).serving
        for number in (1, 2):
            machines.node.driver.stop(NAME, number)
        assert lab.leftovers() == []


@pytest.mark.skipif(bool(lab_support.why_not_here()), reason=f"a real bridge: {lab_support.why_not_here()}")
def test_a_machine_is_rehearsed_under_its_address_and_leaves_nothing(machines: Machines) -> None:
    rehearsals = machines.node.driver.rehearsals
    assert rehearsals is not None
    with network_lab() as lab:
        network = Network("service", BRIDGE, addresses=(f"{GUEST_V4}/24",))
        release = machines.release(1, f"fleet.ip={GUEST_V4}/24", networks=(network,))
        assert rehearsals.refusals(NAME, release) == []
        rehearsals.prepare(NAME, release)
        rehearsals.start(NAME, release)
        until(lambda: rehearsals.inside(NAME, answer) == "guest 1", BOOT_S)
        assert answer() == "", "nobody else can reach it"
        found = rehearsals.inspect(NAME, release)
        assert found is not None and found.works and not found.serving
        assert machines.node.driver.inspect([NAME])[NAME] == (), "it is none of the instances"
        rehearsals.end(NAME)
        assert lab.leftovers() == [] and not machines.node.layout.rehearsal(NAME).exists()


def answer() -> str:
    with suppress(OSError), urllib.request.urlopen(f"http://{GUEST_V4}/", timeout=1) as reply:
        text: str = reply.read().decode("ascii")
        return text.strip()
    return ""
