# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real control group with a limit: what is free in it, and a module that, run in it, refuses what has no room."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.tests.support import programs
from ansible_collections.unikernel.fleet.tests.support.memory_group import (
    MemoryGroup,
    memory_group,
    why_no_memory_groups,
)
from ansible_collections.unikernel.fleet.tests.support.real_node import answering, free_port, real_node

WHY_NOT = why_no_memory_groups()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=f"a real control group: {WHY_NOT}")
LIMIT_MIB = 128
LOOK = """
import json, os, sys
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.memory_room import room_beside_us
{before}
room = room_beside_us()
print(json.dumps([room.free_mib, room.group]))
"""
MODULE = "ansible_collections.unikernel.fleet.plugins.modules.unikernel"


@pytest.fixture
def group() -> Iterator[MemoryGroup]:
    with memory_group(LIMIT_MIB << 20) as made:
        yield made


def seen(group: MemoryGroup, before: str = "") -> float:
    done = group.run([sys.executable, "-c", LOOK.format(before=before)])
    assert done.returncode == 0, done.stderr
    free_mib, name = json.loads(done.stdout)
    assert name == group.name, "the limit is that of the group above ours"
    return float(free_mib)


def test_what_is_free_is_what_the_limit_above_leaves(group: MemoryGroup) -> None:
    assert LIMIT_MIB - 40 < seen(group) < LIMIT_MIB


def test_what_a_process_there_uses_is_not_free(group: MemoryGroup) -> None:
    assert seen(group, "used = bytearray(os.urandom(1 << 20)) * 50") < LIMIT_MIB - 50


def test_what_is_only_cached_of_files_is_free(group: MemoryGroup, tmp_path: Path) -> None:
    written = (
        f"with open({str(tmp_path / 'file')!r}, 'wb') as file:\n"
        "    for _unused in range(50):\n"
        "        file.write(os.urandom(1 << 20))\n"
        "    file.flush()\n"
        "    os.fsync(file.fileno())\n"
        f"with open({str(tmp_path / 'file')!r}, 'rb') as file:\n"
        "    while file.read(1 << 20):\n"
        "        pass\n"
    )
    assert seen(group, written) > LIMIT_MIB - 40
    assert seen(group) > LIMIT_MIB - 40


@pytest.mark.controller
def test_a_module_that_is_run_there_refuses_what_has_no_room(group: MemoryGroup, tmp_path: Path) -> None:
    node = real_node(tmp_path)
    image = node.store.add_stream([answering("one").encode("utf-8")])
    given: dict[str, Any] = {
        "name": "www",
        "root": str(node.layout.root),
        "sha256": image.sha256,
        "size": image.size,
        "arguments": [str(free_port()), "x"],
        "trial_timeout": 0,
    }

    def declare(memory_mib: int) -> dict[str, Any]:
        arguments = json.dumps({"ANSIBLE_MODULE_ARGS": {**given, "memory_mib": memory_mib}})
        done = group.run([sys.executable, "-m", MODULE], arguments)
        assert done.stdout, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    try:
        refused = declare(LIMIT_MIB + 1)
        assert refused["failed"] and refused["error"] == "ReleaseRefused"
        assert f"it needs {LIMIT_MIB + 1} MiB of memory, and only" in refused["msg"]
        assert f"(the control group {group.name} may use no more)" in refused["msg"]
        assert declare(24)["changed"]
    finally:
        programs.end_all_instances(tmp_path)
