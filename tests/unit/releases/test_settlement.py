# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Properties of the one function that decides, over every phase, whatever runs and whatever the clock says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Optional

import pytest
from hypothesis import assume, given, strategies as st

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.model import Outcome, Verdict
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import (
    Configuration,
    Exit,
    Image,
    Instance,
    Release,
    RestartPolicy,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases import steps
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.holds import hold_on
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.settlement import (
    MOST_FAILED_REVERTS,
    Action,
    BeginRevert,
    EndRehearsal,
    FinishConfirm,
    FinishRevert,
    Now,
    RestoreOrigin,
    StartCurrent,
    StopStray,
    Strand,
    settle,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import (
    Holder,
    Phase,
    State,
    Trial,
)
from ansible_collections.unikernel.fleet.tests.support.trials import FAILED, PASSED

ORIGIN, CANDIDATE, STRANGER = 1, 2, 9
BOOT, OTHER_BOOT = "boot-1", "boot-2"
DEADLINE_S = 100.0


def release(number: int, running: bool = True) -> Release:
    return Release(number, Image(f"{number:064x}", 10), Configuration(), running)


class SimulatedNode:
    """Instances by release number, and whether the origin can be started."""

    def __init__(self, instances: Sequence[Instance], now: Now, origin_starts: bool = True) -> None:
        self.instances = {instance.release: instance for instance in instances}
        self.now = now
        self.origin_starts = origin_starts

    def alive(self) -> set[int]:
        return {number for number, instance in self.instances.items() if instance.alive}

    def run_only(self, wanted: Optional[Release]) -> None:
        for number in self.alive():
            if wanted is None or not wanted.running or number != wanted.number:
                self.instances[number] = replace(self.instances[number], alive=False)
        if wanted is None or not wanted.running:
            return
        present = self.instances.get(wanted.number)
        if present is not None and present.works:
            self.instances[wanted.number] = replace(present, serving=True)
        else:
            self.instances[wanted.number] = Instance("www", wanted.number, True, identity="fresh")

    def carry_out(self, state: State, actions: Sequence[Action]) -> State:
        for action in actions:
            if isinstance(action, BeginRevert):
                state = steps.reverting(state, action.reason, action.blame)
            elif isinstance(action, RestoreOrigin):
                if not self.origin_starts and state.current is not None and state.current.running:
                    return steps.revert_failed(state, "it does not start")
                self.run_only(state.current)
            elif isinstance(action, FinishRevert):
                state = steps.reverted(state, "now", self.now.boot_id, None)
            elif isinstance(action, Strand):
                state = steps.stranded(state, "now", None)
            elif isinstance(action, FinishConfirm):
                state = steps.confirmed(state, "now")
            elif isinstance(action, EndRehearsal):
                state = steps.refused(state, "now", action.reason)
            elif isinstance(action, StopStray):
                self.instances[action.release] = replace(self.instances[action.release], alive=False)
            elif isinstance(action, StartCurrent):
                self.run_only(state.current)
                state = steps.restarted(state, self.now.boot_id)
        return state

    def settled(self, state: State) -> State:
        for _unused in range(MOST_FAILED_REVERTS + 4):
            actions = settle(state, tuple(self.instances.values()), self.now)
            if not actions:
                return state
            state = self.carry_out(state, actions)
        raise AssertionError(f"it does not come to rest: {state.phase}")


@st.composite
def states(draw: st.DrawFn, phases: Sequence[Phase] = tuple(Phase)) -> State:
    phase = draw(st.sampled_from(list(phases)))
    origin = draw(st.sampled_from([None, release(ORIGIN), release(ORIGIN, running=False)]))
    state = State(
        "www",
        "5a",
        current=origin,
        next_number=3,
        started_boot_id=draw(st.sampled_from([None, BOOT, OTHER_BOOT])),
    )
    if phase is Phase.STABLE:
        return state
    candidate = draw(st.sampled_from([None, release(CANDIDATE), release(CANDIDATE, running=False)]))
    verdict = draw(st.none() | st.sampled_from([Verdict(outcome, "seen") for outcome in Outcome]))
    trial = Trial(
        "t1",
        candidate,
        Holder(),
        "then",
        draw(st.sampled_from([BOOT, OTHER_BOOT])),
        60.0,
        deadline_s=None if phase is Phase.SWAPPING else draw(st.sampled_from([None, DEADLINE_S])),
        instance=draw(st.sampled_from([None, "first"])),
        verdict=verdict,
        blame=draw(st.booleans()),
        hold_origin=draw(st.booleans()),
    )
    failed = draw(st.integers(0, MOST_FAILED_REVERTS)) if phase is Phase.REVERTING else 0
    return replace(state, phase=phase, trial=trial, failed_reverts=failed)


@st.composite
def sightings(draw: st.DrawFn) -> tuple[Instance, ...]:
    found = []
    for number in draw(st.sets(st.sampled_from([ORIGIN, CANDIDATE, STRANGER]))):
        alive = draw(st.booleans())
        end = None if alive else Exit(status=1, meaning="exited with status 1")
        identity = draw(st.sampled_from(["first", "second"]))
        serving = alive and draw(st.booleans())
        unreachable = draw(st.sampled_from([None, "its tap was deleted"])) if alive else None
        found.append(Instance("www", number, alive, identity, exit=end, serving=serving, unreachable=unreachable))
    return tuple(found)


NOWS = st.builds(
    Now, st.sampled_from([1.0, DEADLINE_S - 0.001, DEADLINE_S, DEADLINE_S + 1e6]), st.sampled_from([BOOT, OTHER_BOOT])
)


def expected_to_run(release: Optional[Release]) -> set[int]:
    return {release.number} if release is not None and release.running else set()


@given(states(), sightings(), NOWS, st.booleans())
def test_it_comes_to_rest_whatever_is_found(
    state: State, found: tuple[Instance, ...], now: Now, origin_starts: bool
) -> None:
    after = SimulatedNode(found, now, origin_starts).settled(state)
    assert after.phase in (Phase.STABLE, Phase.ON_TRIAL, Phase.STRANDED)


@given(states(), sightings(), NOWS, st.booleans())
def test_settling_twice_is_settling_once(
    state: State, found: tuple[Instance, ...], now: Now, origin_starts: bool
) -> None:
    node = SimulatedNode(found, now, origin_starts)
    after = node.settled(state)
    assert settle(after, tuple(node.instances.values()), now) == ()


@given(states([Phase.SWAPPING, Phase.REVERTING]), sightings(), NOWS)
def test_before_the_commit_point_an_interrupted_change_goes_back(
    state: State, found: tuple[Instance, ...], now: Now
) -> None:
    assume(state.failed_reverts < MOST_FAILED_REVERTS)
    node = SimulatedNode(found, now)
    after = node.settled(state)
    assert (after.phase, after.current) == (Phase.STABLE, state.current)
    assert node.alive() == expected_to_run(state.current)
    assert after.ended is not None and after.ended.outcome == "rolled_back"


@given(states([Phase.REHEARSING]), sightings(), NOWS)
def test_an_interrupted_rehearsal_leaves_the_old_release_and_blames_nobody(
    state: State, found: tuple[Instance, ...], now: Now
) -> None:
    node = SimulatedNode(found, now)
    after = node.settled(state)
    assert (after.phase, after.current, after.held) == (Phase.STABLE, state.current, ())
    assert node.alive() <= expected_to_run(state.current)
    assert after.ended is not None and after.ended.outcome == "refused"


@given(states([Phase.CONFIRMING]), sightings(), NOWS)
def test_from_the_commit_point_on_an_interrupted_change_goes_forward(
    state: State, found: tuple[Instance, ...], now: Now
) -> None:
    trial = state.trial
    assert trial is not None
    node = SimulatedNode(found, now)
    after = node.settled(state)
    assert (after.phase, after.current) == (Phase.STABLE, trial.candidate)
    # One that ended by itself under the boot that it was confirmed in is its restart policy's business.
    assert node.alive() <= expected_to_run(trial.candidate)
    if now.boot_id != trial.boot_id:
        assert node.alive() == expected_to_run(trial.candidate)


@given(states([Phase.ON_TRIAL]), sightings(), NOWS)
def test_a_trial_ends_with_the_old_release_or_goes_on_untouched(
    state: State, found: tuple[Instance, ...], now: Now
) -> None:
    node = SimulatedNode(found, now)
    after = node.settled(state)
    if after.phase is Phase.ON_TRIAL:
        assert after == state
        assert tuple(node.instances.values()) == found
    else:
        assert (after.phase, after.current) == (Phase.STABLE, state.current)
        assert node.alive() == expected_to_run(state.current)


WELL = Instance("www", CANDIDATE, True, "first")
NOT_TO_BLAME = {
    "off its bridge": replace(WELL, serving=False),
    "its bridge is down": replace(WELL, cut_off="the bridge is down"),
    "its port was deleted": replace(WELL, serving=False, unreachable="it was deleted", cut_off="it was deleted"),
    "off a bridge that is down": replace(WELL, serving=False, cut_off="the bridge is down"),
}
TO_BLAME = {
    "it fails": WELL,
    "it hangs": replace(WELL, unreachable="it spins"),
    "it hangs off its bridge": replace(WELL, serving=False, unreachable="it spins"),
    "it was changed": replace(WELL, altered="somebody did"),
    "it ended": replace(WELL, alive=False, serving=False, exit=Exit(status=1)),
}


@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.INCONCLUSIVE])
@pytest.mark.parametrize("found", [*NOT_TO_BLAME, *TO_BLAME])
def test_a_bad_verdict_blames_the_build_unless_its_network_was_taken_from_it(found: str, outcome: Outcome) -> None:
    trial = Trial("t1", release(CANDIDATE), Holder(), "then", BOOT, 60.0, deadline_s=DEADLINE_S, instance="first")
    state = State("www", "5a", current=release(ORIGIN), phase=Phase.ON_TRIAL, trial=trial, started_boot_id=BOOT)
    judged = replace(state, trial=replace(trial, verdict=Verdict(outcome, "Nobody answers.")))
    instance = {**NOT_TO_BLAME, **TO_BLAME}[found]
    begun = settle(judged, (instance,), Now(1.0, BOOT))[0]
    assert isinstance(begun, BeginRevert) and begun.blame == (found in TO_BLAME)
    assert begun.reason.startswith("Nobody answers.")
    after = SimulatedNode((instance,), Now(1.0, BOOT)).settled(judged)
    assert [hold.trial for hold in after.held] == (["t1"] if found in TO_BLAME else [])
    # And it does not need the verdict to be gone back from.
    unjudged = settle(state, (instance,), Now(1.0, BOOT))
    if found not in ("it fails", "its bridge is down"):
        assert isinstance(unjudged[0], BeginRevert) and unjudged[0].blame == (found in TO_BLAME)
    else:
        assert unjudged == ()


