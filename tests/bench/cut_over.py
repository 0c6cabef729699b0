# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many requests swaps cost: a new one every 2 ms, each with 80 ms to be answered, over many swaps.

``python -m ansible_collections.unikernel.fleet.tests.bench.cut_over [--swaps 50]``; as root. Programs in network
namespaces always; Solo5's spt tender where SOLO5_BIN and SOLO5_IMAGES name its programs and images.

An answer after more than 80 ms is *late*, which is a failure; after 3 s it is *too late*: lost. After the cut-overs
comes a row of the same length without a swap, to see what the machine's other work costs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import (
    Configuration,
    Image,
    Network,
    Release,
    SwapMethod,
)
from ansible_collections.unikernel.fleet.tests.bench.cost_in_requests import SETTLE_S, Cost
from ansible_collections.unikernel.fleet.tests.bench.process_place import NAME, Place, process_place
from ansible_collections.unikernel.fleet.tests.support.guest_answers import serves
from ansible_collections.unikernel.fleet.tests.support.network_lab import BRIDGE, GUEST_V4, GUEST_V6, why_not_here
from ansible_collections.unikernel.fleet.tests.support.solo5_named import tenders_on_path, why_no_solo5

PATIENCE_S = 3.0
"""What was lost is sent again after 0.2 s or 1 s; what comes before was only late."""


@dataclass(frozen=True)
class Kind:
    """What is swapped."""

    driver: str
    image: Callable[[Place, str], Image]
    addresses: tuple[str, ...]
    given: dict[str, Any]

    def release(self, place: Place, version: str, method: SwapMethod) -> Release:
        configuration = Configuration(
            driver=self.driver,
            networks=(Network("service", BRIDGE, addresses=self.addresses),),
            swap=method,
            ready={"http": {"url": f"http://{GUEST_V4}/health"}, "timeout": 1, "within": 10},
            **self.given,
        )
        return Release(1, self.image(place, version), configuration)


UNIX = Kind("unix", Place.program, (f"{GUEST_V4}/24", f"{GUEST_V6}/64"), {})
SPT = Kind("solo5", Place.guest, (f"{GUEST_V4}/24",), {"memory_mib": 32, "arguments": (f"--ipv4={GUEST_V4}/24",)})


def swaps_cost(kind: Kind, method: SwapMethod, swaps: int) -> Cost:
    with process_place(kind.driver) as place:
        versions = [kind.release(place, version, method) for version in ("v1", "v2")]
        place.driver.validate(NAME, versions[0])
        place.driver.swap(NAME, None, versions[0])
        serves("v1")
        cost = Cost(f"{kind.driver}, {method.value}", "swap")
        old = versions[0]
        with cost.counted(patience_s=PATIENCE_S) as acts:
            for number in range(2, swaps + 2):
                new = replace(versions[(number - 1) % 2], number=number)
                with acts.one():
                    place.driver.swap(NAME, old, new)
                time.sleep(SETTLE_S / 2)
                if method is SwapMethod.CUT_OVER:  # as its confirmation does
                    place.driver.stop(NAME, old.number)
                    place.driver.discard(NAME, old.number)
                old = new
        place.driver.swap(NAME, old, None)
    return cost


def rest_costs(kind: Kind, for_s: float) -> Cost:
    """What the same client loses while nothing is swapped, for as long."""
    with process_place(kind.driver) as place:
        release = kind.release(place, "v1", SwapMethod.STOP_START)
        place.driver.swap(NAME, None, release)
        serves("v1")
        cost = Cost(f"{kind.driver}, no swap", "swap")
        cost.quiet(for_s, patience_s=PATIENCE_S)
        place.driver.swap(NAME, release, None)
    return cost


def kinds(only: Optional[str]) -> Sequence[Kind]:
    absent = why_no_solo5()
    if absent:
        print(f"solo5 left out: {absent}")
    else:
        tenders_on_path()
    return [kind for kind in (UNIX, *([] if absent else [SPT])) if only in (None, kind.driver)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--swaps", type=int, default=50)
    parser.add_argument("--only", choices=("unix", "solo5"))
    options = parser.parse_args()
    reason = why_not_here()
    if reason:
        print(f"left out: {reason}")
        return 0
    lost = 0
    for kind in kinds(options.only):
        cut_overs = swaps_cost(kind, SwapMethod.CUT_OVER, options.swaps)
        print(cut_overs, flush=True)
        print(rest_costs(kind, cut_overs.lasted_s), flush=True)
        print(swaps_cost(kind, SwapMethod.STOP_START, options.swaps), flush=True)
        lost += cut_overs.lost()
    return 1 if lost else 0


if __name__ == "__main__":
    raise SystemExit(main())
