# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Making many checks at once, again and again, until ``verdict`` has decided. Time and threads are here alone.

Every attempt has a daemon thread of its own, so a check that hangs delays neither the others nor the verdict.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Optional

from ..errors import FleetError, InvalidDeclaration
from ..model import Instance
from .bounded import bounded
from .model import Attempt, CheckResult, CheckSpec, Outcome, Schedule, Verdict
from .protocol import Check, Sighting, Surroundings
from .registry import CHECKS
from .verdict import Decision, Progress, decided, stable_at_s

OnAttempt = Callable[[CheckSpec, Attempt], None]

KEPT_FIRST = 5
KEPT_LAST = 20
_GRACE_S = 0.5
"""What a check may take beyond its time-out before it counts as hanging (less, for shorter time-outs)."""
_LOOK_S = 0.25
"""How long the verdict waits for a look at the instance (less, for shorter time-outs)."""
_LINGER_S = 1.0
"""How long a thread that watches for the stop may outlive the checks."""
_SHORTEST_S = 0.1
"""What an attempt needs at least: with less time left, it would say nothing about its target."""
_WOKEN = -1


def run_checks(
    specs: Sequence[CheckSpec],
    schedule: Schedule,
    surroundings: Surroundings,
    *,
    clock: Callable[[], float] = time.monotonic,
    stop: Optional[threading.Event] = None,
    on_attempt: Optional[OnAttempt] = None,
) -> Verdict:
    """Make the checks until they decide, at the latest ``deadline_s`` and one time-out of a check from now.

    ``stop`` ends it at once, with an inconclusive verdict. ``on_attempt`` is told of each attempt, in this thread;
    what it raises is ignored. Never raises for anything that a check does; InvalidDeclaration for the schedule.
    """
    run = _Run(specs, checked_schedule(schedule), surroundings, clock, stop, on_attempt)
    try:
        return run.verdict()
    finally:
        run.over.set()


def checked_schedule(schedule: Schedule) -> Schedule:
    """The schedule if checks that pass from the start could pass it, else InvalidDeclaration."""
    times = {
        "deadline_s": schedule.deadline_s,
        "stable_for_s": schedule.stable_for_s,
        "interval_s": schedule.interval_s,
        **{f"delays_s[{position}]": delay for position, delay in enumerate(schedule.delays_s)},
    }
    for name, seconds in times.items():
        if not math.isfinite(seconds) or seconds < 0:
            raise InvalidDeclaration(f"The schedule of the checks: {name} cannot be {seconds!r}. Nothing was changed.")
    if schedule.deadline_s == 0 or not schedule.delays_s or schedule.consecutive < 1:
        raise InvalidDeclaration(
            "The schedule of the checks needs a deadline_s above 0, at least one of delays_s, and consecutive of at "
            "least 1. Nothing was changed."
        )
    # The last of the passes may come before its interval is over, as soon as the span is.
    shortest_s = schedule.stable_for_s
    if shortest_s <= (schedule.consecutive - 2) * schedule.interval_s or not shortest_s:
        shortest_s = (schedule.consecutive - 1) * schedule.interval_s
    if shortest_s >= schedule.deadline_s:
        raise InvalidDeclaration(
            f"The schedule of the checks can never pass: {schedule.consecutive} passes in a row and "
            f"{schedule.stable_for_s:g} s without a failure take {shortest_s:g} s at least, and the deadline is after "
            f"{schedule.deadline_s:g} s. Give it a later deadline. Nothing was changed."
        )
    return schedule


@dataclass
class _Course:
    """One check on its way."""

    spec: CheckSpec
    check: Optional[Check]
    progress: Progress
    first: list[Attempt] = field(default_factory=list)
    last: deque[Attempt] = field(default_factory=lambda: deque(maxlen=KEPT_LAST))
    due_s: float = 0.0
    begun_s: Optional[float] = None
    """Beginning of the attempt that is being made."""
    given_up_s: float = 0.0
    """When that attempt counts as hanging."""
    hanging: bool = False

    @property
    def is_awaited(self) -> bool:
        return self.begun_s is not None and not self.hanging

    def result(self) -> CheckResult:
        attempts = (*self.first, *self.last)
        return CheckResult(
            name=self.spec.name,
            kind=self.spec.kind,
            required=self.spec.required,
            outcome=Outcome.INCONCLUSIVE if self.progress.last is None else self.progress.last.outcome,
            attempts=attempts,
            attempts_left_out=self.progress.attempts - len(attempts),
            answered=self.progress.answered,
        )


