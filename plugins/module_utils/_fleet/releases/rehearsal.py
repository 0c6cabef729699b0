# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rehearsing a release before it may be swapped in: what it is refused for, how it is done, and what came of it.

Nothing here writes the journal; the transaction does, before and after. What a killed rehearsal leaves is removed by
:func:`end`, which whoever opens the unikernel next calls.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Optional

from ..checks.model import CheckResult, CheckSpec, Outcome, Verdict
from ..checks.protocol import Surroundings
from ..codec import decode
from ..drivers.equipment import RELEASE
from ..drivers.protocol import Rehearsals
from ..errors import DriverError, FleetError, RehearsalHindered, ReleaseRefused
from ..model import Instance, Release
from . import evidence
from .kept_core import KeptCore
from .node import Node
from .state import Trial


class Inconclusive(str, Enum):
    """What to do about a release that lives and does not answer where nothing but its own network is to be had."""

    REFUSE = "refuse"
    PROCEED = "proceed"


@dataclass(frozen=True)
class Rehearsed:
    """What a rehearsal showed."""

    verdict: Verdict
    """``fail``: it is broken. ``inconclusive``: it lives, nothing that it said was wrong, and something required never
    had an answer."""
    console: tuple[str, ...] = ()
    instance: Optional[Instance] = None
    core: Optional[KeptCore] = None

    @property
    def reason(self) -> str:
        if self.verdict.outcome is Outcome.FAIL:
            return f"its rehearsal failed, so nothing was swapped: {self.verdict.reason}"
        return (
            f"its rehearsal was inconclusive, so nothing was swapped: {self.verdict.reason}. If it needs more than its "
            "own network to answer, say rehearse_inconclusive: proceed"
        )


def refuse_what_cannot_be_rehearsed(
    node: Node,
    name: str,
    release: Optional[Release],
    checks: Sequence[CheckSpec] = (),
    when_inconclusive: Inconclusive = Inconclusive.REFUSE,
) -> None:
    """ReleaseRefused, with all that forbids the rehearsal; the release may otherwise run here."""
    if release is None or not release.running:
        return
    rehearsals = node.driver_for(release).rehearsals
    if rehearsals is None:
        reasons = [f"the driver {release.configuration.driver} has no network of its own to offer"]
    else:
        reasons = rehearsals.refusals(name, release)
        if not reasons and when_inconclusive is Inconclusive.REFUSE:
            reasons = refusals_of_checks(rehearsals.unseen(name, release), checks)
    if reasons:
        raise ReleaseRefused(
            f"{name}: {release} cannot be rehearsed on this node: {'; '.join(reasons)}. Nothing was stopped or "
            "started. Mend that, or leave rehearse out."
        )


def refusals_of_checks(unseen: Optional[str], checks: Sequence[CheckSpec]) -> list[str]:
    """What a rehearsal would be refused for after it was made; ``unseen``: why no check of its network can be made."""
    left_out = [] if unseen is None else [spec.name for spec in checks if spec.required and not _of_itself(spec)]
    if not left_out:
        return []
    return [
        f"{', '.join(left_out)} cannot be seen there ({unseen}), and only whether it lives and what it says can (say "
        "rehearse_inconclusive: proceed to leave the rest to the trial)"
    ]


def _of_itself(spec: CheckSpec) -> bool:
    """Whether a check looks at the instance, and not at what its network leads to."""
    from ..checks.registry import CHECKS  # with every kind of check

    return CHECKS[spec.kind].node_only


def rehearse(node: Node, name: str, trial: Trial) -> Rehearsed:
    """Run the candidate apart from everything, make the node's checks there, and remove all of it again.

    DriverError: it could not be rehearsed, and the candidate is not to blame for that.
    """
    release = trial.candidate
    if release is None:
        raise AssertionError(f"{name}: what is absent cannot be rehearsed")
    rehearsals = node.driver_for(release).rehearsals
    if rehearsals is None:
        raise DriverError(f"the driver {release.configuration.driver} rehearses nothing")
    try:
        seen = _held(node, rehearsals, name, release, trial)
    except Exception:
        rehearsals.end(name)
        raise
    rehearsals.end(name)
    node.reached("after the end of the rehearsal")
    return seen


