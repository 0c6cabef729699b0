# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a node's history tells of a unikernel."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.node import Node
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import State


def told_events(node: Node, name: str) -> list[dict[str, Any]]:
    path = node.layout.history(name)
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def each_told_once(node: Node, name: str) -> list[dict[str, Any]]:
    """The same; AssertionError when one is missing, or told twice."""
    events = told_events(node, name)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    return events


def gaps_in_history(node: Node, name: str, state: State) -> list[str]:
    """That an event is missing, or told twice; nothing, as a rule."""
    numbers = [event["seq"] for event in told_events(node, name)]
    if numbers == list(range(1, state.event_count + 1)):
        return []
    return [f"the history has the events {numbers}, of {state.event_count}"]