class _Run:
    def __init__(
        self,
        specs: Sequence[CheckSpec],
        schedule: Schedule,
        surroundings: Surroundings,
        clock: Callable[[], float],
        stop: Optional[threading.Event],
        on_attempt: Optional[OnAttempt],
    ) -> None:
        self._schedule = schedule
        self._last_begin_s = schedule.deadline_s - min(_SHORTEST_S, schedule.deadline_s / 4)
        self._inspect = surroundings.inspect
        self._clock = clock
        self._began = clock()
        self._stop = stop
        self._on_attempt = on_attempt
        self._arrivals: queue.SimpleQueue[tuple[int, Sighting, float]] = queue.SimpleQueue()
        self._courses = [_course(spec, surroundings) for spec in specs]
        self.over = threading.Event()

    def verdict(self) -> Verdict:
        if self._stop is not None:
            _in_background("watch for the stop of checks", lambda: self._watch(self._stop))
        first_look = _Look(self._inspect)
        for course in self._courses:
            if course.check is None:
                self._record(course, _attempt(0.0, _UNBOUND, 0.0), True)
        self._begin_what_is_due()
        while (decision := self._decision()) is None:
            self._wait()
            self._give_up_what_hangs()
            self._begin_what_is_due()
        identity = first_look.identity(self._look_s())
        if decision.outcome is Outcome.PASS:
            decision, identity = self._same_instance(decision, identity)
        return Verdict(
            outcome=decision.outcome,
            reason=decision.reason,
            duration_s=round(self._now_s(), 6),
            results=tuple(course.result() for course in self._courses),
            instance=identity,
        )

    def _now_s(self) -> float:
        return self._clock() - self._began

    # --- attempts ---------------------------------------------------------------------------------

    def _begin_what_is_due(self) -> None:
        now_s = self._now_s()
        for number, course in enumerate(self._courses):
            if course.check is None or course.begun_s is not None:
                continue
            if self._due_s(course) <= now_s < self._last_begin_s:
                self._begin(number, course, course.check, now_s)

    def _begin(self, number: int, course: _Course, check: Check, now_s: float) -> None:
        timeout_s = min(course.spec.timeout_s, self._schedule.deadline_s - now_s)
        course.begun_s = now_s
        course.given_up_s = now_s + timeout_s + min(_GRACE_S, course.spec.timeout_s / 2)

        def attempt() -> None:
            sighting = _attempted(check, timeout_s)
            self._arrivals.put((number, sighting, self._now_s()))

        try:
            _in_background(f"check {course.spec.name}", attempt)
        except RuntimeError as error:
            self._arrivals.put((number, Sighting(Outcome.INCONCLUSIVE, f"it could not be begun: {error}"), now_s))

    def _due_s(self, course: _Course) -> float:
        """When the next attempt is due: one that passes is looked at again when its streak could be long enough."""
        enough_at_s = stable_at_s(self._progress(), self._schedule)
        progress = course.progress
        if not progress.required or enough_at_s is None or progress.passed_last_s >= enough_at_s:
            return course.due_s
        if progress.streak + 1 < self._schedule.consecutive:
            return course.due_s
        return min(course.due_s, enough_at_s)

    def _wait(self) -> None:
        """Until an attempt ends, or until the next thing that is to be done at a certain time."""
        deadline_s, now_s = self._schedule.deadline_s, self._now_s()
        times = [deadline_s] if now_s < deadline_s else []
        for course in self._courses:
            if course.is_awaited:
                times.append(course.given_up_s)
            elif course.begun_s is None and course.check is not None and now_s < self._last_begin_s:
                times.append(self._due_s(course))
        arrival = None
        with suppress(queue.Empty):
            arrival = self._arrivals.get(timeout=max(0.0, min(times, default=now_s) - now_s))
        while arrival is not None:
            self._receive(*arrival)
            arrival = None
            with suppress(queue.Empty):
                arrival = self._arrivals.get_nowait()

    def _receive(self, number: int, sighting: Sighting, ended_s: float) -> None:
        if number == _WOKEN:
            return
        course = self._courses[number]
        begun_s, was_hanging = course.begun_s, course.hanging
        course.begun_s, course.hanging = None, False
        if begun_s is None or was_hanging:
            # Too late to count, but the check can be made again.
            course.due_s = ended_s
            return
        self._record(course, _attempt(begun_s, sighting, ended_s), sighting.final, sighting.silent)

    def _give_up_what_hangs(self) -> None:
        now_s = self._now_s()
        for course in self._courses:
            if course.is_awaited and course.begun_s is not None and now_s >= course.given_up_s:
                course.hanging = True
                sighting = Sighting(
                    Outcome.INCONCLUSIVE, f"the check hangs: it did not end within {now_s - course.begun_s:.1f} s"
                )
                self._record(course, _attempt(course.begun_s, sighting, now_s), False)

    def _record(self, course: _Course, attempt: Attempt, final: bool, silent: bool = False) -> None:
        schedule = self._schedule
        course.progress = course.progress.after(attempt, final, silent)
        kept = course.first if len(course.first) < KEPT_FIRST else course.last
        kept.append(attempt)
        setbacks = course.progress.setbacks
        pause_s = schedule.delays_s[min(setbacks, len(schedule.delays_s)) - 1] if setbacks else schedule.interval_s
        course.due_s = attempt.at_s + attempt.latency_s + pause_s
        if self._on_attempt is not None:
            # Whoever listens must not be able to end a trial.
            with suppress(Exception):
                self._on_attempt(course.spec, attempt)

    # --- the verdict ------------------------------------------------------------------------------

    def _progress(self) -> list[Progress]:
        return [course.progress for course in self._courses]

    def _decision(self) -> Optional[Decision]:
        if self._stop is not None and self._stop.is_set():
            return Decision(Outcome.INCONCLUSIVE, "The checks were stopped before they had decided anything.")
        any_required = any(course.spec.required for course in self._courses)
        awaited = any(
            course.is_awaited and (course.spec.required or (not any_required and not course.progress.attempts))
            for course in self._courses
        )
        if awaited and not any_required:
            return None
        # At the deadline, attempts that began before it are about to end: their own time-outs see to that.
        decision = decided(self._progress(), self._schedule, 0.0 if awaited else self._now_s())
        return None if decision is None else replace(decision, reason=decision.reason + self._remarks())

    def _remarks(self) -> str:
        """What the wanted checks have to say."""
        missed = [
            f"{course.spec.name}: {course.progress.last.detail}"
            for course in self._courses
            if not course.spec.required and course.progress.last and course.progress.last.outcome is not Outcome.PASS
        ]
        return f" Wanted, but not so: {'; '.join(missed[:3])}." if missed else ""

    def _same_instance(self, decision: Decision, identity: Optional[str]) -> tuple[Decision, Optional[str]]:
        """The decision to pass, unless the instance that earned it is gone."""
        look = _Look(self._inspect)
        if not look.ended(self._look_s()):
            return decision, identity
        instance = look.instance
        if instance is None or not instance.alive:
            how = "is gone" if instance is None or instance.exit is None else instance.exit.meaning
            reason = f"Not alive: what was asked of the checks is met, but the process {how}."
            return Decision(Outcome.FAIL, reason), identity
        judged = any(course.spec.kind == "process" for course in self._courses)
        if identity is not None and instance.identity != identity and not judged:
            reason = "Not alive: the checks passed, but another process runs now than when they began."
            return Decision(Outcome.FAIL, reason), identity
        return decision, instance.identity

    def _look_s(self) -> float:
        return min([_LOOK_S, *(course.spec.timeout_s / 4 for course in self._courses)])

    def _watch(self, stop: Optional[threading.Event]) -> None:
        while stop is not None and not self.over.is_set():
            if stop.wait(_LINGER_S):
                self._arrivals.put((_WOKEN, _UNBOUND, 0.0))
                return


