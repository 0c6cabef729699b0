# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs in a virtual machine whose kernel has a device mapper: snapshots of real volumes of LVM, thick and thin."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _fleet.errors import DriverError  # type: ignore[import-not-found]
from _fleet.model import Snapshot, SnapshotMethod  # type: ignore[import-not-found]
from _fleet.runtime import lvm, snapshots  # type: ignore[import-not-found]

LOOP_SET_FD, LOOP_CTL_GET_FREE = 0x4C00, 0x4C82
DISK_BYTES = 160 << 20
PATIENCE_S = 60.0
# There is no udev in this machine, and none of the programs that check thin pools.
SETTINGS = """
devices { obtain_device_list_from_udev=0 external_device_info_source="none" use_devicesfile=0 }
activation { udev_sync=0 udev_rules=0 monitoring=0 }
global { thin_check_executable="" use_lvmpolld=0 event_activation=0 }
"""
GROUP = "group"
THICK, THIN = f"/dev/{GROUP}/thick", f"/dev/{GROUP}/thin"


def prepare() -> None:
    Path("/etc/lvm").mkdir(parents=True)
    Path("/etc/lvm/lvm.conf").write_text(SETTINGS, encoding="ascii")
    disk = os.open("/run/disk", os.O_RDWR | os.O_CREAT)
    os.ftruncate(disk, DISK_BYTES)
    control = os.open("/dev/loop-control", os.O_RDWR)
    device = f"/dev/loop{fcntl.ioctl(control, LOOP_CTL_GET_FREE)}"
    fcntl.ioctl(os.open(device, os.O_RDWR), LOOP_SET_FD, disk)
    for words in (
        ("pvcreate", device),
        ("vgcreate", "--physicalextentsize", "1m", GROUP, device),
        ("lvcreate", "--yes", "--size", "16m", "--name", "thick", GROUP),
        ("lvcreate", "--yes", "--size", "32m", "--thinpool", "pool", "--poolmetadatasize", "2m", GROUP),
        ("lvcreate", "--yes", "--thin", "--virtualsize", "64m", "--name", "thin", f"{GROUP}/pool"),
    ):
        done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{words}: {done.stdout}{done.stderr}")


def write(disk: str, word: str) -> None:
    """At the beginning, and far behind it."""
    with open(disk, "r+b", buffering=0) as file:
        for place in (0, 9 << 20):
            file.seek(place)
            file.write(word.encode("ascii").ljust(4096, b"."))
        os.fsync(file.fileno())


def read(disk: str) -> list[str]:
    found = []
    with open(disk, "rb", buffering=0) as file:
        for place in (0, 9 << 20):
            file.seek(place)
            found.append(file.read(4096).rstrip(b".").decode("ascii", "replace"))
    return found


def volumes() -> list[str]:
    """Without those of LVM itself."""
    done = subprocess.run(
        ["lvs", "--noheadings", "-o", "lv_name", GROUP], capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    return sorted(line.strip() for line in done.stdout.splitlines())


def until(reached: Callable[[], bool]) -> bool:
    give_up = time.monotonic() + PATIENCE_S
    while not reached():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.05)
    return True


def of(disk: str, label: str) -> Any:
    copy = snapshots.copy_of(SnapshotMethod.LVM, disk, label)
    return Snapshot(method=SnapshotMethod.LVM, label=label, disks=(disk,), copies=(copy,))


def merged(disk: str) -> bool:
    found = lvm.volume(disk)
    return found is not None and not found.merging


def story(disk: str) -> dict[str, Any]:
    seen: dict[str, Any] = {"fault": snapshots.faults(SnapshotMethod.LVM, [disk], None)}
    write(disk, "one")
    first = of(disk, "first")
    snapshots.take(first)
    write(disk, "left by an interruption, and taken anew")
    snapshots.take(first)
    seen["taken"] = volumes()
    write(disk, "broken")
    snapshots.restore(first)
    seen["at_once"] = read(disk)
    snapshots.restore(first)
    seen["merged"] = until(lambda: merged(disk))
    seen["restored"], seen["after_restore"] = read(disk), volumes()
    snapshots.restore(first)
    snapshots.remove(first)

    second = of(disk, "second")
    snapshots.take(second)
    write(disk, "good")
    snapshots.remove(second)
    snapshots.remove(second)
    seen["kept"], seen["after_remove"] = read(disk), volumes()

    third = of(disk, "third")
    snapshots.take(third)
    write(disk, "open")
    with open(disk, "rb"):
        try:
            snapshots.restore(third)
            seen["open"] = "was restored"
        except DriverError as error:
            seen["open"] = str(error)
        seen["while_open"] = read(disk)
    snapshots.restore(third)
    seen["merged_in_the_end"] = until(lambda: merged(disk))
    seen["in_the_end"] = read(disk)

    # One that somebody else asked for, and that LVM put off: it is carried out now, before anything runs on the disk.
    write(disk, "put off")
    fourth = of(disk, "fourth")
    snapshots.take(fourth)
    write(disk, "lost")
    with open(disk, "rb"):
        subprocess.run(
            ["lvconvert", "--yes", "--merge", f"{GROUP}/{fourth.copies[0]}"],
            capture_output=True,
            timeout=PATIENCE_S,
            check=True,
        )
    snapshots.restore(fourth)
    until(lambda: merged(disk))
    seen["put_off"], seen["left"] = read(disk), volumes()
    return seen


def main() -> dict[str, Any]:
    os.environ["PATH"] = lvm.PATH
    prepare()
    result: dict[str, Any] = {"thick": story(THICK), "thin": story(THIN)}
    large = ["lvcreate", "--yes", "--size", "80m", "--name", "large", GROUP]
    subprocess.run(large, capture_output=True, timeout=PATIENCE_S, check=True)
    result["no_room"] = snapshots.faults(SnapshotMethod.LVM, [f"/dev/{GROUP}/large"], None)
    result["no_volume"] = snapshots.faults(SnapshotMethod.LVM, ["/dev/loop0"], None)
    return result
