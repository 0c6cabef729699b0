# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many requests a broken build costs that is rehearsed: a new one every 2 ms, each with 80 ms to be answered.

``python -m ansible_collections.unikernel.fleet.tests.bench.rehearsal [--times 20]``; as root. Programs in network
namespaces always; Solo5's spt tender where SOLO5_BIN and SOLO5_IMAGES name its programs and images.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.declaration import checks_from
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.model import Schedule
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.codec import encode
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import Image
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.node import Node
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.proposal import Declaration
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import TrialOptions, locked
from ansible_collections.unikernel.fleet.tests.bench.cut_over import Bench, why_no_solo5
from ansible_collections.unikernel.fleet.tests.support.fleet_node import ME
from ansible_collections.unikernel.fleet.tests.support.network_lab import GUEST_V4, network_lab, why_not_here
from ansible_collections.unikernel.fleet.tests.support.programs import end_all_instances
from ansible_collections.unikernel.fleet.tests.support.rehearsing import SERVICE
from ansible_collections.unikernel.fleet.tests.support.requests_without_end import Client
from ansible_collections.unikernel.fleet.tests.support.web_program import web_program

NAME = "hello"
CHECKS = checks_from([{"process": {}}, {"http": f"http://{GUEST_V4}/health", "timeout": 0.5}], None)
SCHEDULE = Schedule(deadline_s=1.0, stable_for_s=0.2, consecutive=2, delays_s=(0.05,), interval_s=0.05)
REHEARSED = TrialOptions(timeout_s=0.0, checks=CHECKS, schedule=SCHEDULE, rehearse=True, retry_failed=True)


@dataclass(frozen=True)
class Measured:
    """What a row of rehearsals cost."""

    what: str
    times: int
    requests: int
    failed: Counter[str]
    longest_gap_ms: float
    """Between two good answers."""
    rehearsal_ms: tuple[float, ...]

    def __str__(self) -> str:
        detail = f" {dict(self.failed)}" if self.failed else ""
        return (
            f"{self.what:<32} {self.times:>3} rehearsals, {self.requests:>6} requests, "
            f"{sum(self.failed.values())} failed{detail}; longest gap {self.longest_gap_ms:.1f} ms; "
            f"a rehearsal takes {statistics.median(self.rehearsal_ms):.0f} ms"
        )


@dataclass(frozen=True)
class Row:
    """A broken build, beside the good one that serves."""

    what: str
    driver: str
    good: Callable[[Bench], Image]
    broken: Callable[[Bench], Image]
    given: dict[str, Any]


def rows() -> Sequence[Row]:
    def program(behaviour: str) -> Callable[[Bench], Image]:
        return lambda bench: bench.store.add_stream([web_program("v2", behaviour).encode("utf-8")])

    network = encode(SERVICE)
    unix = {"networks": [network], "stop_grace_s": 1.0}
    found = [
        Row(f"unix, {behaviour}", "unix", program("well"), program(behaviour), unix)
        for behaviour in ("crash", "sick", "hang")
    ]
    absent = why_no_solo5()
    if absent:
        print(f"solo5 left out: {absent}")
        return found
    os.environ["PATH"] = f"{os.environ['SOLO5_BIN']}:{os.environ['PATH']}"
    spt = {
        "driver": "solo5",
        "memory_mib": 32,
        "arguments": [f"--ipv4={GUEST_V4}/24"],
        "networks": [{**network, "addresses": [f"{GUEST_V4}/24"]}],
        "stop_grace_s": 1.0,
    }

    def image(variant: str) -> Callable[[Bench], Image]:
        return lambda bench: bench.file(Path(os.environ["SOLO5_IMAGES"]) / f"{variant}.spt")

    return [
        *found,
        *(Row(f"solo5-spt, {v}", "solo5", image("v1"), image(v), spt) for v in ("v3-unhealthy", "v5-hang")),
    ]


def measured(row: Row, times: int) -> Measured:
    """One row of the table."""
    with network_lab() as lab, tempfile.TemporaryDirectory() as folder:
        try:
            bench = Bench(Path(folder), row.driver)
            lab.watch_over(bench.layout.root, NAME)
            node = Node(bench.layout, bench.store, lambda name: bench.driver)
            return _rehearsed(row, node, bench, times)
        finally:
            end_all_instances(Path(folder))


def _rehearsed(row: Row, node: Node, bench: Bench, times: int) -> Measured:
    def declare(image: Image, options: TrialOptions) -> None:
        with locked(node, NAME, ME) as transaction:
            transaction.declare(Declaration(image=image, configuration=row.given), options, None)

    declare(row.good(bench), replace(REHEARSED, rehearse=False))
    broken = row.broken(bench)
    durations = []
    time.sleep(0.5)
    with Client(GUEST_V4) as client:
        time.sleep(0.2)
        for _unused in range(times):
            begun = time.monotonic()
            declare(broken, REHEARSED)
            durations.append(1000 * (time.monotonic() - begun))
            state = node.journal(NAME).read()
            if state.ended is None or state.ended.outcome != "refused":
                raise AssertionError(f"{row.what} was not refused: {state.ended}")
        time.sleep(0.2)
    failed = Counter(request.outcome for request in client.failed())
    return Measured(row.what, times, len(client.requests), failed, 1000 * client.longest_gap_s(), tuple(durations))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    options = parser.parse_args()
    reason = why_not_here()
    if reason:
        print(f"left out: {reason}")
        return 0
    lost = 0
    for row in rows():
        result = measured(row, options.times)
        print(result, flush=True)
        lost += sum(result.failed.values())
    return 1 if lost else 0


if __name__ == "__main__":
    raise SystemExit(main())