@given(states([Phase.ON_TRIAL]), sightings(), NOWS)
def test_a_trial_goes_on_only_in_its_boot_in_its_time_with_its_process_and_without_a_bad_verdict(
    state: State, found: tuple[Instance, ...], now: Now
) -> None:
    trial = state.trial
    assert trial is not None
    alive = {i.release: i.identity for i in found if i.works}
    must_run = trial.candidate is not None and trial.candidate.running
    in_order = (
        trial.boot_id == now.boot_id
        and trial.deadline_s is not None
        and now.boottime_s < trial.deadline_s
        and (trial.verdict is None or trial.verdict.outcome is Outcome.PASS)
        and (not must_run or (CANDIDATE in alive and trial.instance in (None, alive[CANDIDATE])))
    )
    assert (settle(state, found, now) == ()) == in_order


@given(states([Phase.STABLE]), sightings(), NOWS)
def test_at_rest_nothing_else_runs_and_a_boot_starts_the_current_release(
    state: State, found: tuple[Instance, ...], now: Now
) -> None:
    node = SimulatedNode(found, now)
    after = node.settled(state)
    assert node.alive() <= expected_to_run(state.current)
    if state.started_boot_id != now.boot_id:
        assert node.alive() == expected_to_run(state.current)
    assert after.current == state.current


