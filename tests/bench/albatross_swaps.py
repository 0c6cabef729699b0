# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a replacement on albatross costs in requests: bare force creates of the client alone, beside our driver's
``stop_start`` and ``cut_over``.

``python -m ansible_collections.unikernel.fleet.tests.bench.albatross_swaps [--swaps 20] [--target spt]``; as root. On
the double, which runs Solo5's own tenders on a bridge of its own namespace, where SOLO5_BIN and SOLO5_IMAGES name its
programs and images; and on a real albatross where ALBATROSS_SOCKETS names its sockets (ALBATROSS_NETNS: the network
namespace from which its unikernels can be reached; ALBATROSS_BRIDGE: theirs, 192.0.2.10/24 is used on it).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Optional

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import ROOT
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.albatross import AlbatrossDriver
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.albatross_place import Place, Places
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.albatross_running import config_of, wanted
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.images.store import ImageStore
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import (
    Configuration,
    Network,
    Release,
    SwapMethod,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.waiter import enter_network_namespace
from ansible_collections.unikernel.fleet.tests.bench.cost_in_requests import SETTLE_S, Cost
from ansible_collections.unikernel.fleet.tests.support.guest_answers import answering_version
from ansible_collections.unikernel.fleet.tests.support.network_lab import BRIDGE, GUEST_V4, network_lab, why_not_here
from ansible_collections.unikernel.fleet.tests.support.programs import until
from ansible_collections.unikernel.fleet.tests.support.solo5_named import named_image, why_no_solo5

NAME = "fleet-bench"
DOUBLE = "ansible_collections.unikernel.fleet.tests.support.albatross"
READY = {"console": {"must_match": ["ready"]}, "within": 10}
PACES = {"spt": (0.002, 0.08), "hvt": (0.05, 1.0)}
"""Seconds between two requests, and for one. Without KVM of its own, this machine takes 20 ms for each of an hvt guest.
"""


class Bench:
    """An albatross, and a state folder of our driver."""

    def __init__(self, root: Path, place: Place, bridge: str, target: str) -> None:
        self.layout = NodeLayout(root / "state")
        self.store = ImageStore(self.layout)
        self.place, self.target = place, target
        self.driver = AlbatrossDriver(self.layout, self.store, Places(self.layout, {NAME: place}))
        self.configuration = Configuration(
            driver="albatross",
            memory_mib=32,
            networks=(Network("service", bridge),),
            arguments=(f"--ipv4={GUEST_V4}/24",),
        )
        self.images = {version: self.store.add_file(named_image(version, target)) for version in ("v1", "v2")}

    def version(self, number: int) -> str:
        """Both in turn, so that by what answers it is known which release does."""
        return "v1" if number % 2 else "v2"

    def release(self, number: int, method: SwapMethod, ready: bool) -> Release:
        configuration = replace(self.configuration, swap=method, ready=READY if ready else None)
        return Release(number, self.images[self.version(number)], configuration)

    def bare(self, number: int) -> None:
        """What albatross-client does: one force create, and its answer."""
        release = self.release(number, SwapMethod.STOP_START, False)
        content = self.store.verify(release.image).read_bytes()
        self.place.client().force_create(self.place.name(NAME), config_of(wanted(NAME, self.place, release), content))

    def by_driver(self, method: SwapMethod, ready: bool) -> Callable[[int], None]:
        def swap(number: int) -> None:
            old = self.release(number - 1, method, ready) if number > 1 else None
            self.driver.swap(NAME, old, self.release(number, method, ready))

        return swap

    def measure(self, cost: Cost, swap: Callable[[int], None], swaps: int) -> None:
        every_s, limit_s = PACES[self.target]
        swap(1)
        until(answering_version)
        with cost.counted(every_s=every_s, limit_s=limit_s) as acts:
            for number in range(2, swaps + 2):
                acts.versions.append(self.version(number).encode())
                with acts.one():
                    swap(number)
                until(answering_version)
                time.sleep(SETTLE_S)
        self.driver.swap(NAME, None, None)
        self.place.client().destroy(self.place.name(NAME))
        time.sleep(SETTLE_S)


def costs_of(bench: Bench, what: str, swaps: int, rounds: int) -> None:
    """In turns, since the load of a machine changes."""
    kinds: list[tuple[Cost, Callable[[int], None]]] = [
        (Cost(f"{what}, bare force create", "swap"), bench.bare),
        (Cost(f"{what}, stop_start", "swap"), bench.by_driver(SwapMethod.STOP_START, False)),
        (Cost(f"{what}, cut_over, ready on console", "swap"), bench.by_driver(SwapMethod.CUT_OVER, True)),
        (Cost(f"{what}, cut_over, no ready check", "swap"), bench.by_driver(SwapMethod.CUT_OVER, False)),
    ]
    for _unused in range(rounds):
        for cost, swap in kinds:
            bench.measure(cost, swap, max(1, swaps // rounds))
    for cost, _unused_swap in kinds:
        print(cost, flush=True)
    bare, ours = (cost for cost, _unused_swap in kinds[:2])
    gap = statistics.median(ours.gaps_ms) / statistics.median(bare.gaps_ms)
    first = statistics.median(ours.first_ms) / statistics.median(bare.first_ms)
    ratios = f"gap {gap:.2f}, first 200 {first:.2f}"
    print(f"{what}: stop_start beside the bare force create, ratios of the medians: {ratios}", flush=True)


@contextmanager
def double(folder: Path) -> Iterator[Place]:
    """In a process of its own: it must not share an interpreter with the client."""
    ready = folder / "ready"
    words = ["--folder", str(folder / "albatross"), "--bridge", BRIDGE, "--ready", str(ready)]
    process = subprocess.Popen([sys.executable, "-m", DOUBLE, *words, "--tenders", os.environ["SOLO5_BIN"]])
    try:
        give_up = time.monotonic() + 20
        while not ready.exists():
            if time.monotonic() > give_up or process.poll() is not None:
                raise SystemExit("the double of albatross does not start")
            time.sleep(0.05)
        yield Place(sockets=str(folder / "albatross"))
    finally:
        process.terminate()
        process.wait(20)


def on_the_double(target: str, swaps: int, rounds: int) -> None:
    with network_lab(), tempfile.TemporaryDirectory() as folder, double(Path(folder)) as place:
        costs_of(Bench(Path(folder), place, BRIDGE, target), f"double, {target}", swaps, rounds)


def on_the_real_one(sockets: str, target: str, swaps: int, rounds: int) -> None:
    namespace = os.environ.get("ALBATROSS_NETNS")
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    if namespace:
        enter_network_namespace(f"/run/netns/{namespace}")
    try:
        place = Place(sockets=sockets)
        policies = [entry.policy for entry in place.client().policies(ROOT) if entry.name == ROOT]
        bridge = os.environ.get("ALBATROSS_BRIDGE") or policies[0].bridges[0]
        with tempfile.TemporaryDirectory() as folder:
            costs_of(Bench(Path(folder), place, bridge, target), f"albatross, {target}", swaps, rounds)
    finally:
        enter_network_namespace(f"/proc/self/fd/{before}")
        os.close(before)


def why_not_live() -> Optional[str]:
    missing = [name for name in ("ALBATROSS_SOCKETS", "SOLO5_IMAGES") if not os.environ.get(name)]
    return f"{' and '.join(missing)} not set" if missing else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--swaps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--target", choices=tuple(PACES), default="spt")
    parser.add_argument("--only", choices=("double", "live"))
    options = parser.parse_args()
    for which, absent in (("double", why_not_here() or why_no_solo5()), ("live", why_not_live())):
        if options.only not in (None, which):
            continue
        if absent:
            print(f"swaps on albatross ({which}) left out: {absent}")
        elif which == "double":
            on_the_double(options.target, options.swaps, options.rounds)
        else:
            on_the_real_one(os.environ["ALBATROSS_SOCKETS"], options.target, options.swaps, options.rounds)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
