# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Role node, the guard and the supervisor ``systemd`` on a machine that really boots: a systemd-nspawn container."""

from __future__ import annotations

import shlex
import time

import pytest

from ansible_collections.unikernel.fleet.tests.support.nspawn.machine import (
    ON_NODE,
    SURVEY,
    VARIABLES,
    Machine,
    changed,
)

pytestmark = [pytest.mark.systemd]

LIVES = "echo up; exec sleep 1000"


def test_check_mode_says_what_it_would_change_and_changes_nothing(untouched: Machine) -> None:
    before = untouched.run(SURVEY)
    output = untouched.role("--check", "--diff")
    assert "failed=0" in output
    assert untouched.run(SURVEY) == before


def test_a_second_run_changes_nothing(machine: Machine) -> None:
    machine.role()  # other tests may have changed the machine since it was prepared
    assert changed(machine.role()) == 0


def test_the_folders_are_the_roots_and_others_only_pass_through(machine: Machine) -> None:
    shown = machine.run("stat -c '%a %U' /var/lib/unikernel-fleet /var/lib/unikernel-fleet/images")
    assert shown.splitlines() == ["711 root", "711 root"]


def test_the_bridges_are_known_as_ours_and_one_that_is_not_declared_any_more_goes(machine: Machine) -> None:
    shown = machine.run("cat /sys/class/net/service/ifalias /sys/class/net/inner/ifalias")
    assert shown.split() == ["unikernel.fleet:node"] * 2
    assert changed(machine.role(node_bridges=VARIABLES["node_bridges"][:-1])) > 0
    assert "inner" not in machine.run("ip -br link")
    machine.role()


def test_an_address_of_the_machines_own_network_is_refused_and_nothing_is_changed(machine: Machine) -> None:
    output = machine.role(node_bridges=[{"name": "bad", "addresses": ["198.51.100.1/24"]}])
    assert machine.returncode != 0
    assert "is that of host0" in " ".join(output.split())
    assert "bad" not in machine.run("ip -br link")


def test_numbers_for_users_that_an_account_has_are_refused_and_nothing_is_changed(machine: Machine) -> None:
    machine.run("useradd --uid 70005 --no-create-home somebody")
    try:
        before = machine.run(SURVEY)
        output = " ".join(machine.role(node_user_ids={"first": 70000, "count": 10}).split())
        assert machine.returncode != 0 and "have the numbers 70005, which are among" in output
        output = " ".join(machine.role(node_user_ids={"first": 1000, "count": 10}).split())
        assert machine.returncode != 0 and "has 10 numbers from 1000 on" in output
        assert machine.run(SURVEY) == before
    finally:
        machine.run("userdel somebody")


def test_an_instance_has_a_unit_that_may_write_nowhere_else(machine: Machine) -> None:
    machine.do("deploy", "tight", f"touch /etc/x; touch /var/lib/unikernel-fleet/x; ls /dev/kvm; {LIVES}")
    assert machine.units("unikernel-fleet-unix@tight:*") == ["unikernel-fleet-unix@tight:1.service"]
    console = "\n".join(machine.until("tight", alive=[1])["console"])
    assert "'/etc/x': Read-only file system" in console
    assert "'/var/lib/unikernel-fleet/x': Read-only file system" in console
    assert "cannot access '/dev/kvm'" in console


def test_nothing_of_a_release_that_ends_is_left_in_its_unit(machine: Machine) -> None:
    machine.do("deploy", "strays", "setsid env -i setsid sleep 4321 & exec sleep 1000")
    machine.do("deploy", "strays", LIVES)
    assert machine.units("unikernel-fleet-unix@strays:*") == ["unikernel-fleet-unix@strays:2.service"]
    assert machine.run("pgrep -f '[s]leep 4321' || echo none").split() == ["none"]


def test_an_instance_outlives_its_killed_waiter_and_is_stopped_all_the_same(machine: Machine) -> None:
    machine.do("deploy", "waiterless", LIVES)
    machine.run("kill -9 $(systemctl show -p MainPID --value unikernel-fleet-unix@waiterless:1)")
    shown = machine.until("waiterless", alive=[1])
    assert shown["phase"] == "stable" and [one for one in shown["drift"] if "its waiter was killed" in one]
    machine.do("deploy", "waiterless", f"{LIVES} ")
    machine.until("waiterless", alive=[2], drift=[])


