# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The memory that is free where an instance will live, read from trees of control groups as kernels and containers show
them."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime import systemd
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.memory_room import (
    Hierarchy,
    Room,
    memory_hierarchy,
    room_beside_us,
    room_in_slice,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.systemd import SystemdSupervisor

MIB = 2**20
NO_LIMIT = "9223372036854771712"


class Machine:
    """A folder for ``/proc`` and one for the mounted control groups."""

    def __init__(self, folder: Path, free_mib: Optional[int] = 1000) -> None:
        self.proc = folder / "proc"
        self.groups = folder / "control groups"
        for process in ("self", "1"):
            (self.proc / process).mkdir(parents=True)
        if free_mib is not None:
            text = f"MemTotal:       99 kB\nMemAvailable:   {free_mib * 1024} kB\nBuffers: 1 kB\n"
            (self.proc / "meminfo").write_text(text, encoding="ascii")

    def mount(self, unified: bool, root: str = "/", where: str = ".") -> None:
        place = str((self.groups / where).resolve()).replace(" ", "\\040")
        kind, options = ("cgroup2", "rw") if unified else ("cgroup", "rw,memory")
        with open(self.proc / "self" / "mountinfo", "a", encoding="ascii") as file:
            file.write(f"31 23 0:28 {root} {place} rw,relatime shared:9 - {kind} {kind} {options}\n")

    def place(self, process: str, *lines: str) -> None:
        (self.proc / process / "cgroup").write_text("".join(f"{line}\n" for line in lines), encoding="ascii")

    def group(self, path: str, **files: object) -> None:
        folder = self.groups / path
        folder.mkdir(parents=True, exist_ok=True)
        for name, value in files.items():
            (folder / f"memory.{name}").write_text(f"{value}\n", encoding="ascii")

    def beside_us(self) -> Optional[Room]:
        return room_beside_us(self.proc)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def unified(machine: Machine) -> Machine:
    machine.mount(unified=True)
    machine.place("self", "0::/user.slice/session-3.scope")
    machine.place("1", "0::/init.scope")
    machine.group("user.slice/session-3.scope", max="max", high="max", current=5 * MIB)
    machine.group("user.slice", max="max", high="max", current=50 * MIB)
    return machine


def test_without_limits_it_is_what_the_machine_has(unified: Machine) -> None:
    assert unified.beside_us() == Room(1000.0)
    assert str(Room(1000.9)) == "1000 MiB are free"


def test_without_control_groups_too(machine: Machine) -> None:
    assert machine.beside_us() == Room(1000.0)
    machine.mount(unified=True)
    assert machine.beside_us() == Room(1000.0), "no group of ours is known"


def test_a_kernel_that_says_nothing_is_believed(tmp_path: Path) -> None:
    assert Machine(tmp_path, free_mib=None).beside_us() is None


@pytest.mark.parametrize("limit", ["max", "high"])
@pytest.mark.parametrize("group", ["user.slice/session-3.scope", "user.slice"])
def test_the_tightest_limit_above_counts_with_what_is_used_there(unified: Machine, group: str, limit: str) -> None:
    unified.group(group, current=300 * MIB, **{limit: 400 * MIB})
    assert unified.beside_us() == Room(100.0, f"/{group}")
    unified.group("user.slice/session-3.scope", max=90 * MIB, current=0)
    assert unified.beside_us() == Room(90.0, "/user.slice/session-3.scope")


def test_the_lower_of_both_limits_of_a_group_counts(unified: Machine) -> None:
    unified.group("user.slice", max=400 * MIB, high=350 * MIB, current=300 * MIB)
    assert unified.beside_us() == Room(50.0, "/user.slice")


def test_a_limit_above_what_the_machine_has_does_not_matter(unified: Machine) -> None:
    unified.group("user.slice", max=4000 * MIB, current=MIB)
    assert unified.beside_us() == Room(1000.0)


def test_the_cache_of_files_is_given_up_and_files_in_memory_are_not(unified: Machine) -> None:
    stat = f"anon {100 * MIB}\nfile {200 * MIB}\nshmem {50 * MIB}\nactive_file {90 * MIB}\ninactive_file {60 * MIB}"
    unified.group("user.slice", max=400 * MIB, current=300 * MIB, stat=stat)
    assert unified.beside_us() == Room(250.0, "/user.slice")


def test_a_group_that_is_over_its_limit_has_no_room(unified: Machine) -> None:
    unified.group("user.slice", high=100 * MIB, current=130 * MIB)
    assert unified.beside_us() == Room(0.0, "/user.slice")


def test_a_container_sees_its_own_limit_at_the_top(machine: Machine) -> None:
    """With a namespace of its own for control groups, it is the root for it, and has a limit all the same."""
    machine.mount(unified=True)
    machine.place("self", "0::/")
    machine.group(".", max=64 * MIB, high="max", current=4 * MIB)
    assert machine.beside_us() == Room(60.0, "/")


@pytest.mark.parametrize("own", ["/lxc/n1", "/lxc/n1/ours", "/../sibling"])
def test_a_container_without_that_namespace_sees_its_part(machine: Machine, own: str) -> None:
    machine.mount(unified=True, root="/lxc/n1")
    machine.place("self", f"0::{own}")
    machine.group(".", max=64 * MIB, current=4 * MIB)
    assert machine.beside_us() == Room(60.0, "/lxc/n1")


def test_the_old_hierarchy_has_other_files_and_counts_what_is_below(machine: Machine) -> None:
    machine.mount(unified=True, where="unified")
    machine.mount(unified=False, where="memory")
    machine.place("self", "4:cpu,memory:/docker/abc", "1:name=systemd:/x", "0::/elsewhere")
    stat = f"active_file 0\ninactive_file {MIB}\ntotal_active_file {30 * MIB}\ntotal_inactive_file {20 * MIB}"
    machine.group("memory/docker/abc", limit_in_bytes=200 * MIB, usage_in_bytes=150 * MIB, stat=stat)
    machine.group("memory/docker", limit_in_bytes=NO_LIMIT, usage_in_bytes=900 * MIB)
    assert machine.beside_us() == Room(100.0, "/docker/abc")


def test_where_the_old_hierarchies_are_mounted_and_memory_is_not_among_them(machine: Machine) -> None:
    machine.mount(unified=True, where="unified")
    machine.place("self", "1:name=systemd:/x", "0::/ours")
    machine.group("unified/ours", max=200 * MIB, current=MIB)
    assert machine.beside_us() == Room(199.0, "/ours")
    found = memory_hierarchy(machine.proc)
    assert found == Hierarchy((machine.groups / "unified").resolve(), "/", True)


@pytest.mark.parametrize("manager", ["/init.scope", "/lxc/n1/init.scope", "/"])
def test_what_systemd_starts_lives_in_a_slice_and_not_where_we_are(machine: Machine, manager: str) -> None:
    machine.mount(unified=True)
    machine.place("self", "0::/user.slice")
    machine.place("1", f"0::{manager}")
    top = manager[: -len("init.scope")] if manager.endswith("init.scope") else manager
    machine.group("user.slice", max=10 * MIB, current=0)
    machine.group(f"{top}fleet.slice".lstrip("/"), max=300 * MIB, current=100 * MIB)
    assert room_in_slice("fleet.slice", proc=machine.proc) == Room(200.0, f"{top}fleet.slice")
    assert room_in_slice("other.slice", proc=machine.proc) == Room(1000.0)


def test_a_slice_that_nothing_runs_in_yet_has_the_limit_that_it_will_get(unified: Machine) -> None:
    assert room_in_slice("fleet.slice", 70 * MIB, unified.proc) == Room(70.0, "fleet.slice")
    assert room_in_slice("fleet.slice", 7000 * MIB, unified.proc) == Room(1000.0)


@pytest.mark.parametrize(
    ("shown", "limit"),
    [
        ("MemoryMax=infinity\nMemoryHigh=infinity\nMemoryLimit=infinity\n", None),
        ("MemoryMax=104857600\nMemoryHigh=94371840\n", 94371840),
        ("MemoryMax=18446744073709551615\nMemoryLimit=[not set]\n", None),
        ("", None),
    ],
)
def test_systemd_is_asked_for_the_limit_of_a_slice_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shown: str, limit: Optional[int]
) -> None:
    asked: list[tuple[str, ...]] = []

    def systemctl(*words: str) -> str:
        asked.append(words)
        return shown

    monkeypatch.setattr(systemd, "_systemctl", systemctl)
    monkeypatch.setattr(systemd, "CGROUPS", (tmp_path,))
    room = SystemdSupervisor(NodeLayout(Path("/var/lib/unikernel-fleet")), "unix").room()
    assert asked[0][-1] == "unikernel_fleet.slice"
    if limit is not None:
        assert room == Room(limit / MIB, "unikernel_fleet.slice")
    else:
        assert room is None or room.group != "unikernel_fleet.slice"
    (tmp_path / "unikernel_fleet.slice").mkdir()
    asked.clear()
    SystemdSupervisor(NodeLayout(Path("/var/lib/unikernel-fleet")), "unix").room()
    assert asked == [], "where it is there, its files say it"
