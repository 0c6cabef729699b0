# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module ``unikernel``: from its parameters to a transaction, and from what came of it to a result."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from ..checks.declaration import checks_from
from ..checks.model import CheckSpec, Schedule, Vantage
from ..checks.schedule import checked_schedule
from ..codec import Mismatch, decode
from ..drivers.albatross_place import Places
from ..errors import InvalidDeclaration
from ..layout import NodeLayout
from ..model import Abi, BuildReference, Device, Image, SnapshotMethod, checked_name, checked_sha256
from ..releases.change import Change, TrialOptions
from ..releases.data import DataOptions
from ..releases.guarding import GUARD_IS_OFF, why_unguarded
from ..releases.node import Node, local_node
from ..releases.proposal import Declaration, Wanted
from ..releases.rehearsal import Inconclusive
from ..releases.report import shown_release
from ..releases.state import Holder, State
from ..releases.transaction import LOCK_WAIT_S, locked
from ..releases.waiting import standing
from . import options
from .albatross import place_of, refuse_another_place
from .by_guard import arm
from .difference import diff_of

ARGUMENTS = (
    options.NAME,
    options.ROOT,
    options.STATE,
    *options.IMAGE,
    *options.CONFIGURATION,
    *options.CHECKS,
    *options.SCHEDULE,
    *options.TRIAL,
    *options.HOLDER,
    options.Option("lock_timeout", "float", default=LOCK_WAIT_S),
    options.Option("comparison", "dict"),
)

DEFAULT_TRIAL_TIMEOUT_S = 60.0
LONGEST_TRIAL_S = 7 * 86400.0