ROOM = """
import sys
sys.path.insert(0, "/var/lib/unikernel-fleet/guard.pyz")
from pathlib import Path
from _fleet.layout import NodeLayout
from _fleet.runtime import units
from _fleet.runtime.systemd import SystemdSupervisor
root = Path("/srv/fleet")
print(units.slice_name(root), SystemdSupervisor(NodeLayout(root), "unix").room())
"""


def test_the_limit_of_a_slice_in_which_nothing_runs_yet_is_that_of_its_unit(machine: Machine) -> None:
    look = f"python3 -c {shlex.quote(ROOM)}"
    name, _unused, said = machine.run(look).strip().partition(" ")
    assert said.endswith("MiB are free"), said
    unit = f"/run/systemd/system/{name}"
    machine.run(f"printf '[Slice]\\nMemoryMax=40M\\nMemoryHigh=35M\\n' > {unit} && systemctl daemon-reload")
    try:
        assert machine.run(look).strip() == f"{name} 35 MiB are free (the control group {name} may use no more)"
    finally:
        machine.run(f"rm {unit} && systemctl daemon-reload")


def test_restarts_are_the_waiters_with_its_back_off(machine: Machine) -> None:
    machine.do("deploy", "flaps", "sleep 0.2; exit 1", "0", "50", "on_failure")
    give_up = time.monotonic() + 20
    while machine.do("show", "flaps")["restarts"].get("1", 0) < 2:
        assert time.monotonic() < give_up
        time.sleep(0.3)
    machine.do("deploy", "flaps", LIVES)


def test_a_killed_guard_is_started_again_and_takes_the_trial_up(machine: Machine) -> None:
    first = machine.do("deploy", "guarded", LIVES, "120")
    machine.until("guarded", verdict="pass")
    assert machine.do("confirm", "guarded", first)
    trial = machine.do("deploy", "guarded", f"{LIVES} ", "120")
    unit = f"unikernel-fleet-trial-guarded-{trial}"
    machine.until("guarded", verdict="pass", alive=[2])
    machine.run(f"kill -9 $(systemctl show -p MainPID --value {unit})")
    time.sleep(1.0)
    assert machine.run(f"systemctl show -p NRestarts --value {unit}").strip() == "1"
    machine.run("systemctl kill --signal=SIGKILL unikernel-fleet-unix@guarded:2")
    shown = machine.until("guarded", phase="stable", alive=[1])
    assert shown["ended"][0] == "rolled_back"


def test_two_sweeps_at_once_give_an_open_trial_one_guard_again(machine: Machine) -> None:
    trial = machine.do("deploy", "swept", LIVES, "120")
    unit = f"unikernel-fleet-trial-swept-{trial}.service"
    machine.run(f"systemctl stop {unit}")
    sweep = "python3 -I /var/lib/unikernel-fleet/guard.pyz --root /var/lib/unikernel-fleet sweep swept"
    machine.run(f"{sweep} & one=$!; {sweep} && wait $one")
    assert machine.units("unikernel-fleet-trial-swept-*") == [unit]
    machine.until("swept", verdict="pass")
    assert machine.do("confirm", "swept", trial)


SERVES = "exec python3 -m http.server 80"


def test_what_is_rehearsed_has_a_unit_of_its_own_and_then_none(machine: Machine) -> None:
    machine.do("rehearse", "alone", SERVES, "service", "192.0.2.77")
    shown = machine.until("alone", phase="on_trial", alive=[1])
    machine.do("confirm", "alone", machine.until("alone", verdict="pass", **{"trial": shown["trial"]})["trial"])
    machine.do("rehearse", "alone", "echo no configuration; exit 3", "service", "192.0.2.77")
    ended = machine.until("alone", phase="stable", alive=[1])["ended"]
    assert ended[0] == "refused" and "exited with status 3" in ended[1]
    assert machine.units("unikernel-fleet-unix@alone:*") == ["unikernel-fleet-unix@alone:1.service"]


def test_the_guard_ends_a_rehearsal_whose_module_was_killed(machine: Machine) -> None:
    words = " ".join(map(shlex.quote, ("python3", "-c", ON_NODE, "rehearse", "alone", LIVES, "service", "192.0.2.77")))
    rehearsal = "unikernel-fleet-unix@alone:rehearsal.service"
    there = f"systemctl is-active --quiet {rehearsal}"
    # All in one: it lasts ten seconds, and a busy machine takes some of them to let somebody in.
    machine.run(f"{words} >/dev/null 2>&1 & until {there}; do sleep 0.1; done; kill -KILL $!")
    shown = machine.until("alone", phase="stable", alive=[1])
    assert shown["ended"][0] == "refused" and "ended in the middle" in shown["ended"][1]
    assert rehearsal not in machine.units("unikernel-fleet-unix@alone:*")
    assert machine.run("ls /var/lib/unikernel-fleet/unikernels/alone /run/unikernel-fleet/*").count("rehearsal") == 0
    assert machine.run("ip -br link | grep -c '^ukq' || true").split() == ["0"]
    machine.do("remove", "alone")


