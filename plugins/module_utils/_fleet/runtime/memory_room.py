# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How much memory there is for one more instance: of the machine, and of the control groups that it will live in.

``/proc/meminfo`` knows nothing of a container's limit or a slice's. The kernel kills what goes over one of these, as it
does when the machine itself has no more; so the tightest of them all is what counts, and whatever lies above it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Optional

MIB = 2**20
UNLIMITED = 2**60
"""The old hierarchy writes "no limit" as the greatest number of pages that it can count."""
INIT = "init.scope"
"""In which process 1 puts itself, where it is systemd; beside it are the slices."""


@dataclass(frozen=True)
class Room:
    """Memory that can be used without swapping."""

    free_mib: float
    group: Optional[str] = None
    """The control group whose limit leaves no more; None: the machine has no more."""

    def __str__(self) -> str:
        within = "" if self.group is None else f" (the control group {self.group} may use no more)"
        return f"{int(self.free_mib)} MiB are free{within}"


@dataclass(frozen=True)
class Hierarchy:
    """The tree of control groups that limits memory here."""

    mounted: Path
    topmost: str
    """Which of its groups is the one that is seen there: in a container, rarely the root."""
    unified: bool

    def above(self, group: str) -> Iterator[tuple[str, Path]]:
        """The group and those that it lies in, as far up as they can be seen from here."""
        here = PurePosixPath(group)
        inner = here.relative_to(self.topmost).parts if here.is_relative_to(self.topmost) else ()
        if ".." in inner:  # of a process outside of this container
            inner = ()
        for depth in range(len(inner), -1, -1):
            name = str(PurePosixPath(self.topmost, *inner[:depth]))
            yield name, self.mounted.joinpath(*inner[:depth])


def room_of_machine(proc: Path = Path("/proc")) -> Optional[Room]:
    """None where the kernel does not say."""
    with suppress(OSError, ValueError, IndexError), open(proc / "meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return Room(int(line.split()[1]) / 1024)
    return None


def room_beside_us(proc: Path = Path("/proc")) -> Optional[Room]:
    """For what is started by this process, and stays in its control group."""
    hierarchy = memory_hierarchy(proc)
    group = None if hierarchy is None else group_of("self", hierarchy, proc)
    return _tightest(proc, hierarchy, group)


def room_in_slice(name: str, configured_bytes: Optional[int] = None, proc: Path = Path("/proc")) -> Optional[Room]:
    """For what systemd starts in that slice at the top. ``configured_bytes``: the limit that it will have, if that is
    made with its first unit only."""
    hierarchy = memory_hierarchy(proc)
    init = None if hierarchy is None else group_of("1", hierarchy, proc)
    group = None
    if init is not None:
        manager = PurePosixPath(init)
        group = str((manager.parent if manager.name == INIT else manager) / name)
    rooms = [_tightest(proc, hierarchy, group)]
    if configured_bytes is not None:
        rooms.append(Room(configured_bytes / MIB, name))
    return _smallest(rooms)


def memory_hierarchy(proc: Path = Path("/proc")) -> Optional[Hierarchy]:
    """Of this process; the old one where that limits memory. None where there is none, or none is mounted."""
    found: dict[bool, Hierarchy] = {}
    with suppress(OSError, ValueError, IndexError):
        for line in (proc / "self" / "mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            before, _unused, after = line.partition(" - ")
            words, (kind, _source, *options) = before.split(" "), after.split(" ")
            unified = kind == "cgroup2"
            if unified or (kind == "cgroup" and "memory" in options[0].split(",")):
                found.setdefault(unified, Hierarchy(Path(_plain(words[4])), _plain(words[3]), unified))
    old = found.get(False)
    if old is not None and group_of("self", old, proc) is not None:
        return old
    return found.get(True)


def group_of(process: str, hierarchy: Hierarchy, proc: Path = Path("/proc")) -> Optional[str]:
    """Its control group there."""
    with suppress(OSError, ValueError):
        for line in (proc / process / "cgroup").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            _number, controllers, group = line.split(":", 2)
            if (controllers == "") if hierarchy.unified else ("memory" in controllers.split(",")):
                return group
    return None


def _plain(path: str) -> str:
    """As ``mountinfo`` writes it, without its escapes."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), path)


def _tightest(proc: Path, hierarchy: Optional[Hierarchy], group: Optional[str]) -> Optional[Room]:
    rooms = [room_of_machine(proc)]
    if hierarchy is not None and group is not None:
        rooms += [_room_within(name, folder, hierarchy.unified) for name, folder in hierarchy.above(group)]
    return _smallest(rooms)


def _smallest(rooms: list[Optional[Room]]) -> Optional[Room]:
    return min((one for one in rooms if one is not None), key=lambda one: one.free_mib, default=None)


def _room_within(name: str, folder: Path, unified: bool) -> Optional[Room]:
    """None where it has no limit, or cannot be read."""
    # What goes over memory.high is not killed, and slowed down so much that nobody is served either.
    files = ("memory.max", "memory.high") if unified else ("memory.limit_in_bytes",)
    limits = [limit for limit in (_bytes(folder / file) for file in files) if limit is not None]
    used = _bytes(folder / ("memory.current" if unified else "memory.usage_in_bytes"))
    if not limits or used is None:
        return None
    return Room(max(0, min(limits) - max(0, used - _cache_of_files(folder))) / MIB, name)


def _bytes(file: Path) -> Optional[int]:
    with suppress(OSError, ValueError):
        number = int(file.read_text(encoding="ascii"))  # or "max"
        return None if number >= UNLIMITED else number
    return None


def _cache_of_files(folder: Path) -> int:
    """What counts as used and is given up as soon as somebody needs memory. Files in memory alone (tmpfs) are not
    among it."""
    told: Mapping[str, int] = {}
    with suppress(OSError, ValueError):
        lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
        told = {key: int(number) for key, _unused, number in (line.partition(" ") for line in lines)}
    # The old hierarchy has those of the group alone under these names, and with the groups in it under "total_".
    return sum(told.get(f"total_{key}", told.get(key, 0)) for key in ("inactive_file", "active_file"))
