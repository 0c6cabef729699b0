# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many unikernels on one node, deployed by one play."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from measuring import Figures, run
from update_by_hand import free_port, local

from ansible_collections.unikernel.fleet.tools.demo_builds import publish_version

PROJECT = Path(__file__).resolve().parents[2]


def deploy(playbook: str, unikernels: int, forks: int) -> Figures:
    """Of the whole play; it must deploy all of them."""
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as name:
        folder = Path(name)
        publish_version(folder / "repository", "service", 1)
        common = {
            "unikernel_node": "node",
            "unikernel_root": str(folder / "node"),
            "unikernel_job": "service",
            "unikernel_source": "bench",
            "unikernel_platform": "any",
            "unikernel_sources": {"bench": {"type": "release_repository", "url": str(folder / "repository")}},
            "unikernel_stop_grace": 1,
            # Each step is made for all of them before the next one for any.
            "unikernel_trial_timeout": 600,
        }
        hosts = {}
        for number in range(unikernels):
            port = free_port()
            check = {"http": f"http://127.0.0.1:{port}/health"}
            hosts[f"u{number:03d}"] = {"unikernel_arguments": [f"--http={port}"], "unikernel_checks": [check]}
        groups = {
            "unikernel_nodes": {"hosts": {"node": local()}},
            "unikernels": {"hosts": hosts, "vars": common},
        }
        inventory = folder / "inventory.json"
        inventory.write_text(json.dumps(groups), encoding="utf-8")
        command = [playbook, "-i", str(inventory), "unikernel.fleet.deploy", "--forks", str(forks)]
        environment = {**os.environ, "ANSIBLE_PIPELINING": "true"}
        try:
            return run(command, PROJECT, environment)
        finally:
            run([*command, "-e", "unikernel_state=absent"], PROJECT, environment)
