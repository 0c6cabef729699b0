# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The text of the units, and the choice of the supervisor: no systemd is needed for these."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import DriverError, InvalidDeclaration
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import DEFAULT_ROOT, REHEARSAL, NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases import guard_units
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime import choice, unit_files, units
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.detached import DetachedSupervisor
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.systemd import SystemdSupervisor

ROOT = Path(DEFAULT_ROOT)
LONGEST = "a" + "-" * 61 + "z"


def lines(kind: str, root: Path = ROOT) -> list[str]:
    return units.template(root, kind, "/usr/bin/python3", root / "waiter.py").splitlines()


@pytest.mark.parametrize("kind", sorted(units.SANDBOXES))
def test_every_kind_is_denied_what_no_instance_needs(kind: str) -> None:
    text = lines(kind)
    for line in ("NoNewPrivileges=yes", "ProtectSystem=strict", "PrivateTmp=yes", "DevicePolicy=closed"):
        assert line in text
    assert not any(line.startswith("CapabilityBoundingSet=~") or line == "CapabilityBoundingSet=" for line in text)


@pytest.mark.parametrize("kind", sorted(units.SANDBOXES))
def test_no_instance_is_ever_started_by_systemd_alone(kind: str) -> None:
    text = lines(kind)
    assert "[Install]" not in text
    assert "Restart=no" in text


@pytest.mark.parametrize("kind", ["solo5", "qemu"])
def test_a_tender_gets_the_devices_of_guests_and_no_power_over_the_network(kind: str) -> None:
    text = lines(kind)
    assert "DeviceAllow=/dev/kvm rw" in text
    assert "DeviceAllow=/dev/net/tun rw" in text
    assert "IPAddressDeny=any" in text
    bounding = next(line for line in text if line.startswith("CapabilityBoundingSet="))
    assert "CAP_NET_ADMIN" not in bounding
    assert "CAP_SYS_ADMIN" not in bounding


@pytest.mark.parametrize("kind", ["solo5", "qemu"])
def test_a_tender_cannot_look_into_another_one_of_the_same_user(kind: str) -> None:
    (denied,) = [line for line in lines(kind) if line.startswith("SystemCallFilter=~")]
    assert {"@debug", "process_vm_readv", "process_vm_writev"} < set(denied.partition("~")[2].split())
    assert "ProtectProc=invisible" in lines(kind)


def test_a_program_gets_no_devices_and_cannot_mount_its_way_out() -> None:
    text = lines("unix")
    assert not any(line.startswith("DeviceAllow=") for line in text)
    assert any("@mount" in line for line in text if line.startswith("SystemCallFilter=~"))


def test_the_longest_name_there_is_makes_a_unit_that_systemd_takes() -> None:
    name = units.unit_name(Path("/srv/elsewhere"), "solo5", LONGEST, 10**9)
    assert len(name) < 256


def test_a_name_that_is_none_makes_no_unit() -> None:
    with pytest.raises(InvalidDeclaration):
        units.unit_name(ROOT, "unix", "../x", 1)


def test_a_rehearsal_has_a_unit_beside_those_of_all_releases() -> None:
    folder = NodeLayout(ROOT).rehearsal("www")
    assert SystemdSupervisor(NodeLayout(ROOT), "unix").unit(folder) == "unikernel-fleet-unix@www:rehearsal.service"
    assert units.links_folder(ROOT, "www", REHEARSAL).name == "www:rehearsal"
    with pytest.raises(ValueError, match="another"):
        units.unit_name(ROOT, "unix", "www", "another")


def test_two_state_folders_have_units_of_their_own() -> None:
    assert units.template_name(ROOT, "unix") == "unikernel-fleet-unix@.service"
    assert units.template_name(Path("/srv/a"), "unix") != units.template_name(Path("/srv/b"), "unix")


def test_the_slice_is_one_and_not_a_slice_within_slices() -> None:
    assert "-" not in units.slice_name(ROOT)


@pytest.mark.parametrize("root", ["/srv/a b", "/srv/100%", "relative", "/srv/a\n[Service]", "/srv/$HOME", "/srv/ä"])
def test_a_path_that_systemd_would_read_otherwise_is_refused(root: str) -> None:
    with pytest.raises(InvalidDeclaration, match="cannot stand in a unit"):
        units.template(Path(root), "unix", "/usr/bin/python3", Path("/x/waiter.py"))


def test_a_state_folder_below_tmp_is_not_hidden_from_its_own_unit() -> None:
    assert "PrivateTmp=yes" not in lines("unix", Path("/tmp/trial"))


def test_the_guard_has_a_boot_unit_a_timer_and_bridges_and_only_these_start_by_themselves() -> None:
    texts = guard_units.node_units(NodeLayout(ROOT))
    assert {name for name, text in texts.items() if "[Install]" in text} == {
        "unikernel-fleet-guard-boot.service",
        "unikernel-fleet-guard-sweep.timer",
        "unikernel-fleet-bridges.service",
    }
    timer = texts["unikernel-fleet-guard-sweep.timer"]
    assert "Persistent=true" in timer
    assert "AccuracySec=1s" in timer


def test_the_sweep_waits_for_the_boot_so_that_the_start_order_counts() -> None:
    texts = guard_units.node_units(NodeLayout(ROOT))
    for name in ("unikernel-fleet-guard-sweep.timer", "unikernel-fleet-guard-sweep.service"):
        assert "After=unikernel-fleet-guard-boot.service" in texts[name]


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (choice.Machine(root=True, first_process="systemd", reachable=True), True),
        (choice.Machine(root=False, first_process="systemd", reachable=True), False),
        (choice.Machine(root=True, first_process="tini", reachable=True), False),
        (choice.Machine(root=True, first_process="systemd", reachable=False), False),
    ],
)
def test_systemd_is_used_where_it_runs_the_machine_and_we_are_root(machine: choice.Machine, expected: bool) -> None:
    assert choice.uses_systemd(machine) is expected


def test_the_choice_gives_the_supervisor(monkeypatch: pytest.MonkeyPatch) -> None:
    layout = NodeLayout(ROOT)
    monkeypatch.setattr(choice, "this_machine", lambda: choice.Machine(True, "systemd", True))
    assert isinstance(choice.choose(layout, "unix"), SystemdSupervisor)
    monkeypatch.setattr(choice, "this_machine", lambda: choice.Machine(False, "systemd", True))
    chosen = choice.choose(layout, "unix")
    assert isinstance(chosen, DetachedSupervisor) and not isinstance(chosen, SystemdSupervisor)


def test_a_unit_belongs_to_the_folder_of_an_instance_and_to_no_other() -> None:
    layout = NodeLayout(ROOT)
    supervisor = SystemdSupervisor(layout, "unix")
    assert supervisor.unit(layout.instance("www", 7)) == "unikernel-fleet-unix@www:7.service"
    with pytest.raises(DriverError, match="not the folder of an instance"):
        supervisor.unit(Path("/somewhere/else"))


def test_the_copy_of_the_waiter_is_written_once(tmp_path: Path) -> None:
    layout = NodeLayout(tmp_path)
    assert unit_files.install_waiter(layout) is True
    assert unit_files.install_waiter(layout) is False
    compile(unit_files.waiter_path(layout).read_text(encoding="utf-8"), "waiter.py", "exec")
