# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real ansible-playbook runs that are killed in the middle of a deployment, on a node without systemd: on this one, so
that what Ansible runs there dies with them."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Optional

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases import guard
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import Phase
from ansible_collections.unikernel.fleet.tests.support.killed_controller import (
    BEFORE_THE_VERDICT,
    MOMENTS,
    die_at,
    signal_all,
    wait_for,
)
from ansible_collections.unikernel.fleet.tests.support.local_fleet import NAME, LocalFleet, on_one_line
from ansible_collections.unikernel.fleet.tests.support.molecule import builds
from ansible_collections.unikernel.fleet.tests.support.real_node import LaterClock, within

pytestmark = [pytest.mark.controller]
TRIAL_S = 12.0
CANDIDATE = 2
ANSWERS = {"first deployment": (None, f"{NAME} 2 hello"), "update": (f"{NAME} 1 hello", f"{NAME} 2 hello")}
SHORT_FORM = {("update", "swapping"), ("update", "has a verdict")}


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[LocalFleet]:
    made = LocalFleet(tmp_path / "fleet")
    yield made
    assert made.end() == []


def killed(fleet: LocalFleet, scenario: str, moment: str, output: Path) -> None:
    """The scenario's change, and the death of who makes it."""
    if scenario == "update":
        fleet.deploy(1)
    layout = fleet.node.layout
    image = layout.image(sha256_of_build(CANDIDATE))
    run = fleet.begin(CANDIDATE, output, unikernel_trial_timeout=TRIAL_S, unikernel_deadline=8)
    try:
        die_at(run, moment, layout.unikernel(NAME) / "state.json", image, 90.0)
    except AssertionError as error:
        raise AssertionError(f"{error}: {on_one_line(output)}") from error


def sha256_of_build(version: int) -> str:
    return hashlib.sha256(builds.program(NAME, version, "good")).hexdigest()


def expected(fleet: LocalFleet, scenario: str, moment: str) -> tuple[Optional[str], ...]:
    """By what was written when nobody was left to write: after the commit point the new one, before it the old."""
    old, new = ANSWERS[scenario]
    if moment in BEFORE_THE_VERDICT:
        return (old,)
    return (new,) if moment == "confirmed" else (old, new)


def judged(fleet: LocalFleet, scenario: str, moment: str, record_property: Callable[[str, object], None]) -> None:
    lost = fleet.wrongs(expected(fleet, scenario, moment))
    wanted = 0 if fleet.state().current is None else 1
    images = {pid: line for pid, line in fleet.running().items() if ".pyz" not in line}
    guards = [line for line in fleet.running().values() if ".pyz" in line]
    leftovers = [*guards, *(list(images.values()) if (len(images) > 0) != (wanted > 0) else [])]
    record_property("cases", 1)
    record_property("lost", int(bool(lost)))
    record_property("leftovers", len(leftovers))
    assert (lost, leftovers) == ([], [])


@pytest.mark.parametrize(
    ("scenario", "moment"),
    [
        pytest.param(scenario, moment, marks=[] if (scenario, moment) in SHORT_FORM else [pytest.mark.long])
        for scenario in ANSWERS
        for moment in MOMENTS
    ],
)
def test_the_guard_ends_what_a_killed_playbook_began(
    fleet: LocalFleet, scenario: str, moment: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    killed(fleet, scenario, moment, tmp_path / "output")
    assert within(TRIAL_S + 20, lambda: fleet.state().phase is Phase.STABLE and not _guards(fleet))
    judged(fleet, scenario, moment, record_property)
    if moment == "swapping":
        fleet.deploy(CANDIDATE)
        assert fleet.wrongs([f"{NAME} 2 hello"]) == [], "nobody is in the way of the next run"


def test_a_controller_that_comes_back_after_the_deadline_confirms_nothing(fleet: LocalFleet, tmp_path: Path) -> None:
    """Stopped when it had the node's verdict before it, and going on when the node has given it up."""
    fleet.deploy(1)
    layout, output = fleet.node.layout, tmp_path / "output"
    image = layout.image(sha256_of_build(CANDIDATE))
    run = fleet.begin(CANDIDATE, output, unikernel_trial_timeout=TRIAL_S, unikernel_deadline=8)
    wait_for(run, "has a verdict", layout.unikernel(NAME) / "state.json", image, 90.0)
    signal_all(run, signal.SIGSTOP)
    given_up = within(TRIAL_S + 20, lambda: fleet.state().phase is Phase.STABLE)
    signal_all(run, signal.SIGCONT)
    assert (given_up, run.wait(90)) == (True, 2), on_one_line(output)
    said = on_one_line(output)
    assert f"nobody confirmed it within {TRIAL_S:g} s" in said and "The old release lives." in said, said
    assert fleet.wrongs([f"{NAME} 1 hello"]) == []


@pytest.mark.long
@pytest.mark.parametrize("moment", ["swapping", "on trial"])
def test_one_sweep_ends_what_a_killed_playbook_and_a_killed_guard_left(
    fleet: LocalFleet, moment: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    killed(fleet, "update", moment, tmp_path / "output")
    for pid in _guards(fleet):
        os.kill(pid, signal.SIGKILL)
    guard.sweep(replace(fleet.node, clock=LaterClock(60.0)), NAME)
    judged(fleet, "update", moment, record_property)


def _guards(fleet: LocalFleet) -> list[int]:
    return [pid for pid, line in fleet.running().items() if ".pyz" in line]
