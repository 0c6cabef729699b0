# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A plan as data: for the plays that follow, and for the file that other programs read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..codec import encode
from ..releases.plan_entries import CHANGING, Plan, PlanAction, PlanEntry

FORMAT = "unikernel.fleet/plan"
VERSION = 1


def plan_data(plan: Plan) -> dict[str, Any]:
    """The whole plan, without secrets. ``format`` and ``version`` are there for who reads it from a file."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "summary": plan.summary,
        "entries": [_entry(entry) for entry in plan.entries],
        "undeclared": [_entry(entry) for entry in plan.undeclared],
        "frozen": dict(plan.frozen),
    }


def plan_for_plays(plan: Plan, roots: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    """As little as the next plays need: every host of theirs carries it around.

    ``roots``: by node and name, the state folder in which something was found.
    """
    return {
        "summary": plan.summary,
        "changing": list(plan.changing),
        "by_host": {entry.host: _for_role(entry, roots) for entry in plan.entries if entry.action in CHANGING},
        "remove": [
            {**_place(entry), "root": roots.get((entry.node, entry.name))}
            for entry in plan.undeclared
            if entry.action is PlanAction.REMOVE
        ],
        "unsatisfied": [{**_place(entry), "reason": entry.reason} for entry in plan.unsatisfied],
    }


def _place(entry: PlanEntry) -> dict[str, Any]:
    return {"host": entry.host, "name": entry.name, "node": entry.node, "action": entry.action.value}


def _for_role(entry: PlanEntry, roots: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    data = _entry(entry)
    if entry.moved_from is not None:
        data["moved_from_root"] = roots.get((entry.moved_from, entry.name))
    return data


def _entry(entry: PlanEntry) -> dict[str, Any]:
    data: dict[str, Any] = encode(entry)
    return data