def test_a_bridge_that_was_deleted_comes_with_the_role_and_its_unikernels_with_the_next_sweep(machine: Machine) -> None:
    ask = "python3 -c 'import urllib.request as r; r.urlopen(\"http://192.0.2.78/\", timeout=5)' 2>&1"
    sweep = "python3 -I /var/lib/unikernel-fleet/guard.pyz --root /var/lib/unikernel-fleet sweep bridged"
    machine.do("rehearse", "bridged", SERVES, "service", "192.0.2.78")
    machine.do("confirm", "bridged", machine.until("bridged", verdict="pass", alive=[1])["trial"])
    machine.run(ask)
    machine.run("ip link delete service")
    assert "the bridge service does not exist on this node" in machine.run(f"{sweep} || true")
    assert machine.do("show", "bridged")["alive"] == [1]
    assert changed(machine.role()) > 0
    machine.run(sweep)
    machine.run(ask)
    machine.do("remove", "bridged")


def test_after_a_power_loss_the_trial_is_reverted_and_all_start_in_their_order(machine: Machine) -> None:
    for name, order in (("late", "90"), ("early", "10"), ("between", "40")):
        machine.do("deploy", name, LIVES, "0", order)
    machine.do("deploy", "between", f"{LIVES} ", "600", "40")
    machine.power_loss()
    give_up = time.monotonic() + 30
    while "Finished" not in (
        log := machine.run("journalctl -b --no-pager -o cat -u unikernel-fleet-guard-boot.service")
    ):
        assert time.monotonic() < give_up, log
        time.sleep(0.3)
    order = [line.split(":")[0] for line in log.splitlines() if line.split(":")[0] in ("early", "between", "late")]
    assert order == ["early", "between", "late"]
    shown = machine.do("show", "between")
    assert shown["alive"] == [1]
    assert shown["ended"] == ["rolled_back", "the machine was booted before the trial was confirmed"]
    assert machine.do("show", "late")["alive"] == [1]
    assert "192.0.2.1/24" in machine.run("ip -br addr show dev service")
    assert machine.units("unikernel-fleet-guard-sweep.timer") == ["unikernel-fleet-guard-sweep.timer"]


def test_it_is_not_taken_away_while_there_are_unikernels_and_then_leaves_no_trace(machine: Machine) -> None:
    machine.do("deploy", "left", LIVES)
    output = machine.role(node_state="absent")
    assert machine.returncode != 0
    assert "This node still has unikernels" in output
    assert machine.units("unikernel-fleet-guard-sweep.timer") == ["unikernel-fleet-guard-sweep.timer"]
    machine.taken_away()
    assert changed(machine.role(node_state="absent", node_uninstall_force=True)) > 0
    assert machine.units("unikernel-fleet*") == []
    assert machine.run(SURVEY) == machine.before
    assert changed(machine.role(node_state="absent")) == 0


UBUNTU = """PRETTY_NAME="Ubuntu 24.04.1 LTS"
NAME="Ubuntu"
VERSION_ID="24.04"
VERSION="24.04.1 LTS (Noble Numbat)"
VERSION_CODENAME=noble
ID=ubuntu
ID_LIKE=debian
"""


def test_a_system_that_says_it_is_ubuntu_24_04_is_prepared_alike(machine: Machine) -> None:
    """What else Ubuntu has, another systemd and kernel, is not to be had here."""
    machine.role()
    machine.run(f"rm /etc/os-release; printf %s {shlex.quote(UBUNTU)} >/etc/os-release")
    try:
        assert changed(machine.role()) == 0
        output = machine.role("-e", '{"node_supported": {"Debian": ["12"]}}', "--check")
        assert "is Ubuntu 24.04; this role is made for" in " ".join(output.split())
    finally:
        machine.run("ln -sf ../usr/lib/os-release /etc/os-release")


def test_another_system_is_refused_with_what_to_do(machine: Machine) -> None:
    output = machine.role("-e", '{"node_supported": {"Debian": ["1"]}}', "--check")
    assert machine.returncode != 0
    assert "made for Debian 12 and 13 and Ubuntu 24.04" in " ".join(output.split())
