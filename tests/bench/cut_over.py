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
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.process_driver import ProcessDriver
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.registry import open_driver
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.unix import UnixGuest
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.images.store import ImageStore
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import (
    Configuration,
    Image,
    Network,
    Release,
    SwapMethod,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.detached import DetachedSupervisor
from ansible_collections.unikernel.fleet.tests.support.network_lab import (
    BRIDGE,
    GUEST_V4,
    GUEST_V6,
    network_lab,
    why_not_here,
)
from ansible_collections.unikernel.fleet.tests.support.programs import end_all_instances, write_program
from ansible_collections.unikernel.fleet.tests.support.requests_without_end import Client
from ansible_collections.unikernel.fleet.tests.support.web_program import web_program

NAME = "hello"
WINDOW_S = 0.25
"""About as long as a swap on a machine that has nothing else to do."""
BURST_S = 0.1
PATIENCE_S = 3.0
"""What was lost is sent again after 0.2 s or 1 s; what comes before was only late."""


@dataclass(frozen=True)
class Measured:
    """What a row of swaps cost."""

    what: str
    swaps: int
    requests: int
    failed: Counter[str]
    gaps_ms: tuple[float, ...]
    """Per swap, the longest time between two good answers around it."""
    swap_ms: tuple[float, ...]
    took_s: float
    """All of it, for as long as there were requests."""
    bursts: int
    """How often requests failed: those that fail within a tenth of a second count as one."""

    def __str__(self) -> str:
        worst = max(self.gaps_ms)
        detail = f" {dict(self.failed)} in {self.bursts} bursts" if self.failed else ""
        took = f"; a swap takes {statistics.median(self.swap_ms):.0f} ms" if self.swap_ms else ""
        return (
            f"{self.what:<28} {self.swaps:>3} swaps, {self.requests:>6} requests, {sum(self.failed.values())} failed"
            f"{detail}; gap median {statistics.median(self.gaps_ms):.1f} ms, worst {worst:.1f} ms{took}"
        )


class Bench:
    """A state folder in a network of its own."""

    def __init__(self, root: Path, driver: str) -> None:
        self.layout = NodeLayout(root / "state")
        self.store = ImageStore(self.layout)
        if driver == "unix":
            self.driver: Any = ProcessDriver(UnixGuest(), self.layout, self.store, DetachedSupervisor())
        else:
            self.driver = open_driver(driver, self.layout, self.store)
        self._root = root

    def program(self, version: str) -> Image:
        path = write_program(self._root / "incoming", web_program(version), 0o755)
        image = self.store.add_file(path)
        path.unlink()
        return image

    def file(self, path: Path) -> Image:
        return self.store.add_file(path)

    def measure_rest(self, what: str, release: Release, windows: int) -> Measured:
        """What the same client loses while nothing is swapped, for about as long."""
        self.driver.swap(NAME, None, release)
        time.sleep(0.3)
        gaps = []
        with Client(GUEST_V4, patience_s=PATIENCE_S) as client:
            time.sleep(0.2)
            for _unused in range(windows):
                begun = time.monotonic()
                time.sleep(WINDOW_S)
                gaps.append(1000 * client.longest_gap_s(begun))
        self.driver.swap(NAME, release, None)
        return _measured(what, client, gaps, ())

    def measure(self, what: str, first: Release, second: Release, swaps: int, confirm: bool) -> Measured:
        self.driver.swap(NAME, None, first)
        time.sleep(0.3)
        gaps, durations = [], []
        with Client(GUEST_V4, patience_s=PATIENCE_S) as client:
            time.sleep(0.2)
            old = first
            for index in range(swaps):
                new = replace(second if index % 2 == 0 else first, number=index + 2)
                begun = time.monotonic()
                self.driver.swap(NAME, old, new)
                durations.append(1000 * (time.monotonic() - begun))
                time.sleep(0.15)
                if confirm:
                    self.driver.stop(NAME, old.number)
                    self.driver.discard(NAME, old.number)
                gaps.append(1000 * client.longest_gap_s(begun))
                old = new
        self.driver.swap(NAME, old, None)
        return _measured(what, client, gaps, durations)


def _measured(what: str, client: Client, gaps: Sequence[float], durations: Sequence[float]) -> Measured:
    failed = client.failed()
    begins = [request.begun_s for request in failed]
    return Measured(
        what,
        len(durations),
        len(client.requests),
        Counter(request.outcome for request in failed),
        tuple(gaps),
        tuple(durations),
        took_s=client.requests[-1].begun_s - client.requests[0].begun_s,
        bursts=sum(later - earlier > BURST_S for earlier, later in zip([float("-inf"), *begins], begins)),
    )


def _unix(bench: Bench) -> tuple[Image, Image, dict[str, Any]]:
    return bench.program("v1"), bench.program("v2"), {"driver": "unix"}


def _spt(bench: Bench) -> tuple[Image, Image, dict[str, Any]]:
    images = Path(os.environ["SOLO5_IMAGES"])
    given = {"driver": "solo5", "memory_mib": 32, "arguments": (f"--ipv4={GUEST_V4}/24",)}
    return bench.file(images / "v1.spt"), bench.file(images / "v2.spt"), given


Kind = Callable[[Bench], tuple[Image, Image, dict[str, Any]]]


def measured(driver: str, kind: Kind, method: Optional[SwapMethod], swaps: int, rest_s: float = 0.0) -> Measured:
    """One row of the table; without a method, nothing is swapped in it for so long."""
    with network_lab() as lab, tempfile.TemporaryDirectory() as folder:
        try:
            bench = Bench(Path(folder), driver)
            lab.watch_over(bench.layout.root, NAME)
            one, other, given = kind(bench)
            addresses = (f"{GUEST_V4}/24", f"{GUEST_V6}/64") if driver == "unix" else (f"{GUEST_V4}/24",)
            configuration = Configuration(
                networks=(Network("service", BRIDGE, addresses=addresses),),
                swap=method or SwapMethod.STOP_START,
                ready={"http": {"url": f"http://{GUEST_V4}/health"}, "timeout": 1, "within": 10},
                **given,
            )
            first, second = Release(1, one, configuration), Release(2, other, configuration)
            bench.driver.validate(NAME, first)
            if method is None:
                return bench.measure_rest(f"{driver}, no swap", first, max(1, round(rest_s / WINDOW_S)))
            confirm = method is SwapMethod.CUT_OVER
            return bench.measure(f"{driver}, {method.value}", first, second, swaps, confirm)
        finally:
            end_all_instances(Path(folder))


def why_no_solo5() -> Optional[str]:
    """Why the rows of Solo5 are left out; None when they are not."""
    missing = [variable for variable in ("SOLO5_BIN", "SOLO5_IMAGES") if not os.environ.get(variable)]
    return f"{' and '.join(missing)} not set" if missing else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--swaps", type=int, default=50)
    parser.add_argument("--only", choices=("unix", "solo5"))
    options = parser.parse_args()
    reason = why_not_here()
    if reason:
        print(f"left out: {reason}")
        return 0
    rows: list[tuple[str, Kind]] = [("unix", _unix)]
    absent = why_no_solo5()
    if absent:
        print(f"solo5 left out: {absent}")
    else:
        os.environ["PATH"] = f"{os.environ['SOLO5_BIN']}:{os.environ['PATH']}"
        rows.append(("solo5", _spt))
    # The client is a thread of this process: by default one that computes may keep it waiting for 5 ms.
    sys.setswitchinterval(0.0005)
    lost = 0
    for driver, kind in rows:
        if options.only in (None, driver):
            rest_s = 0.0
            for method in (SwapMethod.CUT_OVER, None, SwapMethod.STOP_START):
                result = measured(driver, kind, method, options.swaps, rest_s)
                print(result, flush=True)
                rest_s = result.took_s
                lost += sum(result.failed.values()) if method is SwapMethod.CUT_OVER else 0
    return 1 if lost else 0


if __name__ == "__main__":
    raise SystemExit(main())