_UNBOUND = Sighting(Outcome.INCONCLUSIVE, "this version of the collection cannot make such a check", final=True)


class _Look:
    """One look at the instance, in the background: a driver may hang."""

    def __init__(self, inspect: Optional[Callable[[], Optional[Instance]]]) -> None:
        self._inspect = inspect
        self._ended = threading.Event()
        self._succeeded = False
        self.instance: Optional[Instance] = None
        if inspect is not None:
            with suppress(RuntimeError):
                _in_background("look at the instance", self._look)

    def _look(self) -> None:
        with suppress(Exception):
            self.instance = None if self._inspect is None else self._inspect()
            self._succeeded = True
        self._ended.set()

    def ended(self, within_s: float) -> bool:
        """Whether the driver has answered."""
        return self._inspect is not None and self._ended.wait(within_s) and self._succeeded

    def identity(self, within_s: float) -> Optional[str]:
        return self.instance.identity if self.ended(within_s) and self.instance is not None else None


def _course(spec: CheckSpec, surroundings: Surroundings) -> _Course:
    kind = CHECKS.get(spec.kind)
    check: Optional[Check] = None
    if kind is not None:
        # What was persisted by another version may not fit: that is a verdict, not a crash.
        with suppress(ValueError, FleetError):
            check = kind.bind(spec, surroundings)
    return _Course(spec, check, Progress(spec.name, spec.required))


def _attempted(check: Check, timeout_s: float) -> Sighting:
    try:
        return check.attempt(timeout_s)
    except FleetError as error:
        return Sighting(Outcome.INCONCLUSIVE, str(error))
    except BaseException as error:
        # Also SystemExit: whatever it is, it ends this thread's only work and must not leave the verdict waiting.
        return Sighting(Outcome.INCONCLUSIVE, f"the check itself failed: {type(error).__name__}: {error}")


def _attempt(begun_s: float, sighting: Sighting, ended_s: float) -> Attempt:
    return Attempt(
        at_s=round(begun_s, 6),
        outcome=sighting.outcome,
        latency_s=round(max(0.0, ended_s - begun_s), 6),
        detail=bounded(sighting.detail),
    )


def _in_background(name: str, work: Callable[[], Any]) -> None:
    threading.Thread(target=work, name=bounded(name, 60), daemon=True).start()
