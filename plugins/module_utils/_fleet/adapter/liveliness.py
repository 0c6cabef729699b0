# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module ``liveliness``: run checks from here, or wait for the verdict that a node reaches. It never fails by itself:
its own errors are a verdict, ``inconclusive``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..checks.declaration import checks_from
from ..checks.model import Outcome, Vantage, Verdict
from ..checks.protocol import Surroundings
from ..checks.schedule import run_checks
from ..codec import encode
from ..errors import FleetError, InvalidDeclaration
from ..layout import NodeLayout
from ..model import checked_name
from ..releases.guard import surroundings_of
from ..releases.node import local_node
from ..releases.waiting import Standing, TrialReport, wait_for_verdict
from . import options
from .unikernel import holder_from, schedule_from

ARGUMENTS = (
    options.Option("name"),
    options.ROOT,
    options.Option("trial"),
    options.Option("vantage", default="node", choices=("node", "controller")),
    *options.CHECKS,
    *options.SCHEDULE,
    *options.HOLDER,
)


def judge(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The module's result. InvalidDeclaration for what is declared wrongly; anything else is a verdict."""
    if parameters["trial"] is not None:
        if parameters["name"] is None:
            raise InvalidDeclaration("trial is given without the name of its unikernel.")
        return _of_a_trial(parameters)
    return _of_checks(parameters)


def _of_a_trial(parameters: Mapping[str, Any]) -> dict[str, Any]:
    name = checked_name(parameters["name"])
    node = local_node(NodeLayout(Path(parameters["root"])))
    try:
        report = wait_for_verdict(node, name, parameters["trial"], holder_from(parameters))
    except (FleetError, OSError) as error:
        return _result(Verdict(Outcome.INCONCLUSIVE, str(error)), Standing.UNDECIDED.value)
    return _result(report.verdict or _verdict_without_checks(report), report.standing.value, report)


def _verdict_without_checks(report: TrialReport) -> Verdict:
    good = report.standing in (Standing.PASSED, Standing.CONFIRMED)
    return Verdict(Outcome.PASS if good else Outcome.FAIL, report.reason)


def _of_checks(parameters: Mapping[str, Any]) -> dict[str, Any]:
    schedule = schedule_from(parameters)
    vantage = Vantage(parameters["vantage"])
    specs = checks_from(parameters["checks"], parameters["address"], vantage)
    try:
        around = Surroundings()
        if vantage is Vantage.NODE and parameters["name"] is not None:
            node = local_node(NodeLayout(Path(parameters["root"])))
            name = checked_name(parameters["name"])
            around = surroundings_of(node, name, node.journal(name).read().current)
        verdict = run_checks(specs, schedule, around)
    except InvalidDeclaration:
        raise
    except (FleetError, OSError) as error:
        verdict = Verdict(Outcome.INCONCLUSIVE, str(error))
    return _result(verdict, None)


def _result(verdict: Verdict, standing: Any, report: Any = None) -> dict[str, Any]:
    alive = verdict.outcome is Outcome.PASS and standing in (None, "passed", "confirmed")
    return {
        "changed": False,
        "alive": alive,
        "verdict": verdict.outcome.value,
        "reason": report.reason if report is not None and not alive else verdict.reason,
        "standing": standing,
        "evidence": report.ended.evidence if report is not None and report.ended else None,
        "duration": round(verdict.duration_s, 3),
        "results": [encode(result) for result in verdict.results],
    }
