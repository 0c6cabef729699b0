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

import argparse
import multiprocessing
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.codec import encode
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.albatross_place import Place
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import Network
from ansible_collections.unikernel.fleet.tests.bench.rehearsal import REHEARSED, Measured
from ansible_collections.unikernel.fleet.tests.support.albatross_node import NAME, AlbatrossNode
from ansible_collections.unikernel.fleet.tests.support.albatross_process import albatross_process
from ansible_collections.unikernel.fleet.tests.support.albatross_rehearsing import (
    GIVEN,
    QUARANTINE,
    make_quarantine,
    web_image,
)
from ansible_collections.unikernel.fleet.tests.support.network_lab import (
    BRIDGE,
    GUEST_V4,
    network_lab,
    why_not_here,
)
from ansible_collections.unikernel.fleet.tests.support.requests_without_end import Client

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

    def image(variant: str) -> bytes:
        return (Path(os.environ["SOLO5_IMAGES"]) / f"{variant}.{target}").read_bytes()

    place = Place(sockets=os.environ["ALBATROSS_SOCKETS"], quarantine_bridge=quarantine)
    node = AlbatrossNode(folder / "node", place)
    network = Network("service", bridge, addresses=(f"{GUEST_V4}/24",))
    given = {"networks": [encode(network)], "arguments": [f"--ipv4={GUEST_V4}/24"]}
    broken = {variant: image(variant) for variant in ("v3-unhealthy", "v5-hang") if _has(variant, target)}
    try:
        yield Bench(f"albatross, {target}", node, image("v1"), broken, given)
    finally:
        node.driver.swap(NAME, None, None)


def _has(variant: str, target: str) -> bool:
    return (Path(os.environ["SOLO5_IMAGES"]) / f"{variant}.{target}").exists()


NOTHING = "nothing"
QUIET_S = 1.5


def measured(bench: Bench, what: str, times: int) -> Measured:
    """One row of the table; of ``nothing`` it shows what the machine's other business costs in as much time."""
    bench.node.declare(bench.good, options=replace(REHEARSED, rehearse=False), **bench.given)
    time.sleep(0.5)
    durations = []
    with worker(lambda: _rehearsed(bench, what)) as rehearse, Client(GUEST_V4) as client:
        time.sleep(0.2)
        for _unused in range(times):
            begun = time.monotonic()
            rehearse()
            durations.append(1000 * (time.monotonic() - begun))
        time.sleep(0.2)
    failed = Counter(request.outcome for request in client.failed())
    row = f"{bench.what}, {what}"
    return Measured(row, times, len(client.requests), failed, 1000 * client.longest_gap_s(), tuple(durations))


def _rehearsed(bench: Bench, what: str) -> None:
    if what == NOTHING:
        time.sleep(QUIET_S)
        return
    bench.node.declare(bench.broken[what], options=REHEARSED, **bench.given)
    state = bench.node.node().journal(NAME).read()
    if state.ended is None or state.ended.outcome != "refused":
        raise AssertionError(f"{what} was not refused: {state.ended}")


@contextmanager
def worker(work: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Does it in a process of its own, in this network namespace: a client in the same interpreter would stand still
    while that starts a program."""
    here, there = multiprocessing.Pipe()

    def serve() -> None:
        while there.recv():
            work()
            there.send(True)

    process = multiprocessing.get_context("fork").Process(target=serve, daemon=True)
    process.start()
    there.close()

    def done() -> None:
        here.send(True)
        here.recv()  # EOFError: it failed, and said why

    try:
        yield done
    finally:
        here.send(False)
        process.join(10.0)
        process.kill()


def rows(times: int) -> Iterator[Measured]:
    with tempfile.TemporaryDirectory() as folder, on_the_double(Path(folder)) as bench:
        for what in (NOTHING, *bench.broken):
            yield measured(bench, what, times)
    absent = [name for name in NEEDED if not os.environ.get(name)]
    if absent:
        print(f"a real albatross left out: {', '.join(absent)} not set")
        return
    with tempfile.TemporaryDirectory() as folder, on_a_real_one(Path(folder)) as bench:
        for what in (NOTHING, *bench.broken):
            yield measured(bench, what, times)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    options = parser.parse_args()
    reason = why_not_here()
    if reason:
        print(f"left out: {reason}")
        return 0
    lost = 0
    for result in rows(options.times):
        print(result, flush=True)
        lost += 0 if result.what.endswith(NOTHING) else sum(result.failed.values())
    return 1 if lost else 0


if __name__ == "__main__":
    raise SystemExit(main())
