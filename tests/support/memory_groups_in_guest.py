# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs in a virtual machine whose kernel limits memory by the unified hierarchy: what is free in its groups."""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional

from _fleet.runtime.memory_room import Room, room_beside_us, room_in_slice  # type: ignore[import-not-found]

MOUNTED = Path("/sys/fs/cgroup")
MIB = 2**20


def told(room: Optional[Room]) -> Any:
    return None if room is None else [room.free_mib, room.group]


def made(name: str, **limits: int) -> None:
    folder = MOUNTED / name
    folder.mkdir(parents=True)
    for file, limit in limits.items():
        (folder / f"memory.{file}").write_text(str(limit), encoding="ascii")


def within(group: str, work: Callable[[], Any]) -> Any:
    """What it returns in a process of its own in that group."""
    answers, answer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            (MOUNTED / group / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
            os.write(answer, json.dumps(work()).encode("ascii"))
        finally:
            os._exit(0)
    os.close(answer)
    with open(answers, "rb") as file:
        said = file.read()
    os.waitpid(child, 0)
    return json.loads(said)


def with_memory_used() -> Any:
    used = bytearray(os.urandom(MIB)) * 20
    return told(room_beside_us()) if used else None


def with_a_file_in_memory() -> Any:
    with open("/run/file", "wb") as file:
        for _unused in range(20):
            file.write(os.urandom(MIB))
    try:
        return told(room_beside_us())
    finally:
        os.unlink("/run/file")


def main() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"cgroup2", str(MOUNTED).encode("ascii"), b"cgroup2", 0, None) != 0:
        raise OSError(ctypes.get_errno(), "mount cgroup2")
    (MOUNTED / "cgroup.subtree_control").write_text("+memory", encoding="ascii")
    made("user.slice", high=48 * MIB)
    (MOUNTED / "user.slice" / "cgroup.subtree_control").write_text("+memory", encoding="ascii")
    made("user.slice/session", max=200 * MIB)
    made("fleet.slice", max=64 * MIB)
    return {
        "at the top": told(room_beside_us()),
        "limited above": within("user.slice/session", lambda: told(room_beside_us())),
        "with memory used": within("user.slice/session", with_memory_used),
        "with a file in memory": within("user.slice/session", with_a_file_in_memory),
        "of a slice": within("user.slice/session", lambda: told(room_in_slice("fleet.slice"))),
        "of a slice that is not there": told(room_in_slice("other.slice", 5 * MIB)),
    }
