# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long our client takes to hear of 200 unikernels in one call: with its reading, without the server's work."""

from __future__ import annotations

import hashlib
import statistics
import tempfile
import time
from pathlib import Path

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross import wire
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.client import Client
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.messages import Message, Unikernels
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import ROOT, Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import (
    NamedInfo,
    NetworkInfo,
    UnikernelInfo,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.unix_sockets import UnixSockets
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.mac import derived_mac
from ansible_collections.unikernel.fleet.tests.support.raw_servers import answering, unix_server

UNIKERNELS = 200
CALLS = 30


def listing(size: int) -> bytes:
    """A frame as a real server sends it, prepared beforehand."""
    entries = []
    for number in range(size):
        label = f"unikernel-{number}"
        info = UnikernelInfo(
            memory_mib=64,
            digest=hashlib.sha256(label.encode()).digest(),
            cpus=(number % 2,),
            networks=(NetworkInfo("service", "br0", derived_mac("service", label, "tenant")),),
            arguments=(f"--ipv4=192.0.2.{number % 250}/24", "--ipv4-gateway=192.0.2.254", f"--name={label}"),
            started="20261122030201.610Z",
        )
        entries.append(NamedInfo(Name(("tenant",), label), info))
    return wire.framed(wire.encode(Message(ROOT, Unikernels(tuple(entries)))))


def wall_and_cpu_ms() -> tuple[float, float, float]:
    """Of one call, from the connection to the last dataclass: median and worst wall time, median processor time of
    the calling thread."""
    answer = listing(UNIKERNELS)
    walls, cpus = [], []
    with tempfile.TemporaryDirectory() as folder:
        client = Client(UnixSockets(Path(folder)))
        with unix_server(Path(folder) / "vmmd.sock", answering(answer)):
            for _unused in range(CALLS):
                wall, cpu = time.perf_counter(), time.thread_time()
                found = client.unikernels()
                walls.append(1_000 * (time.perf_counter() - wall))
                cpus.append(1_000 * (time.thread_time() - cpu))
                if len(found) != UNIKERNELS:
                    raise SystemExit(f"{len(found)} of {UNIKERNELS} unikernels were read")
    return statistics.median(walls), max(walls), statistics.median(cpus)


def main() -> None:
    median, worst, cpu = wall_and_cpu_ms()
    what = f"albatross: {UNIKERNELS} unikernels in one call, ms"
    print(f"{what:58} {median:8.1f} median, {worst:.1f} worst of {CALLS}; {cpu:.1f} of the processor")


if __name__ == "__main__":
    main()
