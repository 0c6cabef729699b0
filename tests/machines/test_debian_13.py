# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Role node on Debian 13, as its installer leaves it: what the role needs is installed by apt itself, from a repository
on the machine's own disk. Then a unikernel's life there, and the machine as it was before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.unikernel.fleet.tests.support.nspawn.base import DEBIAN_13, ROLE_PACKAGES, why_not
from ansible_collections.unikernel.fleet.tests.support.nspawn.bed import create
from ansible_collections.unikernel.fleet.tests.support.nspawn.deployed import NAME, Fleet
from ansible_collections.unikernel.fleet.tests.support.nspawn.guests import ADDRESS as GUESTS_ADDRESS, guests_of
from ansible_collections.unikernel.fleet.tests.support.nspawn.machine import SURVEY, Machine, changed
from ansible_collections.unikernel.fleet.tests.support.virtual_machine import guest

pytestmark = [pytest.mark.systemd, pytest.mark.long]
DRIVERS = {"node_drivers": ["unix", "solo5", "qemu"]}


@pytest.fixture(scope="module")
def bare() -> Iterator[Machine]:
    reason = why_not()
    if reason is not None:
        pytest.skip(f"no machine with systemd can be booted here: {reason}")
    with create(1, DEBIAN_13) as bed:
        yield Machine(bed)


def installed(machine: Machine) -> set[str]:
    listed = machine.run("dpkg-query --show --showformat='${db:Status-Status} ${Package}\\n'")
    return {line.split()[1] for line in listed.splitlines() if line.startswith("installed ")}


def test_a_life_on_debian_13(bare: Machine, tmp_path: Path) -> None:
    assert 'VERSION_ID="13"' in bare.run("cat /etc/os-release")
    assert installed(bare).isdisjoint(ROLE_PACKAGES)
    foreseen = bare.role("--check", "--diff", **DRIVERS)
    assert changed(foreseen) > 0 and "qemu-system-x86" in foreseen
    assert bare.run(SURVEY) == bare.before

    assert changed(bare.role(**DRIVERS)) > 0
    assert {"iproute2", "qemu-system-x86", "qemu-utils"} <= installed(bare)
    assert changed(bare.role(**DRIVERS)) == 0

    fleet = Fleet(bare, tmp_path)
    fleet.deploy(1)
    assert fleet.answers(f"{NAME} 1")
    fleet.deploy(2)
    assert fleet.answers(f"{NAME} 2")
    assert bare.units(f"unikernel-fleet-unix@{NAME}:*") == [f"unikernel-fleet-unix@{NAME}:2.service"]

    runs_a_virtual_machine(bare)

    trial = bare.do("deploy", "other", "exec sleep 1000", "600")
    assert trial
    bare.power_loss()
    assert fleet.answers(f"{NAME} 2"), "the guard starts it at boot, on a bridge that was made again"
    shown = bare.until("other", phase="stable", alive=[])
    assert shown["ended"] == ["rolled_back", "the machine was booted before the trial was confirmed"]

    output = bare.role(node_state="absent", **DRIVERS)
    assert bare.returncode != 0 and "This node still has unikernels" in output
    bare.do("remove", NAME, "other")
    assert changed(bare.role(node_state="absent", **DRIVERS)) > 0
    assert bare.run(SURVEY) == bare.before
    assert changed(bare.role(node_state="absent", **DRIVERS)) == 0


def runs_a_virtual_machine(bare: Machine) -> None:
    """Under the QEMU that apt has brought."""
    if guest.why_not() is not None:
        return
    with guests_of(bare) as guests:
        guests.bring(guest.guest_files())
        trial = guests.do("machine", "vm", GUESTS_ADDRESS, "works", "1")
        guests.until("vm", verdict="pass", working=[1])
        assert guests.answer() == "guest 1"
        assert bare.units("unikernel-fleet-qemu@vm:*") == ["unikernel-fleet-qemu@vm:1.service"]
        assert guests.do("confirm", "vm", trial)
        guests.do("remove", "vm")