def _held(node: Node, rehearsals: Rehearsals, name: str, release: Release, trial: Trial) -> Rehearsed:
    node.reached("before the rehearsal is prepared")
    rehearsals.prepare(name, release)
    node.reached("before the rehearsal is started")
    try:
        rehearsals.start(name, release)
    except RehearsalHindered:
        raise
    except DriverError as error:
        verdict = Verdict(Outcome.FAIL, f"it could not be started: {error}")
        return Rehearsed(verdict, _console(rehearsals, name, release))
    from ..checks.schedule import run_checks  # with every kind of check: only who makes checks needs it

    node.reached("before the checks of the rehearsal")
    unseen = rehearsals.unseen(name, release)
    checks = trial.checks if unseen is None else tuple(spec for spec in trial.checks if _of_itself(spec))
    verdict = rehearsals.inside(
        name, lambda: run_checks(checks, trial.schedule, _surroundings(rehearsals, name, release))
    )
    instance = rehearsals.inspect(name, release)
    node.reached("after the checks of the rehearsal")
    core = None
    if instance is None or not instance.alive:
        core = evidence.core_of(node.layout, name, trial, lambda: rehearsals.core(name))
    verdict = lessened(judged(verdict, instance), unseen, trial.checks)
    return Rehearsed(verdict, _console(rehearsals, name, release), instance, core)


def end(node: Node, name: str, release: Optional[Release] = None) -> None:
    """Remove whatever a rehearsal left. DriverError when something would not go."""
    folder = node.layout.rehearsal(name)
    if not folder.is_dir():
        return
    if release is None:
        with suppress(OSError, ValueError):
            release = decode(Release, json.loads((folder / RELEASE).read_bytes()))
    driver = node.open_driver("unix") if release is None else node.driver_for(release)
    if driver.rehearsals is not None:
        try:
            driver.rehearsals.end(name)
        except OSError as error:
            raise DriverError(f"{name}: what is left of a rehearsal in {folder} cannot be removed: {error}") from error


def judged(verdict: Verdict, instance: Optional[Instance]) -> Verdict:
    """The verdict of a rehearsal from that of its checks and from what was there at the end.

    A check that has no answer there proves nothing against the release: what it waits for may lie outside. One that
    has a wrong answer does, and so does an end.
    """
    if verdict.outcome is Outcome.PASS:
        return verdict
    if instance is None or not instance.works:
        return Verdict(
            Outcome.FAIL, f"{_how_it_ended(instance)} ({verdict.reason})", verdict.duration_s, verdict.results
        )
    missed = [result for result in verdict.results if result.required and result.outcome is not Outcome.PASS]
    wrong = [result for result in missed if result.answered]
    if wrong or not missed:
        # With nothing missed in the end, it took too long, or did not stay so.
        return Verdict(Outcome.FAIL, verdict.reason, verdict.duration_s, verdict.results)
    silent = "; ".join(f"{result.name}: {_last_word(result)}" for result in missed[:3])
    reason = f"it lives, and on a network of its own it did not answer ({silent})"
    return Verdict(Outcome.INCONCLUSIVE, reason, verdict.duration_s, verdict.results)


def lessened(verdict: Verdict, unseen: Optional[str], checks: Sequence[CheckSpec]) -> Verdict:
    """A pass without the required checks that could not be made there shows less than a pass."""
    left_out = [] if unseen is None else [spec.name for spec in checks if spec.required and not _of_itself(spec)]
    if verdict.outcome is not Outcome.PASS or not left_out:
        return verdict
    reason = f"it lives, and {', '.join(left_out)} could not be seen there: {unseen}"
    return Verdict(Outcome.INCONCLUSIVE, reason, verdict.duration_s, verdict.results, verdict.instance)


def _how_it_ended(instance: Optional[Instance]) -> str:
    if instance is None:
        return "it was not there any more"
    if instance.alive:
        return str(instance.unreachable or f"it was changed: {instance.altered}")
    return f"it ended: {instance.exit.meaning if instance.exit is not None else 'nobody saw how'}"


def _last_word(result: CheckResult) -> str:
    return result.attempts[-1].detail if result.attempts else "no attempt ended"


def _surroundings(rehearsals: Rehearsals, name: str, release: Release) -> Surroundings:
    def console(lines: int) -> tuple[str, ...]:
        return tuple(evidence.redacted(rehearsals.console(name, lines), release))

    return Surroundings(inspect=lambda: rehearsals.inspect(name, release), console=console)


def _console(rehearsals: Rehearsals, name: str, release: Release) -> tuple[str, ...]:
    with suppress(FleetError, OSError):
        return tuple(evidence.redacted(rehearsals.console(name, evidence.CONSOLE_LINES), release))
    return ()
