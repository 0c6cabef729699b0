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
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class Measured:
    what: str
    swaps: int
    requests: int
    failed: int
    gaps_ms: tuple[float, ...]
    """Per replacement, the longest time between two good answers around it."""
    first_ms: tuple[float, ...]
    """Per replacement, from its request to the first answer of the new one."""

    def __str__(self) -> str:
        return (
            f"{self.what:<36} {self.swaps:>3} swaps, {self.requests:>6} requests, {self.failed:>4} failed; gap median "
            f"{statistics.median(self.gaps_ms):.1f} ms, worst {max(self.gaps_ms):.1f} ms; first answer after "
            f"{statistics.median(self.first_ms):.1f} ms"
        )


def measured(what: str, server: Server, swap: Swap, swaps: int) -> Measured:
    gaps, firsts = [], []
    try:
        swap(0)
        time.sleep(1.0)
        with server.requests() as asking:
            time.sleep(0.3)
            for number in range(1, swaps + 1):
                begun = time.monotonic()
                swap(number)
                time.sleep(0.3 if server.target == "spt" else 1.0)
                gaps.append(1_000 * asking.longest_gap_s(begun))
                firsts.append(1_000 * first_of(asking, begun, f"v{1 + number % 2}".encode()))
    finally:
        for label in (NAME, OTHER):
            server.client.destroy(Name((), label))
    return Measured(what, swaps, len(asking.requests), len(asking.failed()), tuple(gaps), tuple(firsts))


def first_of(asking: Requests, begun: float, says: bytes) -> float:
    """Seconds from a moment to the first answer of a version."""
    ends = [one.ended_s for one in asking.requests if one.ended_s and one.begun_s >= begun and says in one.body]
    if not ends:
        raise SystemExit(f"{says.decode()} never answered")
    return min(ends) - begun


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
    medians = {}
    for what, way in ((THEIRS, bare), (OURS, by_driver), ("two labels of one MAC", two_labels)):
        with way(here) as swap:
            row = measured(what, here, swap, options.swaps)
        medians[what] = statistics.median(row.gaps_ms)
        print(row, flush=True)
    ratio = medians[OURS] / medians[THEIRS]
    print(f"{'gap, driver to bare':<36} {ratio:.2f} (1.1 wanted)")
    print(listing(here, options.many), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