@given(states([Phase.STRANDED]), sightings(), NOWS)
def test_a_stranded_unikernel_is_left_to_a_person(state: State, found: tuple[Instance, ...], now: Now) -> None:
    assert settle(state, found, now) == ()


@given(states([Phase.SWAPPING, Phase.ON_TRIAL, Phase.REVERTING]), sightings(), NOWS)
def test_reverts_that_fail_are_bounded_and_end_stranded(state: State, found: tuple[Instance, ...], now: Now) -> None:
    assume(state.current is not None and state.current.running)
    after = SimulatedNode(found, now, origin_starts=False).settled(state)
    assert after.phase in (Phase.STRANDED, Phase.ON_TRIAL)
    if after.phase is Phase.STRANDED:
        assert after.failed_reverts == MOST_FAILED_REVERTS
        assert [event.what for event in after.events] == ["stranded"]
        assert bool(after.held) == (after.trial is not None and after.trial.blame)


def on_trial(verdict: Optional[Verdict]) -> State:
    trial = Trial("t1", release(CANDIDATE), Holder(), "then", BOOT, 60.0, deadline_s=DEADLINE_S, verdict=verdict)
    return State("www", "5a", phase=Phase.ON_TRIAL, current=release(ORIGIN), trial=trial, next_number=3)


@given(states([Phase.STABLE, Phase.CONFIRMING, Phase.REVERTING, Phase.SWAPPING]), sightings(), NOWS)
def test_nothing_stays_parked_once_a_trial_has_ended(state: State, found: tuple[Instance, ...], now: Now) -> None:
    node = SimulatedNode(found, now)
    after = node.settled(state)
    assume(after.phase is Phase.STABLE)
    assert all(instance.serving for instance in node.instances.values() if instance.works)


PARKED = Instance("www", ORIGIN, True, "origin", serving=False)


def test_a_trial_goes_on_beside_the_old_release_that_is_parked() -> None:
    assert settle(on_trial(PASSED), (PARKED, *CANDIDATE_LIVES), EARLY) == ()


