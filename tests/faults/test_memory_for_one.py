# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A node whose memory suffices for one instance: real modules that see little in /proc/meminfo, in a mount namespace of
their own, and change a real unikernel on a real bridge. What needs two at a time is refused before anything is done."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.tests.support import programs
from ansible_collections.unikernel.fleet.tests.support.guest_answers import answering_version
from ansible_collections.unikernel.fleet.tests.support.network_lab import (
    BRIDGE,
    GUEST_V4,
    Lab,
    network_lab,
    why_not_here,
)
from ansible_collections.unikernel.fleet.tests.support.real_node import processes_of, real_node, within
from ansible_collections.unikernel.fleet.tests.support.web_program import web_program

WHY_NOT = why_not_here()
pytestmark = [
    pytest.mark.controller,
    pytest.mark.skipif(bool(WHY_NOT), reason=f"a real bridge: {WHY_NOT}"),
]
NAME = "hello"
NEEDS_MIB, FREE_MIB = 400, 397
"""What runs takes some MiB in fact, which are free once it is stopped."""
MODULE = "ansible_collections.unikernel.fleet.plugins.modules.unikernel"
HEALTH = {"http": {"url": f"http://{GUEST_V4}/health"}}


class Poor:
    """A node, and the module ``unikernel`` as a process of its own there."""

    def __init__(self, folder: Path, lab: Lab) -> None:
        self.folder = folder
        self.node = real_node(folder)
        lab.watch_over(self.node.layout.root, NAME)
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        self.meminfo = folder / "meminfo"
        poor = re.sub(r"^MemAvailable:.*$", f"MemAvailable: {FREE_MIB * 1024} kB", text, flags=re.MULTILINE)
        self.meminfo.write_text(poor, encoding="ascii")

    def declare(self, version: str, poor: bool = True, **parameters: Any) -> dict[str, Any]:
        """What the module answers."""
        image = self.node.store.add_stream([web_program(version).encode("utf-8")])
        given = {
            "name": NAME,
            "root": str(self.node.layout.root),
            "sha256": image.sha256,
            "size": image.size,
            "memory_mib": NEEDS_MIB,
            "networks": [{"name": "eth0", "bridge": BRIDGE, "addresses": [f"{GUEST_V4}/24"]}],
            "ready": {**HEALTH, "within": 5},
            "checks": [HEALTH],
            "trial_timeout": 0,
            "stop_grace": 1,
            "deadline": 5,
            **parameters,
        }
        module = [sys.executable, "-m", MODULE]
        words = [*module]
        if poor:
            words = ["unshare", "--mount", "sh", "-c", f'mount --bind {self.meminfo} /proc/meminfo && exec "$@"', "sh"]
            words += module
        arguments = json.dumps({"ANSIBLE_MODULE_ARGS": given})
        done = subprocess.run(words, input=arguments, capture_output=True, text=True, timeout=60, check=False)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def processes(self) -> set[int]:
        return set(processes_of(self.folder))


@pytest.fixture
def poor(tmp_path: Path) -> Iterator[Poor]:
    with network_lab() as lab:
        fixture = Poor(tmp_path, lab)
        assert fixture.declare("v1", poor=False)["changed"]
        assert answers("v1")
        yield fixture
        programs.end_all_instances(tmp_path)


def answers(expected: str) -> bool:
    return within(5.0, lambda: answering_version(within_s=0.5) == expected)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [({"swap": "cut_over"}, "swap: cut_over is not possible"), ({"rehearse": True}, "cannot be rehearsed")],
    ids=["cut_over", "rehearsal"],
)
def test_what_needs_two_at_a_time_is_refused_before_anything_is_touched(
    poor: Poor, parameters: dict[str, Any], reason: str
) -> None:
    before = poor.processes()
    refused = poor.declare("v2", **parameters)
    assert refused["failed"] and refused["error"] == "ReleaseRefused"
    assert reason in refused["msg"]
    assert f"beside the one that runs it needs {NEEDS_MIB} MiB" in refused["msg"]
    assert f"only {FREE_MIB} MiB are free" in refused["msg"]
    assert poor.processes() == before and answers("v1")


def test_left_to_itself_the_node_stops_the_old_one_first_and_says_why(poor: Poor) -> None:
    changed = poor.declare("v2")
    why = f"beside the one that runs it needs {NEEDS_MIB} MiB, and only {FREE_MIB} MiB are free"
    assert changed["remarks"] == [f"it is swapped by stop_start and not by cut_over: {why}"]
    assert f"way: {changed['remarks'][0]}" in json.dumps(changed["diff"])
    assert answers("v2")
    assert [i.release for i in poor.node.inspect(poor.node.journal(NAME).read()) if i.alive] == [2]


def test_with_memory_for_two_it_is_cut_over_to(poor: Poor) -> None:
    changed = poor.declare("v2", poor=False, swap="cut_over")
    assert changed["changed"] and changed["remarks"] == [] and answers("v2")


def test_what_one_alone_has_no_memory_for_is_refused_too(poor: Poor) -> None:
    refused = poor.declare("v2", memory_mib=4 * NEEDS_MIB, swap="stop_start")
    assert refused["failed"] and f"it needs {4 * NEEDS_MIB} MiB of memory" in refused["msg"] and answers("v1")
