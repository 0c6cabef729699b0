# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real control groups with a limit on memory, below the one that this process is in."""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.memory_room import (
    group_of,
    memory_hierarchy,
)

PATIENCE_S = 10.0


@dataclass(frozen=True)
class MemoryGroup:
    """One of them, and one within it that has no limit of its own."""

    name: str
    """As a process in it is told."""
    folder: Path

    @property
    def inner(self) -> Path:
        return self.folder / "inner"

    def run(self, command: Sequence[str], text: str = "") -> subprocess.CompletedProcess[str]:
        """A command within the inner group."""
        words = ["sh", "-c", f'echo $$ > {self.inner}/cgroup.procs && exec "$@"', "sh", *command]
        return subprocess.run(words, input=text, capture_output=True, text=True, timeout=60, check=False)

    def remove(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        for folder in (self.inner, self.folder):
            while folder.is_dir():
                try:
                    folder.rmdir()
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)


@contextmanager
def memory_group(limit_bytes: int) -> Iterator[MemoryGroup]:
    group = _make(limit_bytes)
    try:
        yield group
    finally:
        group.remove()


def _make(limit_bytes: int) -> MemoryGroup:
    hierarchy = memory_hierarchy()
    own = None if hierarchy is None else group_of("self", hierarchy)
    if hierarchy is None or own is None:
        raise OSError("no control groups that limit memory are mounted")
    above, folder = next(hierarchy.above(own))
    if hierarchy.unified:
        # A group that has processes can have no groups with limits in it: so beside ours, at the top.
        above, folder = hierarchy.topmost, hierarchy.mounted
    label = f"fleet-test-{secrets.token_hex(4)}"
    group = MemoryGroup(f"{above.rstrip('/')}/{label}", folder / label)
    group.folder.mkdir()
    try:
        file = "memory.max" if hierarchy.unified else "memory.limit_in_bytes"
        (group.folder / file).write_text(str(limit_bytes), encoding="ascii")
        group.inner.mkdir()
    except OSError:
        group.remove()
        raise
    return group


def why_no_memory_groups() -> str:
    """Why none can be made here; empty when some can."""
    if os.geteuid() != 0:
        return "needs root, for control groups"
    with suppress(OSError), memory_group(2**26):
        return ""
    return "no control group with a limit on memory can be made here"
