# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many requests a broken build costs that is rehearsed: a new one every 2 ms, each with 80 ms to be answered.

``python -m ansible_collections.unikernel.fleet.tests.bench.rehearsal [--times 20]``; as root. Programs in network
namespaces always; Solo5's spt tender where SOLO5_BIN and SOLO5_IMAGES name its programs and images. The first row of
each is the machine alone, with nothing rehearsed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.codec import encode
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import Image
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.node import Node
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.proposal import Declaration
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import State
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import TrialOptions, locked
from ansible_collections.unikernel.fleet.tests.bench.cost_in_requests import Cost
from ansible_collections.unikernel.fleet.tests.bench.cost_of_rehearsals import (
    REHEARSED,
    main,
    rehearsals_cost,
)
from ansible_collections.unikernel.fleet.tests.bench.process_place import NAME, Place, process_place
from ansible_collections.unikernel.fleet.tests.support.fleet_node import ME
from ansible_collections.unikernel.fleet.tests.support.network_lab import GUEST_V4
from ansible_collections.unikernel.fleet.tests.support.rehearsing import SERVICE
from ansible_collections.unikernel.fleet.tests.support.solo5_named import tenders_on_path, why_no_solo5
from ansible_collections.unikernel.fleet.tests.support.trials import AT_ONCE

NETWORK = encode(SERVICE)


@dataclass(frozen=True)
class Kind:
    """What is rehearsed: builds that are broken, beside a good one."""

    what: str
    driver: str
    good: Callable[[Place], Image]
    broken: dict[str, Callable[[Place], Image]]
    given: dict[str, Any]


def program(behaviour: str) -> Callable[[Place], Image]:
    return lambda place: place.program("v2", behaviour)


def guest(variant: str) -> Callable[[Place], Image]:
    return lambda place: place.guest(variant)


UNIX = Kind(
    "unix",
    "unix",
    lambda place: place.program("v1"),
    {behaviour: program(behaviour) for behaviour in ("crash", "sick", "hang")},
    {"networks": [NETWORK], "stop_grace_s": 1.0},
)
SPT = Kind(
    "solo5-spt",
    "solo5",
    guest("v1"),
    {variant: guest(variant) for variant in ("v3-unhealthy", "v5-hang")},
    {
        "driver": "solo5",
        "memory_mib": 32,
        "arguments": [f"--ipv4={GUEST_V4}/24"],
        "networks": [{**NETWORK, "addresses": [f"{GUEST_V4}/24"]}],
        "stop_grace_s": 1.0,
    },
)


def kinds() -> Sequence[Kind]:
    absent = why_no_solo5()
    if absent:
        print(f"solo5 left out: {absent}")
        return [UNIX]
    tenders_on_path()
    return [UNIX, SPT]


def costs(times: int) -> Iterator[Cost]:
    for kind in kinds():
        yield _cost(kind, "nothing", None, times)
        for what, broken in kind.broken.items():
            yield _cost(kind, what, broken, times)


def _cost(kind: Kind, what: str, broken: Optional[Callable[[Place], Image]], times: int) -> Cost:
    with process_place(kind.driver) as place:
        node = Node(place.layout, place.store, lambda name: place.driver)

        def declare(image: Image, options: TrialOptions) -> State:
            with locked(node, NAME, ME) as transaction:
                transaction.declare(Declaration(image=image, configuration=kind.given), options, None)
            return node.journal(NAME).read()

        declare(kind.good(place), AT_ONCE)
        image = None if broken is None else broken(place)
        rehearse = None if image is None else lambda: declare(image, REHEARSED)
        return rehearsals_cost(f"{kind.what}, {what}", rehearse, times)


if __name__ == "__main__":
    raise SystemExit(main(__doc__, costs))