def test_a_parked_release_is_stopped_when_the_new_one_is_confirmed() -> None:
    confirming = replace(on_trial(PASSED), phase=Phase.CONFIRMING)
    assert settle(confirming, (PARKED, *CANDIDATE_LIVES), EARLY) == (StopStray(ORIGIN), FinishConfirm())


def test_a_current_release_that_lost_its_bridge_is_put_back() -> None:
    state = State("www", "5a", current=release(ORIGIN), next_number=2, started_boot_id=BOOT)
    assert settle(state, (PARKED,), EARLY) == (StartCurrent(),)


@pytest.mark.parametrize(
    ("policy", "end", "started"),
    [
        (RestartPolicy.ALWAYS, Exit(), True),
        (RestartPolicy.ON_FAILURE, Exit(), True),
        (RestartPolicy.NEVER, Exit(), False),
        (RestartPolicy.ALWAYS, Exit(status=1, meaning="exited with status 1; given up after 10 restarts"), False),
    ],
)
def test_what_nobody_restarts_any_more_is_started(policy: RestartPolicy, end: Exit, started: bool) -> None:
    current = replace(release(ORIGIN), configuration=Configuration(restart=policy))
    state = State("www", "salt", current=current, started_boot_id=BOOT)
    found = (Instance("www", ORIGIN, False, exit=end),)
    assert settle(state, found, Now(1.0, BOOT)) == ((StartCurrent(),) if started else ())


def test_a_candidate_that_cannot_be_reached_any_more_is_reverted_and_held() -> None:
    lost = Instance("www", CANDIDATE, True, "first", unreachable="its tap was deleted")
    after = SimulatedNode((lost,), EARLY).settled(on_trial(None))
    assert after.ended is not None and "its tap was deleted" in after.ended.reason
    assert hold_on(after, release(CANDIDATE)) is not None


def test_a_candidate_that_lost_its_bridge_is_reverted_and_not_held() -> None:
    off = Instance("www", CANDIDATE, True, "first", serving=False)
    after = SimulatedNode((off,), EARLY).settled(on_trial(PASSED))
    assert after.ended is not None and "off its bridge" in after.ended.reason and after.held == ()


CANDIDATE_LIVES = (Instance("www", CANDIDATE, True, "first"),)
CANDIDATE_ENDED = (Instance("www", CANDIDATE, False, "first", exit=Exit(status=3, meaning="exited with status 3")),)
EARLY, LATE, BOOTED = Now(1.0, BOOT), Now(DEADLINE_S, BOOT), Now(1.0, OTHER_BOOT)


@pytest.mark.parametrize(
    ("verdict", "found", "now", "reason", "held"),
    [
        (FAILED, CANDIDATE_LIVES, EARLY, "web: refused", True),
        (Verdict(Outcome.INCONCLUSIVE, "no library"), CANDIDATE_LIVES, EARLY, "no library", True),
        (None, CANDIDATE_ENDED, EARLY, "exited with status 3", True),
        (PASSED, CANDIDATE_ENDED, EARLY, "exited with status 3", True),
        (None, (), EARLY, "nobody saw how", True),
        (PASSED, CANDIDATE_LIVES, LATE, "nobody confirmed it within 60 s", False),
        (None, CANDIDATE_LIVES, LATE, "no verdict was reached within 60 s", False),
        (PASSED, CANDIDATE_LIVES, BOOTED, "booted before the trial was confirmed", False),
        (FAILED, CANDIDATE_LIVES, BOOTED, "booted before the trial was confirmed", False),
    ],
)
def test_why_a_trial_ends_and_whether_the_candidate_is_held_for_it(
    verdict: Optional[Verdict], found: tuple[Instance, ...], now: Now, reason: str, held: bool
) -> None:
    after = SimulatedNode(found, now).settled(on_trial(verdict))
    assert after.ended is not None and reason in after.ended.reason
    assert (hold_on(after, release(CANDIDATE)) is not None) == held


def test_a_candidate_that_was_restarted_is_another_process_than_the_one_that_was_checked() -> None:
    state = on_trial(PASSED)
    assert state.trial is not None
    state = replace(state, trial=replace(state.trial, instance="first"))
    (begin, *_unused) = settle(state, (Instance("www", CANDIDATE, True, "second"),), EARLY)
    assert isinstance(begin, BeginRevert) and "restarted" in begin.reason


@given(states(), sightings(), NOWS, st.booleans())
def test_events_are_numbered_without_a_gap(
    state: State, found: tuple[Instance, ...], now: Now, origin_starts: bool
) -> None:
    after = SimulatedNode(found, now, origin_starts).settled(state)
    assert [event.seq for event in after.events] == list(range(1, after.event_count + 1))
