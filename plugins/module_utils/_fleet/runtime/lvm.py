# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots of volumes of LVM: made, merged back, removed. Thick ones are made as large as their origin, so that none
ever overflows; thin ones need no size.

A merge goes on in the kernel, and the origin can be used meanwhile: reads of what is not merged yet go to the snapshot.
But where somebody has the origin open, LVM only takes note of it, calls that a success, and merges when the origin is
activated the next time, over what was written until then. So whether a merge really goes on is looked at.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any, Optional

from ..errors import DriverError

PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Volume:
    """As ``lvs`` tells it."""

    group: str
    name: str
    attributes: str
    thin: bool
    size: int
    """Bytes."""
    free: int
    """Bytes of its group that no volume has."""

    @property
    def merging(self) -> bool:
        """It is an origin into which a snapshot is merged (O), or such a snapshot (S)."""
        return self.attributes[:1] in ("O", "S")

    @property
    def open(self) -> bool:
        return self.attributes[5:6] == "o"

    @property
    def path(self) -> str:
        return f"/dev/{self.group}/{self.name}"


def volume(path: str) -> Optional[Volume]:
    """What LVM knows of a path, or of GROUP/NAME; None when it is none of its volumes. DriverError without LVM."""
    fields = "vg_name,lv_name,lv_attr,pool_lv,lv_size,vg_free"
    words = ["lvs", "--all", "--reportformat", "json", "--units", "b", "--nosuffix", "-o", fields, path]
    done = _run(words)
    if done.returncode != 0:
        return None
    try:
        entry: dict[str, Any] = json.loads(done.stdout)["report"][0]["lv"][0]
        return Volume(
            group=entry["vg_name"],
            name=entry["lv_name"].strip("[]"),
            attributes=entry["lv_attr"],
            thin=bool(entry["pool_lv"]),
            size=int(entry["lv_size"]),
            free=int(entry["vg_free"]),
        )
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise DriverError(f"lvs said something that is not understood of {path}: {done.stdout[:200]!r}") from error


def why_no_snapshot(path: str) -> str:
    """What forbids a snapshot of the volume; empty when nothing does."""
    if shutil.which("lvcreate", path=PATH) is None:
        return "LVM is not on this node (install the package lvm2)"
    found = volume(path)
    if found is None:
        return f"{path} is no volume of LVM"
    if found.merging:
        return f"an earlier snapshot is still being merged into {path}; wait until lvs shows no merge any more"
    if not found.thin and found.free < found.size:
        return (
            f"its group {found.group} has {found.free >> 20} MiB free, and a snapshot of {path} may need "
            f"{found.size >> 20} MiB"
        )
    return ""


def take(source: str, snapshot: str) -> None:
    """``snapshot`` is a name within the source's group. What is there by that name was left by an interruption."""
    origin = _known(source)
    remove(source, snapshot)
    size = () if origin.thin else ("--extents", "100%ORIGIN")
    activation = ("--setactivationskip", "n") if origin.thin else ()
    where = f"{origin.group}/{origin.name}"
    _must(["lvcreate", "--yes", "--quiet", "--snapshot", *size, *activation, "--name", snapshot, where])


def restore(source: str, snapshot: str) -> None:
    """The origin is as it was; nobody may have either of them open. A merge that was begun before goes on."""
    origin = _known(source)
    found = volume(f"{origin.group}/{snapshot}")
    if found is None or _merges(origin):
        return
    _refuse_open(origin, found)
    if not found.merging:
        _must(["lvconvert", "--yes", "--quiet", "--background", "--merge", f"{found.group}/{found.name}"])
    now = _known(source)
    if now.merging and not _merges(now):
        # Noted for the next activation: somebody had it open, then or for a moment just now.
        _refuse_open(now)
        for activation in ("n", "y"):
            _must(["lvchange", "--yes", "--quiet", "--activate", activation, f"{now.group}/{now.name}"])


def _refuse_open(*volumes: Volume) -> None:
    for one in volumes:
        if one.open:
            raise DriverError(
                f"{one.path} cannot be restored while it is open: LVM would put it off until its next activation, and "
                "lose what is written until then. See who has it open (lsblk, fuser)"
            )


def _merges(origin: Volume) -> bool:
    """A snapshot is being merged into it by the kernel. Of a thin volume none ever is: it is exchanged at once."""
    if not origin.merging or origin.thin:
        return False
    done = _run(["dmsetup", "table", "--target", "snapshot-merge", origin.path])
    return "snapshot-merge" in done.stdout


def remove(source: str, snapshot: str) -> None:
    found = volume(f"{_known(source).group}/{snapshot}")
    if found is not None and not found.merging:
        _must(["lvremove", "--yes", "--quiet", f"{found.group}/{found.name}"])


def path_of(source: str, snapshot: str) -> str:
    return f"/dev/{_known(source).group}/{snapshot}"


def _known(path: str) -> Volume:
    found = volume(path)
    if found is None:
        raise DriverError(f"{path} is no volume of LVM any more")
    return found


def _must(words: list[str]) -> None:
    done = _run(words)
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split())[:500]
        raise DriverError(f"{' '.join(words)} failed: {said or f'exit status {done.returncode}'}")


def _run(words: list[str]) -> subprocess.CompletedProcess[str]:
    program = shutil.which(words[0], path=PATH)
    if program is None:
        raise DriverError(f"{words[0]} of LVM is not on this node. Install the package lvm2.")
    try:
        return subprocess.run(
            [program, *words[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE_S,
            check=False,
            env={"PATH": PATH, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DriverError(f"{words[0]} did not end well: {error}") from error
