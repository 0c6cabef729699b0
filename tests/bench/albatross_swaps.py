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
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
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
from ansible_collections.unikernel.fleet.tests.bench.cut_over import why_no_solo5
from ansible_collections.unikernel.fleet.tests.support.network_lab import BRIDGE, GUEST_V4, network_lab, why_not_here
from ansible_collections.unikernel.fleet.tests.support.requests_without_end import Client, Request

NAME = "fleet-bench"
DOUBLE = "ansible_collections.unikernel.fleet.tests.support.albatross"
READY = {"console": {"must_match": ["ready"]}, "within": 10}
PACES = {"spt": (0.002, 0.08), "hvt": (0.05, 1.0)}
"""Seconds between two requests, and for one. Without KVM of its own, this machine takes 20 ms for each of an hvt guest.
"""
SETTLE_S = 0.3
FORK = multiprocessing.get_context("fork")
"""It stays in the network namespace of the thread that forks."""


@dataclass
class Row:
    """What swaps of one kind cost."""

    what: str
    swaps: int = 0
    requests: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    gaps_ms: list[float] = field(default_factory=list)
    """Per swap, the longest time between two good answers around it."""
    first_ms: list[float] = field(default_factory=list)
    """Per swap, from the request for it to the first good answer of the new one."""
    swap_ms: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        failed = sum(self.failed.values())
        detail = f" {dict(self.failed)}" if self.failed else ""
        return (
            f"{self.what:<34} {self.swaps:>3} swaps, {self.requests:>6} requests, {failed} failed{detail}, "
            f"{failed / max(1, self.swaps):.1f} a swap; gap median {statistics.median(self.gaps_ms):.1f} ms, worst "
            f"{max(self.gaps_ms):.1f} ms; first 200 of the new one after {statistics.median(self.first_ms):.1f} ms; a "
            f"swap takes {statistics.median(self.swap_ms):.0f} ms"
        )


class Bench:
    """An albatross, and a state folder of our driver."""

    def __init__(self, root: Path, place: Place, bridge: str, target: str) -> None:
        self.layout = NodeLayout(root / "state")
        self.store = ImageStore(self.layout)
        self.place, self.target = place, target
        self.driver = AlbatrossDriver(self.layout, self.store, Places(self.layout, {NAME: place}))
        images = Path(os.environ["SOLO5_IMAGES"])
        self.configuration = Configuration(
            driver="albatross",
            memory_mib=32,
            networks=(Network("service", bridge),),
            arguments=(f"--ipv4={GUEST_V4}/24",),
        )
        self.versions = [
            Release(number, self.store.add_file(images / f"v{number}.{target}"), self.configuration)
            for number in (1, 2)
        ]

    def release(self, number: int, method: SwapMethod, ready: bool) -> Release:
        """Of both images in turn; also which version answers is known by it."""
        configuration = replace(self.configuration, swap=method, ready=READY if ready else None)
        return replace(self.versions[(number - 1) % 2], number=number, configuration=configuration)

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

    def measure(self, row: Row, swap: Callable[[int], None], swaps: int) -> None:
        every_s, limit_s = PACES[self.target]
        swap(1)
        self._until_it_answers()
        begun: list[float] = []
        with apart(every_s, limit_s) as requests:
            time.sleep(SETTLE_S)
            for number in range(2, swaps + 2):
                begun.append(time.monotonic())
                swap(number)
                row.swap_ms.append(1000 * (time.monotonic() - begun[-1]))
                self._until_it_answers()
                time.sleep(SETTLE_S)
        for index, (since, until) in enumerate(zip(begun, [*begun[1:], time.monotonic()])):
            version = f"v{(index + 1) % 2 + 1}".encode()
            good = sorted((r.ended_s or 0.0, r.body) for r in requests if r.outcome == "ok")
            ends = [at for at, _body in good if since - 5 * every_s <= at < until]
            row.gaps_ms.append(1000 * max(b - a for a, b in zip(ends, ends[1:])))
            row.first_ms.append(1000 * (next(at for at, body in good if at >= since and body == version) - since))
        row.swaps += swaps
        row.requests += len(requests)
        row.failed.update(request.outcome for request in requests if request.outcome != "ok")
        self.driver.swap(NAME, None, None)
        self.place.client().destroy(self.place.name(NAME))
        time.sleep(SETTLE_S)

    def _until_it_answers(self, within_s: float = 10.0) -> None:
        give_up = time.monotonic() + within_s
        while True:
            with Client(GUEST_V4, every_s=0.05, limit_s=1.0) as client:
                time.sleep(0.1)
            if any(request.outcome == "ok" for request in client.requests):
                return
            if time.monotonic() > give_up:
                raise SystemExit(f"{NAME} does not answer at {GUEST_V4}: {client.requests[-1].outcome}")


def rows_of(bench: Bench, what: str, swaps: int, rounds: int) -> list[Row]:
    """In turns, since the load of a machine changes."""
    kinds: list[tuple[Row, Callable[[int], None]]] = [
        (Row(f"{what}, bare force create"), bench.bare),
        (Row(f"{what}, stop_start"), bench.by_driver(SwapMethod.STOP_START, False)),
        (Row(f"{what}, cut_over, ready on console"), bench.by_driver(SwapMethod.CUT_OVER, True)),
        (Row(f"{what}, cut_over, no ready check"), bench.by_driver(SwapMethod.CUT_OVER, False)),
    ]
    for _unused in range(rounds):
        for row, swap in kinds:
            bench.measure(row, swap, max(1, swaps // rounds))
    for row, _unused_swap in kinds:
        print(row, flush=True)
    bare, ours = (statistics.median(row.gaps_ms) for row, _unused_swap in kinds[:2])
    first_bare, first_ours = (statistics.median(row.first_ms) for row, _unused_swap in kinds[:2])
    ratios = f"gap {ours / bare:.2f}, first 200 {first_ours / first_bare:.2f}"
    print(f"{what}: stop_start beside the bare force create, ratios of the medians: {ratios}", flush=True)
    return [row for row, _unused_swap in kinds]


@contextmanager
def apart(every_s: float, limit_s: float) -> Iterator[list[Request]]:
    """Requests from a process of their own, which what a driver computes does not keep waiting; all there at the
    end."""
    ours, theirs = FORK.Pipe()
    process = FORK.Process(target=_ask, args=(theirs, every_s, limit_s), daemon=True)
    process.start()
    requests: list[Request] = []
    try:
        yield requests
    finally:
        ours.send("enough")
        requests += ours.recv()
        process.join(10)


def _ask(connection: Connection, every_s: float, limit_s: float) -> None:
    with Client(GUEST_V4, every_s=every_s, limit_s=limit_s) as client:
        connection.recv()
    connection.send(client.requests)


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
        rows_of(Bench(Path(folder), place, BRIDGE, target), f"double, {target}", swaps, rounds)


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
            rows_of(Bench(Path(folder), place, bridge, target), f"albatross, {target}", swaps, rounds)
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
