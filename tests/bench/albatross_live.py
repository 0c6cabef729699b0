# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a replacement costs on a real albatross, in requests, beside a bare force create of the same server; and how
long a listing of 200 unikernels takes that really run.

``python -m ansible_collections.unikernel.fleet.tests.bench.albatross_live [--swaps 50] [--many 200]``, with
ALBATROSS_SOCKETS, SOLO5_IMAGES and, as in tests/live, ALBATROSS_BRIDGE, ALBATROSS_TARGET and ALBATROSS_NETWORK. Its
unikernels are called ``fleet-bench-...`` and are destroyed in the end; no other is touched. Each request has 80 ms with
spt; with hvt 500 ms, since KVM may run a guest step by step.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.client import Client
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import (
    NetworkUse,
    UnikernelConfig,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.albatross import AlbatrossDriver
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.albatross_place import Place, Places
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.images.store import ImageStore
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import Configuration, Network, Release
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.mac import derived_mac
from ansible_collections.unikernel.fleet.tests.support.requests_without_end import Client as Requests

NAME = "fleet-bench-hello"
OTHER = "fleet-bench-other"
"""The second label of the same unikernel, where two take turns."""
THEIRS, OURS = "bare force create", "the driver's swap"
CALLS = 30
LONG_MS = 500
"""Of a gap: the kernel hears of a tap's carrier up to a second late, and the bridge sends nothing there until then."""
PATIENCE_S = 20.0
NEEDED = ("ALBATROSS_SOCKETS", "SOLO5_IMAGES")
AHEAD_S = 0.05
"""How long two labels are on the bridge at once: about what a new one needs until it answers."""
Swap = Callable[[int], None]
"""Put version 1 (for an even number) or 2 into service."""


@dataclass(frozen=True)
class Server:
    """A real albatross, two images for it, and an address on its bridge."""

    sockets: str
    bridge: str
    address: str
    arguments: tuple[str, ...]
    images: tuple[bytes, bytes]
    target: str

    @property
    def client(self) -> Client:
        return Place(sockets=self.sockets).client()

    def config(self, image: bytes) -> UnikernelConfig:
        networks = (NetworkUse("service", self.bridge, derived_mac("service", NAME, "")),)
        return UnikernelConfig(image=image, networks=networks, arguments=self.arguments, add_name=False)

    def requests(self) -> Requests:
        patient = self.target == "hvt"
        return Requests(self.address, every_s=0.01 if patient else 0.002, limit_s=0.5 if patient else 0.08)


def server() -> Server:
    images, target = Path(os.environ["SOLO5_IMAGES"]), os.environ.get("ALBATROSS_TARGET", "hvt")
    network = ipaddress.ip_network(os.environ.get("ALBATROSS_NETWORK", "192.0.2.0/24"))
    address = network[-2]
    sockets = os.environ["ALBATROSS_SOCKETS"]
    bridge = os.environ.get("ALBATROSS_BRIDGE") or Place(sockets=sockets).client().policies()[0].policy.bridges[0]
    arguments = (f"--ipv{address.version}={address}/{network.prefixlen}",)
    first, second = ((images / f"{version}.{target}").read_bytes() for version in ("v1", "v2"))
    return Server(sockets, bridge, str(address), arguments, (first, second), target)


# --- ways to replace ---


@contextmanager
def bare(server: Server) -> Iterator[Swap]:
    """As `albatross-client create --force` does."""
    client = server.client

    def swap(number: int) -> None:
        client.force_create(Name((), NAME), server.config(server.images[number % 2]))

    yield swap


@contextmanager
def by_driver(server: Server) -> Iterator[Swap]:
    """Everything that the driver does at a swap: looking, recording, replacing, looking again."""
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as folder:
        layout = NodeLayout(Path(folder))
        store = ImageStore(layout)
        driver = AlbatrossDriver(layout, store, Places(layout, {NAME: Place(sockets=server.sockets)}))
        images = [store.add_stream([content]) for content in server.images]
        configuration = Configuration(
            driver="albatross", networks=(Network("service", server.bridge),), arguments=server.arguments
        )
        before: list[Release] = []

        def swap(number: int) -> None:
            release = Release(number + 1, images[number % 2], configuration)
            driver.validate(NAME, release)
            driver.swap(NAME, before[-1] if before else None, release)
            before.append(release)

        yield swap


@contextmanager
def two_labels(server: Server) -> Iterator[Swap]:
    """The new one beside the old one, with the same MAC on the same bridge; then the old one is destroyed."""
    client = server.client

    def swap(number: int) -> None:
        new, old = (NAME, OTHER) if number % 2 == 0 else (OTHER, NAME)
        client.create(Name((), new), server.config(server.images[number % 2]))
        if number:
            time.sleep(AHEAD_S)
            client.destroy(Name((), old))

    yield swap


# --- measuring ---


@dataclass
class Row:
    what: str
    requests: int = 0
    failed: int = 0
    gaps_ms: list[float] = field(default_factory=list)
    """Per replacement, the longest time between two good answers around it."""
    first_ms: list[float] = field(default_factory=list)
    """Per replacement, from its begin to the first answer of the new one."""

    def __str__(self) -> str:
        long = sum(gap > LONG_MS for gap in self.gaps_ms)
        return (
            f"{self.what:<36} {len(self.gaps_ms):>3} swaps, {self.requests:>6} requests, {self.failed:>4} failed; gap "
            f"median {statistics.median(self.gaps_ms):.1f} ms, worst {max(self.gaps_ms):.1f} ms, {long} above "
            f"{LONG_MS} ms; first answer after {statistics.median(self.first_ms):.1f} ms"
        )


def measured(server: Server, ways: dict[str, Swap], swaps: int) -> list[Row]:
    """Several ways take turns, since what else the machine does changes from minute to minute."""
    rows = [Row(what) for what in ways]
    settled_s = 0.15 if server.target == "spt" else 0.5
    try:
        next(iter(ways.values()))(0)
        time.sleep(1.0)
        with server.requests() as asking:
            time.sleep(0.3)
            for number in range(1, swaps * len(rows) + 1):
                row = rows[number % len(rows)]
                begun = time.monotonic()
                ways[row.what](number)
                row.first_ms.append(1_000 * first_of(asking, begun, f"v{1 + number % 2}".encode()))
                time.sleep(settled_s)
                row.gaps_ms.append(1_000 * asking.longest_gap_s(begun))
                of_it = [one for one in asking.requests if one.begun_s >= begun and one.outcome]
                row.requests += len(of_it)
                row.failed += sum(one.outcome != "ok" for one in of_it)
                if number % 10 == 0:
                    # What was asked long ago is of no use any more, and is looked through at each swap.
                    asking.requests[:-1_000] = []
    finally:
        for label in (NAME, OTHER):
            server.client.destroy(Name((), label))
    return rows


def first_of(asking: Requests, begun: float, says: bytes) -> float:
    """Seconds from a moment to the first answer of a version."""
    while time.monotonic() < begun + PATIENCE_S:
        ends = [one.ended_s for one in asking.requests if one.ended_s and one.begun_s >= begun and says in one.body]
        if ends:
            return min(ends) - begun
        time.sleep(0.01)
    raise SystemExit(f"{says.decode()} did not answer within {PATIENCE_S:g} s")


def listing(server: Server, many: int) -> str:
    """Of so many that run, each without a network to answer on but its own."""
    client = server.client
    names = [Name((), f"fleet-bench-{number}") for number in range(many)]
    config = replace(server.config(server.images[0]), memory_mib=16)
    started = 0
    walls, cpus = [], []
    try:
        for name in names:
            use = NetworkUse("service", server.bridge, derived_mac("service", name.label or "", ""))
            client.create(name, replace(config, networks=(use,)))
            started += 1
        time.sleep(2.0)
        for _unused in range(CALLS):
            wall, cpu = time.perf_counter(), time.thread_time()
            found = client.unikernels()
            walls.append(1_000 * (time.perf_counter() - wall))
            cpus.append(1_000 * (time.thread_time() - cpu))
            if not set(names) <= {entry.name for entry in found}:
                raise SystemExit(f"only {len(found)} of {many} unikernels were listed")
    finally:
        for name in names[:started]:
            client.destroy(name)
    return (
        f"{f'{many} unikernels in one call':<36} {statistics.median(walls):.1f} ms median, {max(walls):.1f} worst of "
        f"{CALLS}; {statistics.median(cpus):.1f} ms of the client's processor"
    )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--swaps", type=int, default=50)
    parser.add_argument("--many", type=int, default=200)
    options = parser.parse_args()
    missing = [variable for variable in NEEDED if not os.environ.get(variable)]
    if missing:
        print(f"a real albatross: not measured, {', '.join(missing)} not set")
        return 0
    here = server()
    print(f"a real albatross, solo5-{here.target}")
    with bare(here) as theirs, by_driver(here) as ours:
        rows = measured(here, {THEIRS: theirs, OURS: ours}, options.swaps)
    with two_labels(here) as beside:
        rows += measured(here, {"two labels of one MAC": beside}, options.swaps)
    print(*rows, sep="\n", flush=True)
    ratio = statistics.median(rows[1].gaps_ms) / statistics.median(rows[0].gaps_ms)
    print(f"{'gap, driver to bare':<36} {ratio:.2f} (at most 1.1 wanted)")
    print(listing(here, options.many), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
