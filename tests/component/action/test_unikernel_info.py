# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action ``unikernel_info`` in a real playbook run: the guard answers where it can, the module everywhere else."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases import guard_install
from ansible_collections.unikernel.fleet.tests.support import real_node

pytestmark = pytest.mark.controller

COLLECTIONS = Path(inspect.getfile(real_node)).parents[5]


def test_the_guard_and_the_module_say_the_same_and_only_the_module_needs_packing(tmp_path: Path) -> None:
    guarded, bare = real_node.real_node(tmp_path / "guarded"), real_node.real_node(tmp_path / "bare")
    guard_install.install(guarded.layout)
    tasks: list[dict[str, Any]] = []
    for name, node, keywords in (
        ("guarded", guarded, {}),
        ("bare", bare, {}),
        ("checked", guarded, {"check_mode": True}),
        ("in_background", guarded, {"async": 30, "poll": 1}),
    ):
        module = {"root": str(node.layout.root), "names": ["www"]}
        tasks.append({"unikernel.fleet.unikernel_info": module, "register": f"result_{name}", **keywords})
    wrong = {"root": str(guarded.layout.root), "names": ["../www"]}
    tasks.append({"unikernel.fleet.unikernel_info": wrong, "register": "result_wrong", "ignore_errors": True})
    names = ("guarded", "bare", "checked", "in_background", "wrong")
    registered = "{" + ", ".join(f"'{name}': result_{name}" for name in names) + "}"
    results = tmp_path / "results"
    keep = {"content": "{{ " + registered + " | to_json }}", "dest": str(results), "mode": "0600"}
    tasks.append({"ansible.builtin.copy": keep})
    play = tmp_path / "play.yml"
    play.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]), encoding="utf-8")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-c", "local", "-vvv"),
            *("-e", f"ansible_python_interpreter={sys.executable}", str(play)),
        ],
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
            "ANSIBLE_REMOTE_TEMP": str(tmp_path / "remote"),
            "ANSIBLE_PIPELINING": "1",
            "LC_ALL": "C.UTF-8",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(results.read_text(encoding="utf-8"))
    for name in ("guarded", "bare", "checked", "in_background"):
        assert not said[name].get("failed") and not said[name]["changed"], said[name]
        assert said[name]["unikernels"]["www"]["release"] is None
    assert said["wrong"]["failed"] and "../www" in said["wrong"]["msg"]
    # Ansible tells with -vvv which module it packs, once per task that needs one.
    packed = [line for line in done.stdout.splitlines() if "unikernel_info" in line and "module file" in line.lower()]
    assert len(packed) == 2, "\n".join(packed) + done.stdout
