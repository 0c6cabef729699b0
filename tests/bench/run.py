# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``make bench``: how long a plan takes for a large fleet, and an update beside a play written by hand; how soon a
failed release is replaced; and, as root, what swaps cost in requests."""

from __future__ import annotations

import datetime
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import albatross_listing
import failed_verdict
import many_on_one_node
import simulated_fleet
from measuring import Figures, machine, median_of, run
from update_by_hand import compare_updates

PROJECT = Path(__file__).resolve().parents[2]
BENCHES = "ansible_collections.unikernel.fleet.tests.bench"
SIZES = (1000, 4000)
NODES = 20
RUNS = 3
MANY, FORKS = 50, 10
REVERTS = 20


def plan_figures(folder: Path, unikernels: int) -> Figures:
    inventory = simulated_fleet.make(folder, unikernels, NODES, os.getpid())
    command = [_playbook(), "-i", str(inventory), "unikernel.fleet.plan", "--forks", "5"]
    environment = {**os.environ, "ANSIBLE_PIPELINING": "true", "ANSIBLE_LOCALHOST_WARNING": "false"}
    return median_of(lambda: run(command, PROJECT, environment), RUNS)


def _playbook() -> str:
    return str(Path(sys.executable).with_name("ansible-playbook"))


def main() -> None:
    print(f"{datetime.date.today()}, {machine()}")
    print(f"{'what':58} {'wall s':>8} {'cpu s':>8} {'MiB':>8}")
    walls = []
    for unikernels in SIZES:
        folder = Path(tempfile.mkdtemp(prefix="fleet-bench-"))
        try:
            figures = plan_figures(folder, unikernels)
        finally:
            shutil.rmtree(folder)
        walls.append(figures.wall_s)
        what = f"plan of {unikernels} unchanged unikernels on {NODES} nodes"
        print(f"{what:58} {figures.wall_s:8.2f} {figures.cpu_s:8.2f} {figures.memory_mib:8.0f}", flush=True)
    print(f"{'ratio of the two':58} {walls[1] / walls[0]:8.2f}")
    ours, theirs = compare_updates(_playbook())
    for what, figures in (
        ("update of one unikernel, whole playbook", ours),
        ("the same by hand, nothing safe", theirs),
    ):
        print(f"{what:58} {figures.wall_s:8.2f} {figures.cpu_s:8.2f} {figures.memory_mib:8.0f}")
    print(f"{'ratio of the two':58} {ours.wall_s / theirs.wall_s:8.2f}")
    many = many_on_one_node.deploy(_playbook(), MANY, FORKS)
    what = f"{MANY} unikernels on one node by one play, {FORKS} forks"
    print(f"{what:58} {many.wall_s:8.2f} {many.cpu_s:8.2f} {many.memory_mib:8.0f}")
    print(f"{'the same for each of them':58} {many.wall_s / MANY:8.2f}", flush=True)
    outages = failed_verdict.outages_s(REVERTS)
    print(f"{f'failed verdict to an answer of the old, median of {REVERTS}':58} {statistics.median(outages):8.3f}")
    print(f"{'the same, worst':58} {max(outages):8.3f}", flush=True)
    albatross_listing.main()
    # In processes of their own, since they go into a network namespace.
    for bench in ("cut_over", "rehearsal", "albatross_swaps", "albatross_rehearsal"):
        done = subprocess.run([sys.executable, "-m", f"{BENCHES}.{bench}"], check=False)
        if done.returncode:
            raise SystemExit(done.returncode)


if __name__ == "__main__":
    main()
