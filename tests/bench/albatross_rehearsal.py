# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many requests a broken build costs on albatross that is rehearsed: one every 2 ms, with 80 ms to be answered.

``python -m ansible_collections.unikernel.fleet.tests.bench.albatross_rehearsal [--times 20]``; as root. On the double
always. On a real albatross where ALBATROSS_SOCKETS and SOLO5_IMAGES name its sockets and images for it
(ALBATROSS_TARGET, else hvt); then it is run in the network namespace of that albatross. ALBATROSS_BRIDGE is the bridge
to serve on, and ALBATROSS_QUARANTINE another one, with nothing on it, that existed when it was started.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.codec import encode
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.albatross_place import Place
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import Network
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import State
from ansible_collections.unikernel.fleet.tests.bench.cost_in_requests import Cost
from ansible_collections.unikernel.fleet.tests.bench.cost_of_rehearsals import (
    REHEARSED,
    main,
    rehearsals_cost,
)
from ansible_collections.unikernel.fleet.tests.support.albatross_node import NAME, AlbatrossNode
from ansible_collections.unikernel.fleet.tests.support.albatross_process import albatross_process
from ansible_collections.unikernel.fleet.tests.support.albatross_rehearsing import (
    GIVEN,
    QUARANTINE,
    make_quarantine,
    web_image,
)
from ansible_collections.unikernel.fleet.tests.support.network_lab import BRIDGE, GUEST_V4, network_lab
from ansible_collections.unikernel.fleet.tests.support.solo5_named import named_image
from ansible_collections.unikernel.fleet.tests.support.trials import AT_ONCE

NEEDED = ("ALBATROSS_SOCKETS", "ALBATROSS_QUARANTINE", "SOLO5_IMAGES")


@dataclass(frozen=True)
class Bench:
    """Somewhere to rehearse, what serves there, and what is broken."""

    what: str
    node: AlbatrossNode
    good: bytes
    broken: dict[str, bytes]
    given: dict[str, Any]


@contextmanager
def on_the_double(folder: Path) -> Iterator[Bench]:
    with network_lab() as lab:
        make_quarantine()
        with albatross_process(folder / "albatross", BRIDGE, QUARANTINE) as albatross:
            place = Place(sockets=str(albatross.folder), quarantine_bridge=QUARANTINE)
            node = AlbatrossNode(folder / "node", place)
            lab.watch_over(node.layout.root, NAME)
            broken = {behaviour: web_image("v2", behaviour) for behaviour in ("crash", "sick", "hang")}
            yield Bench("albatross' double", node, web_image("v1"), broken, GIVEN)


@contextmanager
def on_a_real_one(folder: Path) -> Iterator[Bench]:
    target = os.environ.get("ALBATROSS_TARGET", "hvt")
    bridge, quarantine = os.environ.get("ALBATROSS_BRIDGE", "service"), os.environ["ALBATROSS_QUARANTINE"]
    images = {variant: named_image(variant, target) for variant in ("v1", "v3-unhealthy", "v5-hang")}
    octets = {variant: path.read_bytes() for variant, path in images.items() if path.exists()}
    place = Place(sockets=os.environ["ALBATROSS_SOCKETS"], quarantine_bridge=quarantine)
    node = AlbatrossNode(folder / "node", place)
    network = Network("service", bridge, addresses=(f"{GUEST_V4}/24",))
    given = {"networks": [encode(network)], "arguments": [f"--ipv4={GUEST_V4}/24"]}
    good = octets.pop("v1")
    try:
        yield Bench(f"albatross, {target}", node, good, octets, given)
    finally:
        node.driver.swap(NAME, None, None)


def costs(times: int) -> Iterator[Cost]:
    with tempfile.TemporaryDirectory() as folder, on_the_double(Path(folder)) as bench:
        yield from _costs_on(bench, times)
    absent = [name for name in NEEDED if not os.environ.get(name)]
    if absent:
        print(f"a real albatross left out: {', '.join(absent)} not set")
        return
    with tempfile.TemporaryDirectory() as folder, on_a_real_one(Path(folder)) as bench:
        yield from _costs_on(bench, times)


def _costs_on(bench: Bench, times: int) -> Iterator[Cost]:
    def rehearsing(octets: bytes) -> Callable[[], State]:
        def rehearse() -> State:
            bench.node.declare(octets, options=REHEARSED, **bench.given)
            return bench.node.node().journal(NAME).read()

        return rehearse

    bench.node.declare(bench.good, options=AT_ONCE, **bench.given)
    yield rehearsals_cost(f"{bench.what}, nothing", None, times)
    for what, octets in bench.broken.items():
        yield rehearsals_cost(f"{bench.what}, {what}", rehearsing(octets), times)


if __name__ == "__main__":
    raise SystemExit(main(__doc__, costs))
