# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fleet for benchmarks: nodes whose state folders say that everything runs, without a process for each.

Every instance record points at one single process that does live, so the modules do all of their real work.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.clock import SystemClock
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.codec import encode
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.images.store import ImageStore
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import BuildReference, Image, Release
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.guard_install import install
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.proposal import merged
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import State
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.process import ProcessIdentity, identify
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.sources.publishing import Publication, publish

PLATFORM = "debian-12"
VARIABLES = {
    "unikernel_job": "{{ bench_job }}",
    "unikernel_address": "192.0.2.{{ bench_number % 250 }}",
    "unikernel_arguments": ["--name={{ inventory_hostname }}"],
    "unikernel_environment": {"REGION": "{{ bench_region }}"},
    "unikernel_working_directory": "{{ bench_folder }}",
    "unikernel_platform": PLATFORM,
    "unikernel_source": "bench",
    "unikernel_memory_mib": 64,
    "unikernel_restart": "on_failure",
    "unikernel_start_order": 40,
    "unikernel_stop_grace": 5,
    "unikernel_stable_for": 3.0,
    "unikernel_deadline": 30.0,
}
"""Thirteen variables of each unikernel, five of them templated; with its node and its state folder, fifteen."""


def make(folder: Path, unikernels: int, nodes: int, pid: int) -> Path:
    """Write the nodes' state folders, the source of builds and the inventory; returns the inventory's path.

    ``pid``: the process that stands for all of them."""
    build = _publish(folder)
    alive = identify(pid)
    names = [f"u{number:05d}" for number in range(unikernels)]
    hosts: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(names):
        node = f"node{number % nodes:02d}"
        layout = NodeLayout(folder / "nodes" / node)
        hosts[name] = {**VARIABLES, "unikernel_node": node, "unikernel_root": str(layout.root), "bench_number": number}
        _write_state(layout, name, number, build, alive, folder)
    for number in range(nodes):
        install(NodeLayout(folder / "nodes" / f"node{number:02d}"))  # as the first deployment did
    shared = {
        "bench_job": "service",
        "bench_region": "here",
        "bench_folder": str(folder),
        "unikernel_sources": {"bench": {"type": "release_repository", "url": str(folder / "repository")}},
    }
    inventory = folder / f"inventory-{unikernels}.json"
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    document = {
        "unikernel_nodes": {"hosts": {f"node{n:02d}": local for n in range(nodes)}},
        "unikernels": {"hosts": hosts, "vars": shared},
    }
    inventory.write_text(json.dumps(document), encoding="utf-8")
    return inventory


def _publish(folder: Path) -> Any:
    image = folder / "service"
    image.write_text("#!/bin/sh\nexec sleep 3600\n", encoding="utf-8")
    return publish(
        folder / "repository",
        Publication(
            job="service", platform=PLATFORM, image=image, filename="service", finished_at="2026-11-22T03:00:00Z"
        ),
    ).build


def _write_state(layout: NodeLayout, name: str, number: int, build: Any, alive: ProcessIdentity, folder: Path) -> None:
    if not layout.image(build.sha256).exists():
        ImageStore(layout).add_file(folder / "service", Image(build.sha256, build.size))
    configuration = merged(
        None,
        {
            "arguments": [f"--name={name}"],
            "environment": {"REGION": "here"},
            "working_directory": str(folder),
            "memory_mib": 64,
            "restart": "on_failure",
            "start_order": 40,
            "stop_grace_s": 5.0,
        },
    )
    reference = BuildReference(build.source, build.job, build.id, build.platform, build.finished_at)
    release = Release(1, Image(build.sha256, build.size), configuration, build=reference)
    state = State(
        name=name, salt=f"{number:032x}", current=release, next_number=2, started_boot_id=SystemClock().boot_id()
    )
    instance = layout.instance(name, 1)
    instance.mkdir(parents=True)
    layout.state(name).write_text(json.dumps(encode(state)), encoding="utf-8")
    pid, start_ticks, boot_id = str(alive).split(":")
    run = {"pid": int(pid), "start_ticks": int(start_ticks), "boot_id": boot_id, "waiter": str(alive)}
    run |= {"restarts": 0, "token": "0" * 32}
    (instance / "run.json").write_text(json.dumps(run), encoding="utf-8")
