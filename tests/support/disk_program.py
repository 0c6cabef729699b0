# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs with disks, which no driver runs: the data's way through real updates is that of any guest, and a program
needs neither a tender nor a virtual machine to write to a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.process_driver import ProcessDriver
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.unix import UnixGuest
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.images.store import ImageStore
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import Release
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.node import Node
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.ports import Port
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.supervisor import ProcessSpec
from ansible_collections.unikernel.fleet.tests.support.real_node import LaterClock, WatchedSupervisor

DISKS = "FLEET_DISKS"
RECORD = 8
"""Bytes that a start writes to each disk, behind those that are there."""

_WRITES = """#!{python} -ISs
import os, posix, time
for path in os.environ["FLEET_DISKS"].split(":"):
    disk = os.open(path, os.O_RDWR)
    position = 0
    while os.pread(disk, 1, position) not in (b"", b"\\0"):
        position += {record}
    os.pwrite(disk, {word!r}, position)
    log = os.open(path + ".log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(log, {word!r})
"""


def writing(version: str, then: str = "time.sleep(300)") -> str:
    """A program that adds its version to all its disks, and beside each to a log that nobody restores."""
    python = os.path.realpath(sys.executable)
    word = version.encode("ascii").ljust(RECORD, b" ")[:RECORD]
    return _WRITES.format(python=python, record=RECORD, word=word) + then + "\n"


def written(disk: Path) -> list[str]:
    """Who wrote to a disk, or its log, in order."""
    content = disk.read_bytes().rstrip(b"\0")
    return [content[i : i + RECORD].decode("ascii").strip() for i in range(0, len(content), RECORD)]


class ProgramWithDisks(UnixGuest):
    """It finds the paths of its disks in its environment."""

    def refusals(self, release: Release, image: Path) -> list[str]:
        return super().refusals(_without_disks(release), image)

    def process_spec(
        self, name: str, release: Release, image: Path, folder: Path, ports: Sequence[Port]
    ) -> ProcessSpec:
        spec = super().process_spec(name, _without_disks(release), image, folder, ports)
        paths = ":".join(str(device.path) for device in release.configuration.block_devices)
        return replace(spec, environment={**spec.environment, DISKS: paths})


def node_with_disks(root: Path, reached: Callable[[str], None] = lambda step: None, ahead_s: float = 0.0) -> Node:
    """As ``real_node``."""
    layout = NodeLayout(root / "state")
    store = ImageStore(layout)
    driver = ProcessDriver(ProgramWithDisks(), layout, store, WatchedSupervisor(reached))
    return Node(layout, store, lambda name: driver, LaterClock(ahead_s), reached)


def _without_disks(release: Release) -> Release:
    return replace(release, configuration=replace(release.configuration, block_devices=()))
