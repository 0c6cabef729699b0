# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changes that are rehearsed first, with a real journal and a simulated machine; and how a rehearsal is judged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

import pytest
from hypothesis import given, strategies as st

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.declaration import checks_from
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.model import (
    CheckResult,
    Outcome,
    Schedule,
    Verdict,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import (
    DriverError,
    Held,
    ReleaseRefused,
    TrialRefused,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import Exit, Instance
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases import guard
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.rehearsal import Inconclusive, judged
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.report import report
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import Phase, State
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import (
    Change,
    TrialOptions,
    locked,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.waiting import Standing, standing
from ansible_collections.unikernel.fleet.tests.support.fleet_node import ME, FleetNode, no_waiting_for_disks
from ansible_collections.unikernel.fleet.tests.support.trials import AT_ONCE, armed

__all__ = ["no_waiting_for_disks"]
NAME = "www"
REHEARSED = TrialOptions(
    timeout_s=60.0,
    rehearse=True,
    checks=checks_from([{"process": {}}, {"console": {"must_match": "well", "must_not_match": "panic"}}], None),
    schedule=Schedule(deadline_s=0.3, stable_for_s=0.0, consecutive=1, delays_s=(0.01,), interval_s=0.01),
)


@pytest.fixture
def fleet(tmp_path: Path) -> FleetNode:
    return FleetNode(tmp_path)


def declare(fleet: FleetNode, content: Optional[str], options: TrialOptions = AT_ONCE, **rest: Any) -> Change:
    declared = fleet.declaration(content, **rest)
    with locked(fleet.node(), NAME, ME, 0.0) as transaction:
        return transaction.declare(declared, options, armed)


def state_of(fleet: FleetNode) -> State:
    return fleet.node().journal(NAME).read()


def events_of(fleet: FleetNode) -> list[str]:
    return [json.loads(line)["what"] for line in fleet.layout.history(NAME).read_text(encoding="utf-8").splitlines()]


def nothing_is_left(fleet: FleetNode) -> bool:
    return not fleet.machine.rehearsing and not fleet.layout.rehearsal(NAME).exists()


def test_what_passes_its_rehearsal_is_swapped_in_and_put_on_trial(fleet: FleetNode) -> None:
    declare(fleet, "one")
    change = declare(fleet, "two", REHEARSED)
    state = state_of(fleet)
    assert (change.changed, state.phase, fleet.running(NAME)) == (True, Phase.ON_TRIAL, "two")
    assert state.trial is not None and state.trial.rehearsal is not None
    assert state.trial.rehearsal.outcome is Outcome.PASS and state.trial.verdict is None
    assert events_of(fleet)[-3:] == ["rehearsing", "rehearsed", "begun"] and nothing_is_left(fleet)
    assert len(fleet.machine.rehearsed) == 1


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("says", "the console has 'panic'"),
        ("crashing", "it ended: exited with status 2"),
        ("broken", "it could not be started: it is broken"),
    ],
)
def test_a_broken_build_is_never_swapped_in_and_is_held(fleet: FleetNode, trouble: str, reason: str) -> None:
    declare(fleet, "one")
    before = fleet.machine.of(NAME)[1].identity
    sha256 = fleet.image("two").sha256
    if trouble == "says":
        fleet.machine.says[sha256] = "panic\nall is well"
    else:
        getattr(fleet.machine, trouble).add(sha256)
    change = declare(fleet, "two", REHEARSED)
    state = state_of(fleet)
    assert (state.phase, fleet.running(NAME), fleet.machine.of(NAME)[1].identity) == (Phase.STABLE, "one", before)
    assert 2 not in fleet.machine.of(NAME), "no instance of it was ever made"
    assert change.trial is not None and state.ended is not None and state.ended.trial == change.trial
    assert state.ended.outcome == "refused" and state.ended.reason.startswith("its rehearsal failed, so nothing was")
    assert reason in state.ended.reason
    shown = json.loads(Path(str(state.ended.evidence), "report.json").read_text(encoding="utf-8"))
    assert reason in shown["reason"] and shown["verdict"]["outcome"] == "fail"
    if trouble == "says":
        assert Path(str(state.ended.evidence), "console.txt").read_text(encoding="utf-8") == "panic\nall is well\n"
    assert standing(state, change.trial).standing is Standing.REFUSED
    assert events_of(fleet)[-2:] == ["rehearsing", "refused"] and nothing_is_left(fleet)
    with pytest.raises(Held, match="its rehearsal failed"):
        declare(fleet, "two", REHEARSED)
    assert report(fleet.node(), NAME)["held"][0]["reason"] == state.ended.reason


def test_a_first_deployment_that_fails_its_rehearsal_leaves_nothing(fleet: FleetNode) -> None:
    fleet.machine.crashing.add(fleet.image("two").sha256)
    declare(fleet, "two", REHEARSED)
    state = state_of(fleet)
    assert (state.phase, state.current, fleet.running(NAME)) == (Phase.STABLE, None, None)
    assert state.ended is not None and state.ended.outcome == "refused" and nothing_is_left(fleet)


def test_what_lives_and_says_nothing_is_refused_and_not_held(fleet: FleetNode) -> None:
    declare(fleet, "one")
    fleet.machine.says[fleet.image("two").sha256] = "waiting for its configuration"
    declare(fleet, "two", REHEARSED)
    state = state_of(fleet)
    assert state.ended is not None and "rehearse_inconclusive: proceed" in state.ended.reason
    assert "waiting for its configuration" in state.ended.reason
    assert (fleet.running(NAME), state.held) == ("one", ())
    declare(fleet, "two", replace(REHEARSED, when_inconclusive=Inconclusive.PROCEED))
    state = state_of(fleet)
    assert (fleet.running(NAME), state.phase) == ("two", Phase.ON_TRIAL)
    assert state.trial is not None and state.trial.rehearsal is not None
    assert state.trial.rehearsal.outcome is Outcome.INCONCLUSIVE


def test_a_broken_build_does_not_proceed_where_an_inconclusive_one_would(fleet: FleetNode) -> None:
    declare(fleet, "one")
    fleet.machine.crashing.add(fleet.image("two").sha256)
    declare(fleet, "two", replace(REHEARSED, when_inconclusive=Inconclusive.PROCEED))
    assert fleet.running(NAME) == "one"


def test_what_cannot_be_rehearsed_is_refused_before_anything_is_done(fleet: FleetNode) -> None:
    declare(fleet, "one")
    before = fleet.layout.state(NAME).read_bytes()
    with pytest.raises(ReleaseRefused, match=r"cannot be rehearsed.*nothing to rehearse with.*Nothing was stopped"):
        declare(fleet, "two", REHEARSED, working_directory="/alone")
    assert fleet.layout.state(NAME).read_bytes() == before and fleet.running(NAME) == "one"


def test_a_node_that_has_no_room_for_it_is_not_its_fault(fleet: FleetNode) -> None:
    declare(fleet, "one")
    with pytest.raises(DriverError, match=r"could not be rehearsed: no bridge could be made.*left running"):
        declare(fleet, "two", REHEARSED, working_directory="/no-room")
    state = state_of(fleet)
    assert (state.phase, state.held, fleet.running(NAME)) == (Phase.STABLE, (), "one") and nothing_is_left(fleet)


@pytest.mark.parametrize("wanted", ["stopped", "absent"])
def test_what_is_not_to_run_is_not_rehearsed(fleet: FleetNode, wanted: str) -> None:
    declare(fleet, "one")
    declare(fleet, None, replace(REHEARSED, timeout_s=0.0), wanted=wanted)
    assert fleet.running(NAME) is None and not fleet.machine.rehearsed


def test_a_refused_trial_can_be_neither_confirmed_nor_rolled_back(fleet: FleetNode) -> None:
    declare(fleet, "one")
    fleet.machine.crashing.add(fleet.image("two").sha256)
    trial = str(declare(fleet, "two", REHEARSED).trial)
    with locked(fleet.node(), NAME, ME) as transaction:
        with pytest.raises(TrialRefused, match="it was refused"):
            transaction.confirm(trial)
        assert not transaction.roll_back(trial, "by hand", False), "there is nothing to go back from"
    assert fleet.running(NAME) == "one"


def test_what_a_lost_state_leaves_is_removed_by_whoever_comes_next(fleet: FleetNode) -> None:
    declare(fleet, "one")
    fleet.layout.rehearsal(NAME).mkdir()
    fleet.machine.rehearsing[NAME] = Instance(NAME, 7, True, "stray")
    guard.sweep(fleet.node(), NAME)
    assert nothing_is_left(fleet) and fleet.running(NAME) == "one"


def test_secrets_do_not_leave_with_a_rehearsals_console(fleet: FleetNode) -> None:
    fleet.machine.says[fleet.image("two").sha256] = "panic: --key=hunter2"
    declare(fleet, "two", REHEARSED, secret_arguments=["--key=hunter2"])
    evidence = Path(str(state_of(fleet).ended.evidence))  # type: ignore[union-attr]
    for file in evidence.iterdir():
        assert "hunter2" not in file.read_text(encoding="utf-8"), file
    assert "hunter2" not in fleet.layout.history(NAME).read_text(encoding="utf-8")


# --- how it is judged -----------------------------------------------------------------------------------

LIVES = Instance(NAME, 2, True, "it")
GONE = Instance(NAME, 2, False, "it", exit=Exit(status=1, meaning="exited with status 1"))
LOST = replace(LIVES, unreachable="its guest panicked")


def result(name: str, outcome: Outcome, answered: bool, required: bool = True) -> CheckResult:
    return CheckResult(name, "http", required, outcome, answered=answered)


PASSING, SILENT = result("web", Outcome.PASS, True), result("dns", Outcome.FAIL, False)
WRONG, HINDERED = result("api", Outcome.FAIL, True), result("far", Outcome.INCONCLUSIVE, False)


@pytest.mark.parametrize(
    ("results", "instance", "expected"),
    [
        ((PASSING, SILENT), LIVES, Outcome.INCONCLUSIVE),
        ((SILENT, HINDERED), LIVES, Outcome.INCONCLUSIVE),
        ((SILENT, WRONG), LIVES, Outcome.FAIL),
        ((PASSING, replace(SILENT, required=False)), LIVES, Outcome.FAIL),  # too late, or not stable
        ((SILENT, replace(WRONG, required=False)), LIVES, Outcome.INCONCLUSIVE),
        ((SILENT,), GONE, Outcome.FAIL),
        ((SILENT,), LOST, Outcome.FAIL),
        ((SILENT,), None, Outcome.FAIL),
    ],
)
def test_only_silence_of_what_lives_is_inconclusive(
    results: tuple[CheckResult, ...], instance: Optional[Instance], expected: Outcome
) -> None:
    assert judged(Verdict(Outcome.FAIL, "not alive", results=results), instance).outcome is expected


@given(
    st.lists(
        st.builds(result, st.text(max_size=3), st.sampled_from(Outcome), st.booleans(), st.booleans()), max_size=4
    ),
    st.sampled_from([LIVES, GONE, LOST, None]),
    st.sampled_from(Outcome),
)
def test_a_rehearsal_passes_exactly_when_its_checks_do_and_an_end_is_never_excused(
    results: list[CheckResult], instance: Optional[Instance], outcome: Outcome
) -> None:
    seen = judged(Verdict(outcome, "seen", results=tuple(results)), instance)
    assert (seen.outcome is Outcome.PASS) == (outcome is Outcome.PASS)
    if outcome is not Outcome.PASS and (instance is None or not instance.works):
        assert seen.outcome is Outcome.FAIL
    if seen.outcome is Outcome.INCONCLUSIVE:
        missed = [r for r in results if r.required and r.outcome is not Outcome.PASS]
        assert missed and not any(r.answered for r in missed)
