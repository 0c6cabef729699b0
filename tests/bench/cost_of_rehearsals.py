# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a broken build costs in requests that is rehearsed beside a good one, and a bench of such."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import Optional

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.declaration import checks_from
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.model import Schedule
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import State
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import TrialOptions
from ansible_collections.unikernel.fleet.tests.bench.cost_in_requests import Cost
from ansible_collections.unikernel.fleet.tests.support.guest_answers import serves
from ansible_collections.unikernel.fleet.tests.support.network_lab import GUEST_V4, why_not_here

CHECKS = checks_from([{"process": {}}, {"http": f"http://{GUEST_V4}/health", "timeout": 0.5}], None)
SCHEDULE = Schedule(deadline_s=1.0, stable_for_s=0.2, consecutive=2, delays_s=(0.05,), interval_s=0.05)
REHEARSED = TrialOptions(timeout_s=0.0, checks=CHECKS, schedule=SCHEDULE, rehearse=True, retry_failed=True)
QUIET_S = 1.5
"""About as long as a rehearsal."""


def rehearsals_cost(what: str, rehearse: Optional[Callable[[], State]], times: int) -> Cost:
    """Of rehearsals that each leave this state; without any, what the machine's other work costs in as much time."""
    cost = Cost(what, "rehearsal")
    serves("v1")
    if rehearse is None:
        cost.quiet(QUIET_S * times)
        return cost
    with cost.counted() as acts:
        for _unused in range(times):
            with acts.one():
                state = rehearse()
            if state.ended is None or state.ended.outcome != "refused":
                raise SystemExit(f"{what} was not refused: {state.ended}")
    return cost


def main(doc: Optional[str], costs: Callable[[int], Iterable[Cost]]) -> int:
    """The exit status says whether requests were lost while something was rehearsed."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--times", type=int, default=20)
    options = parser.parse_args()
    reason = why_not_here()
    if reason:
        print(f"left out: {reason}")
        return 0
    lost = 0
    for cost in costs(options.times):
        print(cost, flush=True)
        lost += cost.lost() if cost.acts_ms else 0
    return 1 if lost else 0