def declare(parameters: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Carry out what is declared (or only say what would be), and return the module's result."""
    name = checked_name(parameters["name"])
    layout = NodeLayout(Path(parameters["root"]))
    place = place_of(parameters)
    node = local_node(layout, {} if place is None else {name: place})
    declaration = declaration_from(parameters)
    trial = trial_options(parameters, declaration.wanted)
    if place is not None:
        refuse_another_place(layout, node.store, name, place)
    if check_mode:
        from ..releases.forecast import forecast

        change = forecast(node, name, holder_from(parameters)).declare(declaration, trial, None)
    else:
        with locked(node, name, holder_from(parameters), parameters["lock_timeout"]) as transaction:
            if place is not None:
                Places(layout, {name: place}).write(name)
            guard = functools.partial(arm, node.layout) if parameters["guard"] else None
            change = transaction.declare(declaration, trial, guard)
    return _result(node, name, change, parameters)


def warnings_of(result: Mapping[str, Any]) -> list[str]:
    """What everybody should see of a result, whoever looks at it."""
    unguarded = result["unguarded"]
    return [] if unguarded is None else [f"{result['name']}: nobody guards its trial: {unguarded}"]


def declaration_from(parameters: Mapping[str, Any]) -> Declaration:
    image = None
    if parameters.get("sha256") is not None:
        if parameters.get("size") is None:
            raise InvalidDeclaration(f"{parameters['name']}: sha256 is given without size; both name the image.")
        image = Image(sha256=checked_sha256(parameters["sha256"]), size=parameters["size"])
    given_build = {key: value for key, value in (parameters.get("build") or {}).items() if value is not None}
    try:
        abi = decode(Abi, parameters["abi"]) if parameters.get("abi") else None
        devices = (
            tuple(decode(Device, item) for item in parameters["devices"])
            if parameters.get("devices") is not None
            else None
        )
    except Mismatch as mismatch:
        raise InvalidDeclaration(f"{parameters['name']}: {mismatch}.") from None
    return Declaration(
        wanted=Wanted(parameters["state"]),
        image=image,
        build=decode(BuildReference, given_build),
        abi=abi,
        devices=devices,
        configuration=options.configuration_given(dict(parameters)),
    )


def schedule_from(parameters: Mapping[str, Any]) -> Schedule:
    """The schedule of the checks; InvalidDeclaration when it can never be kept."""
    schedule = Schedule(
        deadline_s=parameters["deadline"],
        stable_for_s=parameters["stable_for"],
        consecutive=parameters["consecutive"],
        delays_s=tuple(parameters["delays"]),
        interval_s=parameters["interval"],
    )
    return checked_schedule(schedule)


def trial_options(parameters: Mapping[str, Any], wanted: Wanted) -> TrialOptions:
    timeout_s = parameters["trial_timeout"]
    if timeout_s is None:
        # Nothing can be checked of what does not run; a stop is on trial only when somebody asks for it.
        timeout_s = DEFAULT_TRIAL_TIMEOUT_S if wanted is Wanted.RUNNING else 0.0
    if not 0 <= timeout_s <= LONGEST_TRIAL_S:
        raise InvalidDeclaration(
            f"trial_timeout is {timeout_s:g} s; it must be from 0 (no trial) to {LONGEST_TRIAL_S:g} (a week). "
            "Nothing was changed."
        )
    schedule = schedule_from(parameters)
    if wanted is Wanted.RUNNING and 0 < timeout_s <= schedule.deadline_s:
        raise InvalidDeclaration(
            f"trial_timeout ({timeout_s:g} s) must be longer than deadline ({schedule.deadline_s:g} s): after the "
            "verdict of the node there must be time left to confirm. Nothing was changed."
        )
    return TrialOptions(
        timeout_s=timeout_s,
        checks=node_checks(parameters) if wanted is Wanted.RUNNING else (),
        schedule=schedule,
        retry_failed=parameters["retry_failed"],
        takeover=parameters["takeover"],
        accept_no_way_back=parameters["accept_no_way_back"],
        keep=parameters["keep_releases"],
        data=data_options(parameters),
        rehearse=parameters["rehearse"],
        when_inconclusive=Inconclusive(parameters["rehearse_inconclusive"]),
    )


def data_options(parameters: Mapping[str, Any]) -> DataOptions:
    """What is to become of the data; InvalidDeclaration when that cannot be meant."""
    method, hook = parameters["snapshot"], parameters["snapshot_hook"]
    if (method == SnapshotMethod.HOOK.value) != (hook is not None):
        raise InvalidDeclaration("snapshot: hook and snapshot_hook, the path of its program, go together.")
    if parameters["remove_data"] and parameters["state"] != Wanted.ABSENT.value:
        raise InvalidDeclaration(f"{parameters['name']}: remove_data goes with state absent only. Nothing was changed.")
    return DataOptions(
        compatible=parameters["data_compatible"],
        snapshot=None if method is None else SnapshotMethod(method),
        hook=hook,
        remove=parameters["remove_data"],
    )


def node_checks(parameters: Mapping[str, Any]) -> tuple[CheckSpec, ...]:
    """The node's own checks; that the process lives is always among them."""
    here = checks_from(parameters["checks"], parameters.get("address"), Vantage.NODE)
    if any(spec.kind == "process" and spec.required for spec in here):
        return here
    return (*checks_from([{"process": {}, "name": "the process lives"}], None), *here)


def holder_from(parameters: Mapping[str, Any]) -> Holder:
    return Holder(who=parameters.get("who") or "somebody", run=parameters.get("run") or "")


def shown_outcome(state: State, trial_id: str) -> dict[str, Any]:
    """How a trial stands, as results show it."""
    report = standing(state, trial_id)
    opened = state.trial if state.trial is not None and state.trial.id == trial_id else None
    return {
        "id": trial_id,
        "standing": report.standing.value,
        "reason": report.reason,
        "evidence": report.ended.evidence if report.ended else None,
        "guarded": opened.guarded if opened else None,
    }


def _result(node: Node, name: str, change: Change, parameters: Mapping[str, Any]) -> dict[str, Any]:
    before = shown_release(change.before, change.before.current)
    after = shown_release(change.before, change.proposal.candidate)
    if not change.changed:
        after = before
    unguarded = why_nobody_guards(node, name, parameters) if change.changed else None
    ways = _ways(change, parameters, unguarded)
    return {
        "changed": change.changed,
        "name": name,
        "unguarded": unguarded,
        "before": before,
        "after": after,
        "inherited": list(change.proposal.inherited),
        "remarks": list(change.remarks),
        "trial": shown_outcome(change.after, change.trial) if change.trial else None,
        "phase": change.after.phase.value,
        "diff": diff_of(name, before, after, change.proposal.inherited, parameters.get("comparison"), ways)
        if change.changed
        else {"before": "", "after": ""},
    }


def why_nobody_guards(node: Node, name: str, parameters: Mapping[str, Any]) -> Optional[str]:
    """Why nobody is sure to end the trial that these parameters begin; None where somebody is, or there is none."""
    if not trial_options(parameters, Wanted(parameters["state"])).timeout_s:
        return None
    return why_unguarded(node, name) if parameters["guard"] else GUARD_IS_OFF


def _ways(change: Change, parameters: Mapping[str, Any], unguarded: Optional[str]) -> list[str]:
    ways = [f"way: {remark}" for remark in change.remarks]
    rehearses = parameters["rehearse"] and parameters["state"] == Wanted.RUNNING.value
    if rehearses:
        ways.append("way: rehearsed on a network of its own before it is swapped in")
    if unguarded is not None:
        ways.append(f"way: unguarded: {unguarded}")
    return ways
