# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every fault at the steps of every kind of change, on a machine with systemd, bridges and network namespaces.

In the short form some steps of each, other ones for each fault; in the long form every one. One power cut, or one
death of the controller, meets a change of many unikernels at once, each at another step.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.tests.support.nspawn.machine import COLLECTION, Machine
from ansible_collections.unikernel.fleet.tests.support.virtual_machine import guest

pytestmark = [pytest.mark.systemd]

SCENARIOS = ("deployment", "update", "reconfigure", "rollback")
FAULTS = ("error", "module", "guard", "controller", "power")
SHORT = os.environ.get("FLEET_FORM") == "short"
ON_NODE = COLLECTION / "tests" / "support" / "faults_on_node.py"
PATIENCE_S = 900.0
LEAST = 4
"""Cases of each change, and so its steps too: where it has few of them, fewer are left out."""


class Matrix:
    """The cases of one driver on a node."""

    def __init__(self, machine: Machine, driver: str) -> None:
        self.machine = machine
        self.driver = driver
        machine.bring(ON_NODE, "/root/faults_on_node.py")

    def words(self, *words: str) -> str:
        return " ".join(("python3 /root/faults_on_node.py", self.driver, *words))

    def ask(self, *words: str) -> Any:
        return self.machine.run(self.words(*words), PATIENCE_S).splitlines()[-1]

    def cases(self, fault: str, scenarios: Sequence[str], every: int) -> list[str]:
        """Each change is made once as a whole, to know how many steps it has."""
        cases: list[str] = []
        for scenario in scenarios:
            command = self.words("steps", fault, scenario, str(len(cases)))
            said = self.machine.run(f"{command}; test $? = 18", PATIENCE_S)
            steps = int(said.split()[-1])
            assert steps >= LEAST
            stride = min(every, steps // LEAST)
            first = FAULTS.index(fault) % stride
            index = len(cases) + 1
            cases += [f"{fault}:{scenario}:{step}:{index + at}" for at, step in enumerate(range(first, steps, stride))]
            cases += [""]  # the index of the one that counted
        return [case for case in cases if case]

    def broken(self, fault: str, cases: Sequence[str]) -> None:
        """Make the changes, and have the fault happen to each at its step."""
        command = self.words("break", *cases)
        if fault not in ("controller", "power"):
            self.machine.run(command, PATIENCE_S)
            return
        # This ssh is the controller: it holds the other end of what the changes on the node are told by.
        with subprocess.Popen(
            self.machine.command(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as controller:
            assert controller.stdout is not None
            assert controller.stdout.readline().strip() == "waiting"
            if fault == "power":
                self.machine.bed.cut_power("n1")
            controller.kill()
        if fault == "power":
            self.machine.bed.boot("n1")
            boot = "systemctl is-active unikernel-fleet-guard-boot.service"
            self.machine.run(f"until [ $({boot}) != activating ]; do sleep 0.2; done", PATIENCE_S)

    def judged(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.ask("judge"))
        return found


def survives(matrix: Matrix, fault: str, scenarios: Sequence[str], every: int, record: Callable[..., None]) -> None:
    cases = matrix.cases(fault, scenarios, every)
    matrix.broken(fault, cases)
    judged = matrix.judged()
    left = json.loads(matrix.ask("remove"))
    record("cases", len(judged))
    record("lost", sum(bool(case["lost"]) for case in judged))
    record("leftovers", sum(bool(case["leftovers"]) for case in judged) + len(left))
    assert len(judged) >= len(cases) >= LEAST
    wrong = [json.dumps(case) for case in judged if case["lost"] or case["leftovers"]]
    assert not wrong, "\n".join(wrong)
    assert left == []


@pytest.mark.parametrize("fault", FAULTS)
def test_on_a_machine_exactly_the_old_or_the_new_release_answers_afterwards(
    machine: Machine, fault: str, record_property: Callable[[str, object], None]
) -> None:
    survives(Matrix(machine, "unix"), fault, SCENARIOS, 5 if SHORT else 1, record_property)


@pytest.mark.long
@pytest.mark.parametrize("scenario", SCENARIOS)  # emulated, more of them than these few cases would starve each other
@pytest.mark.parametrize("fault", FAULTS)
def test_of_virtual_machines_exactly_the_old_or_the_new_release_answers_afterwards(
    machine: Machine, fault: str, scenario: str, record_property: Callable[[str, object], None]
) -> None:
    reason = guest.why_not()
    if reason is not None:
        pytest.skip(reason)
    files = guest.guest_files()
    for file, place in ((files.kernel, "/root/guest-kernel"), (files.initrd, "/root/guest-initrd")):
        machine.bring(Path(file), place)
    survives(Matrix(machine, "qemu"), fault, [scenario], 4, record_property)
