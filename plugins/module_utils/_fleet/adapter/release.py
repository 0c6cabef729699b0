# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module ``release``: confirm a trial, go back, or take a trial over."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from ..errors import InvalidDeclaration
from ..layout import NodeLayout
from ..model import checked_name
from ..releases.change import TrialOptions
from ..releases.data import DataOptions
from ..releases.node import local_node
from ..releases.report import shown_release
from ..releases.state import State
from ..releases.transaction import LOCK_WAIT_S, Transaction, locked
from . import options
from .difference import diff_of
from .unikernel import holder_from, shown_outcome

ARGUMENTS = (
    options.NAME,
    options.ROOT,
    options.Option("state", required=True, choices=("confirmed", "rolled_back", "taken_over")),
    options.Option("trial"),
    options.Option("to", "int"),
    options.Option("reason"),
    options.Option("hold", "bool", default=True),
    options.Option("data_compatible", "bool", default=False),
    *options.HOLDER,
    options.Option("lock_timeout", "float", default=LOCK_WAIT_S),
)


def change_release(parameters: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Carry out the module's ``state`` (or only say whether it would change anything)."""
    name = checked_name(parameters["name"])
    if parameters["state"] == "confirmed" and not parameters["trial"]:
        raise InvalidDeclaration(
            f"{name}: a confirmation counts only for the trial that it names; give trial, as unikernel.fleet.unikernel "
            "returned it."
        )
    if parameters["to"] is not None and (parameters["trial"] or parameters["state"] != "rolled_back"):
        raise InvalidDeclaration(f"{name}: 'to' goes with state rolled_back and without a trial.")
    node = local_node(NodeLayout(Path(parameters["root"])))
    if check_mode or not os.path.isdir(node.layout.unikernel(name)):
        # Where there is no folder of it, nothing was ever deployed, so this is refused: a lock would only be left over.
        from ..releases.forecast import forecast

        foreseen = forecast(node, name, holder_from(parameters))
        before = foreseen.state
        changed = _change(foreseen, parameters)
        if check_mode:
            return _result(parameters, changed, before, foreseen.state)
    with locked(node, name, holder_from(parameters), parameters["lock_timeout"]) as transaction:
        before = transaction.state
        changed = _change(transaction, parameters)
        return _result(parameters, changed, before, transaction.state)


def _change(transaction: Transaction, parameters: Mapping[str, Any]) -> bool:
    trial = parameters["trial"]
    if parameters["state"] == "confirmed":
        return transaction.confirm(trial)
    if parameters["state"] == "taken_over":
        return transaction.take_over(trial)
    if trial is not None or (transaction.state.trial is not None and parameters["to"] is None):
        who = parameters["who"] or "somebody"
        return transaction.roll_back(trial, parameters["reason"] or f"ended by {who}", parameters["hold"])
    how = TrialOptions(timeout_s=0.0, data=DataOptions(compatible=parameters["data_compatible"]))
    return transaction.roll_back_to(parameters["to"], how, None, parameters["hold"]).changed


def _result(parameters: Mapping[str, Any], changed: bool, before: State, after: State) -> dict[str, Any]:
    name: str = parameters["name"]
    trial: Optional[str] = parameters["trial"]
    was, is_now = shown_release(before, before.current), shown_release(after, after.current)
    ended = after.ended.trial if after.ended else None
    known = trial if trial in (ended, after.trial.id if after.trial else None) else None
    return {
        "changed": changed,
        "name": name,
        "release": is_now,
        "trial": shown_outcome(after, known) if known else None,
        "phase": after.phase.value,
        "diff": _end_of_trial(name, trial, changed)
        if parameters["state"] == "confirmed"
        else diff_of(name, was, is_now),
    }


def _end_of_trial(name: str, trial: Optional[str], changed: bool) -> dict[str, str]:
    """What changed was shown when the trial began; a confirmation only lets it stay."""
    return {
        "before_header": f"{name} (what is)",
        "after_header": f"{name} (what is confirmed)",
        "before": f"trial {trial}: {'open' if changed else 'confirmed'}\n",
        "after": f"trial {trial}: confirmed\n",
    }
