# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The decision from attempts, against a plain reading of its definition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from hypothesis import given, strategies as st

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.model import Attempt, Outcome, Schedule
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.verdict import Progress, decided

SCHEDULE = Schedule(deadline_s=30, stable_for_s=3, consecutive=2)
P, F, U = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE


def progress(name: str, *attempts: tuple[float, Outcome], required: bool = True, final: bool = False) -> Progress:
    """A check with attempts that took no time."""
    seen = Progress(name, required)
    for at_s, outcome in attempts:
        seen = seen.after(Attempt(at_s, outcome, 0.0, f"saw {outcome.value}"), final)
    return seen


def outcome_of(checks: Sequence[Progress], now_s: float, schedule: Schedule = SCHEDULE) -> Optional[Outcome]:
    decision = decided(checks, schedule, now_s)
    return None if decision is None else decision.outcome


def test_it_passes_when_all_have_passed_long_enough_together() -> None:
    first = progress("a", (0, P), (1, P), (2, P), (3, P))
    assert outcome_of([first], 3) is P
    assert outcome_of([first, progress("b", (1, P), (4, P))], 4) is None
    assert outcome_of([progress("a", (0, P), (4, P)), progress("b", (1, P), (4, P))], 4) is P


def test_once_is_not_enough_where_twice_is_wanted() -> None:
    schedule = Schedule(deadline_s=30, stable_for_s=0, consecutive=2)
    assert outcome_of([progress("a", (5, P))], 5, schedule) is None
    assert outcome_of([progress("a", (5, P), (5, P))], 5, schedule) is P


def test_the_first_pass_is_enough_where_nothing_more_is_asked() -> None:
    assert outcome_of([progress("a", (0, P))], 0, Schedule(30, stable_for_s=0, consecutive=1)) is P


def test_a_flap_begins_the_span_anew() -> None:
    assert outcome_of([progress("a", (0, P), (1, P), (2, F), (3, P), (4, P))], 4) is None
    assert outcome_of([progress("a", (0, P), (1, P), (2, F), (3, P), (4, P), (6, P))], 6) is P


def test_at_the_deadline_what_did_not_pass_fails_by_name() -> None:
    decision = decided([progress("good", (0, P), (30, P)), progress("bad", (29, F))], SCHEDULE, 30)
    assert decision is not None
    assert decision.outcome is F
    assert "bad: saw fail (1 attempt)" in decision.reason
    assert "good" not in decision.reason


def test_passing_at_the_deadline_but_not_long_enough_fails() -> None:
    decision = decided([progress("a", (28, F), (29, P), (30, P))], SCHEDULE, 30)
    assert decision is not None
    assert decision.outcome is F
    assert "not long enough" in decision.reason


def test_what_could_not_be_made_is_inconclusive_and_never_a_pass() -> None:
    assert outcome_of([progress("a", (0, U), (29, U))], 30) is U
    assert outcome_of([Progress("a")], 30) is U
    assert outcome_of([progress("a", (0, F), (29, U))], 30) is F
    assert outcome_of([progress("a", (0, U)), progress("b", (0, F))], 30) is F
    assert outcome_of([progress("a", (0, U)), progress("b", (0, P), (29, P))], 30) is U


def test_what_cannot_recover_decides_at_once() -> None:
    assert outcome_of([progress("gone", (1, F), final=True), progress("b", (1, P))], 1) is F
    assert outcome_of([progress("unable", (1, U), final=True)], 1) is U
    assert outcome_of([progress("wanted", (1, F), required=False, final=True), progress("b", (1, P))], 1) is None


def test_wanted_checks_decide_nothing() -> None:
    wanted = progress("w", (0, F), (30, F), required=False)
    assert outcome_of([wanted, progress("a", (0, P), (3, P))], 3) is P


def test_without_required_checks_it_passes_and_says_so() -> None:
    decision = decided([], SCHEDULE, 0)
    assert decision is not None
    assert decision.outcome is P
    assert "No check is required" in decision.reason


# --- against the definition -------------------------------------------------------------------

_OUTCOMES = st.lists(st.tuples(st.sampled_from((1, 1, 2, 3)), st.sampled_from((P, P, P, F, U))), max_size=12)
_CHECKS = st.lists(st.tuples(_OUTCOMES, st.booleans()), min_size=1, max_size=4)
_SCHEDULES = st.builds(
    Schedule,
    deadline_s=st.sampled_from((10, 20)),
    stable_for_s=st.sampled_from((0, 1, 3)),
    consecutive=st.integers(1, 3),
)

Attempts = list[tuple[int, Outcome]]


def _timed(outcomes: list[tuple[int, Outcome]]) -> Attempts:
    at, timed = 0, []
    for gap, outcome in outcomes:
        at += gap
        timed.append((at, outcome))
    return timed


def _is_alive(required: list[Attempts], schedule: Schedule) -> bool:
    """The definition, read plainly: some span of the wanted length that every check saw through passing."""
    ends = {at for attempts in required for at, _unused in attempts if at <= schedule.deadline_s}
    return any(
        all(_spans(attempts, begin, begin + schedule.stable_for_s, schedule) for attempts in required) for begin in ends
    )


def _spans(attempts: Attempts, begin: float, end: float, schedule: Schedule) -> bool:
    """A check whose present streak reaches over the span, in attempts enough."""
    streak: list[int] = []
    for at, outcome in attempts:
        streak = [*streak, at] if outcome is P else []
    return (
        len(streak) >= schedule.consecutive
        and streak[0] <= begin
        and streak[-1] >= end
        and streak[-1] <= schedule.deadline_s
    )


@given(checks=_CHECKS, schedule=_SCHEDULES, now=st.integers(0, 40))
def test_the_decision_is_the_definition(
    checks: list[tuple[list[tuple[int, Outcome]], bool]], schedule: Schedule, now: int
) -> None:
    timed = [(_timed(outcomes), required) for outcomes, required in checks]
    folded = [progress(str(i), *attempts, required=required) for i, (attempts, required) in enumerate(timed)]
    required = [attempts for attempts, is_required in timed if is_required]
    outcome = outcome_of(folded, now, schedule)
    if not required or _is_alive(required, schedule):
        assert outcome is P
    elif now < schedule.deadline_s:
        assert outcome is None
    else:
        assert outcome in (F, U)
        # Inconclusive only if no check that stood in the way was seen to fail since it passed.
        if outcome is U:
            assert any(not attempts or attempts[-1][1] is U for attempts in required)
        if all(all(seen is U for _unused, seen in attempts) for attempts in required):
            assert outcome is U


@given(outcomes=_OUTCOMES, schedule=_SCHEDULES)
def test_a_setback_never_leaves_a_check_stable(outcomes: list[tuple[int, Outcome]], schedule: Schedule) -> None:
    seen = progress("a", *_timed(outcomes)).after(Attempt(100, F, 0.1, "no"))
    assert not seen.is_stable(schedule)
    assert seen.streak == 0
