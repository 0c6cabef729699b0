# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From attempts to a verdict: pure, and the only place where it is decided.

A required check is in a *streak* while its attempts pass. The verdict is a pass as soon as every required check has
passed often enough in its streak, and one span of ``stable_for_s`` lies within the streaks of all of them. Spans are
measured between ends of attempts that passed: what nobody looked at proves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Optional

from .model import Attempt, Outcome, Schedule


@dataclass(frozen=True)
class Progress:
    """One check, with its attempts folded to what the verdict depends on. Times are seconds since the beginning."""

    name: str
    required: bool = True
    attempts: int = 0
    last: Optional[Attempt] = None
    streak: int = 0
    """Attempts passed in a row, up to the last one."""
    passing_since_s: float = 0.0
    """End of the first attempt of the streak."""
    passed_last_s: float = 0.0
    """End of the last attempt of the streak."""
    setbacks: int = 0
    """Attempts not passed in a row, up to the last one."""
    failed_last: bool = False
    """The last attempt that was conclusive failed."""
    final: bool = False
    """The last attempt did not pass, and no later one can."""
    answered: bool = False
    """At least one attempt had an answer that could be judged, right or wrong."""

    def after(self, attempt: Attempt, final: bool = False, silent: bool = False) -> Progress:
        """The progress with one more attempt."""
        ended_s = attempt.at_s + attempt.latency_s
        passed = attempt.outcome is Outcome.PASS
        return replace(
            self,
            attempts=self.attempts + 1,
            last=attempt,
            streak=self.streak + 1 if passed else 0,
            passing_since_s=self.passing_since_s if passed and self.streak else ended_s,
            passed_last_s=ended_s if passed else 0.0,
            setbacks=0 if passed else self.setbacks + 1,
            failed_last=self.failed_last if attempt.outcome is Outcome.INCONCLUSIVE else not passed,
            final=final and not passed,
            answered=self.answered or passed or (attempt.outcome is Outcome.FAIL and not silent),
        )

    def is_stable(self, schedule: Schedule) -> bool:
        """Enough by itself, whatever the others do."""
        return (
            self.streak >= max(1, schedule.consecutive)
            and self.passed_last_s >= self.passing_since_s + schedule.stable_for_s
            and self.passed_last_s <= schedule.deadline_s
        )


@dataclass(frozen=True)
class Decision:
    outcome: Outcome
    reason: str
    """One sentence that names the checks which decided."""


def decided(checks: Sequence[Progress], schedule: Schedule, now_s: float) -> Optional[Decision]:
    """The verdict, or None while it is open. Never None at or after the deadline."""
    required = [check for check in checks if check.required]
    if not required:
        return Decision(Outcome.PASS, "No check is required, so nothing was asked that could fail.")
    if _jointly_stable(required, schedule):
        return Decision(Outcome.PASS, _passed(required, schedule))
    hopeless = [check for check in required if check.final]
    if hopeless:
        failed = [check for check in hopeless if check.failed_last]
        outcome = Outcome.FAIL if failed else Outcome.INCONCLUSIVE
        return Decision(outcome, _stated(outcome, failed or hopeless, "and waiting cannot change that"))
    if now_s < schedule.deadline_s:
        return None
    within = f"within {schedule.deadline_s:g} s"
    late = [check for check in required if not check.is_stable(schedule)]
    unable = [check for check in late if _could_not_be_made(check)]
    if late and len(unable) == len(late):
        return Decision(Outcome.INCONCLUSIVE, _stated(Outcome.INCONCLUSIVE, unable, within))
    guilty = [check for check in late if not _could_not_be_made(check)] or required
    return Decision(Outcome.FAIL, _stated(Outcome.FAIL, guilty, within))


def stable_at_s(checks: Sequence[Progress], schedule: Schedule) -> Optional[float]:
    """When an attempt of each required check would have to pass for the verdict; None unless all are passing."""
    required = [check for check in checks if check.required]
    if not required or not all(check.streak for check in required):
        return None
    return max(check.passing_since_s for check in required) + schedule.stable_for_s


def _jointly_stable(required: Sequence[Progress], schedule: Schedule) -> bool:
    enough_at_s = stable_at_s(required, schedule)
    return enough_at_s is not None and all(
        check.is_stable(schedule) and check.passed_last_s >= enough_at_s for check in required
    )


def _could_not_be_made(check: Progress) -> bool:
    """It has no answer from the target that could be judged, or none since it last passed."""
    return not check.failed_last and (check.last is None or check.last.outcome is Outcome.INCONCLUSIVE)


def _passed(required: Sequence[Progress], schedule: Schedule) -> str:
    subject = f"The check {required[0].name!r} passes" if len(required) == 1 else f"All {len(required)} checks pass"
    return subject + (f", for {schedule.stable_for_s:g} s without a failure." if schedule.stable_for_s else ".")


def _stated(outcome: Outcome, checks: Sequence[Progress], circumstance: str) -> str:
    verdict = "Not alive" if outcome is Outcome.FAIL else "Not known whether it is alive"
    statements = [f"{check.name}: {_state(check)}" for check in checks[:3]]
    if len(checks) > 3:
        statements.append(f"and {len(checks) - 3} more")
    return f"{verdict} ({circumstance}): {'; '.join(statements)}."


def _state(check: Progress) -> str:
    if check.last is None:
        return "no attempt ended"
    times = "1 attempt" if check.attempts == 1 else f"{check.attempts} attempts"
    if check.last.outcome is Outcome.PASS:
        return f"passed at last, but not long enough without a failure ({times})"
    prefix = "" if check.last.outcome is Outcome.FAIL else "could not be made: "
    return f"{prefix}{check.last.detail} ({times})"
