# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running a command and accounting for it: the wall time, and the memory and processor time of all it started."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figures:
    """Of one run."""

    wall_s: float
    cpu_s: float
    memory_mib: float
    """The most that the process and its descendants had resident at one time."""


def run(command: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> Figures:
    """Run to the end; a command that fails ends the benchmark with what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    process = subprocess.Popen(
        command, cwd=cwd, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    most = _MemoryWatch(process.pid)
    output, _unused = process.communicate()
    wall_s = time.monotonic() - began
    memory_mib = most.ended()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with exit status {process.returncode}:\n{output}")
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return Figures(wall_s, cpu_s, memory_mib)


def median_of(measure: Callable[[], Figures], times: int) -> Figures:
    """Each figure's median over several runs."""
    runs = [measure() for _unused in range(times)]
    return Figures(
        statistics.median(one.wall_s for one in runs),
        statistics.median(one.cpu_s for one in runs),
        max(one.memory_mib for one in runs),
    )


class _MemoryWatch:
    """Looks twenty times a second at how much a tree of processes has resident; pages shared by a fork count once
    per process, so this is an upper bound."""

    def __init__(self, pid: int) -> None:
        self._most = 0.0
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def ended(self) -> float:
        self._stop.set()
        self._thread.join()
        return self._most

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            self._most = max(self._most, sum(_proportional_mib(pid) for pid in _tree(self._pid)))


def _tree(root: int) -> list[int]:
    found = [root]
    for pid in found:
        try:
            text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
        except OSError:
            continue
        found += [int(child) for child in text.split()]
    return found


def _proportional_mib(pid: int) -> float:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def machine() -> str:
    """The machine in a line, for the table."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} processors ({model}), {memory:.0f} GiB, Linux {os.uname().release}"
