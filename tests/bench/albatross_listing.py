# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long our client takes to hear of 200 unikernels in one call: with its reading, without the server's work."""

from __future__ import annotations

import hashlib
import os
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
    NetworkUse,
    UnikernelConfig,
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
    names = {Name(("tenant",), f"unikernel-{number}") for number in range(UNIKERNELS)}
    with tempfile.TemporaryDirectory() as folder:
        client = Client(UnixSockets(Path(folder)))
        with unix_server(Path(folder) / "vmmd.sock", answering(answer)):
            return _timed(client, names)


def _timed(client: Client, names: set[Name]) -> tuple[float, float, float]:
    walls, cpus = [], []
    for _unused in range(CALLS):
        wall, cpu = time.perf_counter(), time.thread_time()
        found = client.unikernels()
        walls.append(1_000 * (time.perf_counter() - wall))
        cpus.append(1_000 * (time.thread_time() - cpu))
        if not names <= {entry.name for entry in found}:
            raise SystemExit(f"only {len(found)} of {UNIKERNELS} unikernels were listed")
    return statistics.median(walls), max(walls), statistics.median(cpus)


def of_a_real_one_ms() -> tuple[float, float, float]:
    """The same of a real albatross, which runs so many for it: named ``fleet-bench-...``, destroyed in the end."""
    target = os.environ.get("ALBATROSS_TARGET", "hvt")
    image = (Path(os.environ["SOLO5_IMAGES"]) / f"v1.{target}").read_bytes()
    client = Client(UnixSockets(Path(os.environ["ALBATROSS_SOCKETS"])))
    bridge = os.environ.get("ALBATROSS_BRIDGE") or client.policies()[0].policy.bridges[0]
    names = [Name((), f"fleet-bench-{number}") for number in range(UNIKERNELS)]
    started = 0
    try:
        for name in names:
            use = NetworkUse("service", bridge, derived_mac("service", name.label or "", ""))
            client.create(name, UnikernelConfig(image=image, networks=(use,), memory_mib=16, add_name=False))
            started += 1
        time.sleep(2.0)  # what starts now takes the processor that the calls are to have
        return _timed(client, set(names))
    finally:
        for name in names[:started]:
            client.destroy(name)


def main() -> None:
    rows = {"as recorded": wall_and_cpu_ms()}
    missing = [variable for variable in ("ALBATROSS_SOCKETS", "SOLO5_IMAGES") if not os.environ.get(variable)]
    if missing:
        print(f"{'albatross: a listing of a real one':58} left out: {' and '.join(missing)} not set")
    else:
        rows["of a real one"] = of_a_real_one_ms()
    for kind, (median, worst, cpu) in rows.items():
        what = f"albatross: {UNIKERNELS} unikernels in one call, {kind}, ms"
        print(f"{what:58} {median:8.1f} median, {worst:.1f} worst of {CALLS}; {cpu:.1f} of the processor")


if __name__ == "__main__":
    main()
