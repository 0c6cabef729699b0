# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real ansible-playbook runs over SSH that are killed in the middle of a deployment: what runs on the node at that
moment goes on alone, and its guard ends it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.tests.support.killed_controller import (
    BEFORE_THE_VERDICT,
    MOMENTS,
    die_at,
)
from ansible_collections.unikernel.fleet.tests.support.nspawn.deployed import NAME, Fleet
from ansible_collections.unikernel.fleet.tests.support.nspawn.machine import Machine

pytestmark = [pytest.mark.systemd]
TRIAL_S = 15.0
SCENARIOS = {"first deployment": (None, 2), "update": (1, 2)}
SHORT_FORM = {("update", "swapping"), ("update", "has a verdict")}


@pytest.fixture
def fleet(machine: Machine, tmp_path: Path) -> Iterator[Fleet]:
    yield Fleet(machine, tmp_path)
    machine.do("remove", NAME)
    machine.run("rm -f /var/lib/unikernel-fleet/images/*")


@pytest.mark.parametrize(
    ("scenario", "moment"),
    [
        pytest.param(scenario, moment, marks=[] if (scenario, moment) in SHORT_FORM else [pytest.mark.long])
        for scenario in SCENARIOS
        for moment in MOMENTS
    ],
)
def test_the_node_ends_alone_what_a_killed_playbook_began(
    fleet: Fleet, scenario: str, moment: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    old, new = SCENARIOS[scenario]
    if old is not None:
        fleet.deploy(old)
    output = tmp_path / "output"
    run = fleet.begin(new, output, unikernel_trial_timeout=TRIAL_S)
    try:
        die_at(run, moment, fleet.journal, fleet.image(new), 120.0)
    except AssertionError as error:
        raise AssertionError(f"{error}: {output.read_text(encoding='utf-8')}") from error
    expected = [old] if moment in BEFORE_THE_VERDICT else [new] if moment == "confirmed" else [old, new]
    shown = at_rest(fleet)
    lost = [] if shown["phase"] == "stable" else [f"it is {shown['phase']}"]
    current = shown["current"]
    confirmed = moment not in BEFORE_THE_VERDICT and shown["ended"][0] == "confirmed"
    version = new if confirmed else old
    if version not in expected or not fleet.answers(None if version is None else f"{NAME} {version}"):
        lost.append(f"{fleet.answer()!r} answers, and {shown} is written")
    if shown["alive"] != ([] if current is None else [current]):
        lost.append(f"{shown['alive']} live instead of {current}")
    units = fleet.machine.units(f"unikernel-fleet-unix@{NAME}:*") + fleet.machine.units("unikernel-fleet-trial-*")
    wanted = [] if current is None else [f"unikernel-fleet-unix@{NAME}:{current}.service"]
    left = [] if units == wanted else [f"the units {units}"]
    left += [] if len(fleet.links()) == len(wanted) else [f"the interfaces {fleet.links()}"]
    record_property("cases", 1)
    record_property("lost", int(bool(lost)))
    record_property("leftovers", len(left))
    assert (lost, left) == ([], [])


def at_rest(fleet: Fleet) -> dict[str, Any]:
    """As the node leaves it: at the end of the trial, with whatever its guard has to do after it."""
    give_up = time.monotonic() + TRIAL_S + 30.0
    while True:
        shown: dict[str, Any] = fleet.machine.do("show", NAME)
        guards = fleet.machine.units(f"unikernel-fleet-trial-{NAME}-*")
        if (shown["phase"] == "stable" and not guards) or time.monotonic() > give_up:
            return shown
        time.sleep(0.5)
