# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the trial that is declared can be begun at all: its checks, their schedule and its time.

The node refuses what is wrong with them. A plan that promises a change the node refuses is of no use to anybody, so
it asks here first, and only about what changes: in a large fleet that is little.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Optional

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.parsing.convert_bool import boolean

from ..checks.declaration import checks_from
from ..checks.model import Vantage
from ..errors import FleetError, MissingLibrary
from ..releases.guarding import GUARD_IS_OFF
from ..releases.plan_entries import CHANGING, Plan, PlanAction
from ..releases.proposal import Wanted
from ..releases.rehearsal import Inconclusive, refusals_of_checks
from . import options
from .unikernel import trial_options

_OPTIONS = (
    *options.CHECKS,
    *options.SCHEDULE,
    *options.TRIAL,
    # Of the role alone, and no module is told them.
    options.Option("image_method", choices=("auto", "node", "controller")),
    options.Option("check_before", type="bool"),
    options.Option("evidence_fetch", type="path"),
)

TRIAL_VARIABLES = tuple(option.variable for option in _OPTIONS)


def why_no_trial(variables: Mapping[str, Any], wanted: Wanted, unseen: Optional[str] = None) -> Optional[str]:
    """What is wrong with the trial that these variables of a host declare; None when nothing is. ``unseen``: why no
    check that needs the network can be made in its rehearsal."""
    given = {o.name: variables[o.variable] for o in _OPTIONS if variables.get(o.variable) is not None}
    read = ArgumentSpecValidator(options.specs(_OPTIONS)).validate(given)
    if read.error_messages:
        return "; ".join(_of_variable(message) for message in read.error_messages)
    declared = read.validated_parameters
    try:
        # What the node checks and cannot be read here may be read there: the node says what is wrong with it.
        with suppress(MissingLibrary):
            trial = trial_options(declared, wanted)
            if trial.rehearse and trial.when_inconclusive is Inconclusive.REFUSE:
                reasons = refusals_of_checks(unseen, trial.checks)
                if reasons:
                    return f"it cannot be rehearsed: {'; '.join(reasons)}"
        if wanted is Wanted.RUNNING:
            checks_from(declared["checks"], declared.get("address"), Vantage.CONTROLLER)
    except FleetError as error:
        return str(error)
    return None


def _of_variable(message: str) -> str:
    """What Ansible says of an option, said of the variable; without the names of its own classes."""
    told = re.sub(r"<class '[^']*'>", "it", message)
    return re.sub(r"(argument|option|value of) '?(\w+)'?", rf"\1 '{options.PREFIX}\2'", told, count=1)


def unguarded_by_choice(plan: Plan, variables_of: Callable[[str], Mapping[str, Any]]) -> Plan:
    """The same, where it says of each trial whose guard is off that nobody guards it, and of none that there is not."""
    entries = []
    for entry in plan.entries:
        if entry.host is not None and entry.action in CHANGING:
            variables = variables_of(entry.host)
            guard, timeout = (variables.get(options.PREFIX + name) for name in ("guard", "trial_timeout"))
            if timeout is not None and float(timeout) == 0:
                entry = replace(entry, unguarded=None)
            elif guard is not None and not boolean(guard, strict=False):
                entry = replace(entry, unguarded=GUARD_IS_OFF)
        entries.append(entry)
    return replace(plan, entries=tuple(entries))


def faulty_trials(plan: Plan, variables_of: Callable[[str], Mapping[str, Any]]) -> dict[str, str]:
    """By host, what is wrong with the trials that the plan's changes would begin."""
    faults = {}
    for entry in plan.entries:
        if entry.host is None or entry.action not in CHANGING:
            continue
        wanted = Wanted.STOPPED if entry.action is PlanAction.STOP else Wanted.RUNNING
        try:
            fault = why_no_trial(variables_of(entry.host), wanted, entry.unseen)
        except FleetError as error:
            fault = str(error)
        if fault is not None:
            faults[entry.host] = fault
    return faults
