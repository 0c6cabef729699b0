# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A node on which real processes run: driver ``unix``, its waiters, and programs that answer on a TCP port."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.declaration import checks_from
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.model import CheckSpec, Schedule
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.clock import SystemClock
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.process_driver import ProcessDriver
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.protocol import Driver
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.unix import UnixGuest
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.images.store import ImageStore
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import Exit
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.node import Node
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.proposal import Declaration, Wanted
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import TrialOptions
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.detached import DetachedSupervisor
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.supervisor import ProcessSpec, Standing
from ansible_collections.unikernel.fleet.tests.support.trials import AT_ONCE

NAME = "www"

# Needs nothing but the interpreter's core, so it answers a few milliseconds after it was started.
_ANSWERS = f"""#!{sys.executable} -ISs
import _socket, sys
server = _socket.socket()
server.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
server.bind(("127.0.0.1", int(sys.argv[1])))
server.listen(8)
while True:
    connection = _socket.socket(fileno=server._accept()[0])
    connection.send(b"VERSION " + sys.argv[2].encode())
    connection.close()
"""


def answering(version: str) -> str:
    """A program that answers every connection with its version and its second argument."""
    return _ANSWERS.replace("VERSION", version)


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


def answer_of(port: int) -> Optional[str]:
    """What answers there; None when nothing does."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0) as connection:
        return connection.recv(100).decode("ascii") or None
    return None


def says(port: int, expect: str, timeout: float = 0.2) -> dict[str, Any]:
    """A declared check that this is answered there."""
    return {"tcp": {"host": "127.0.0.1", "port": port, "expect": expect}, "timeout": timeout}


QUICK = Schedule(deadline_s=0.6, stable_for_s=0.02, consecutive=2, delays_s=(0.02,), interval_s=0.02)


def trial_options(
    *declared: dict[str, Any], timeout_s: float = 30.0, deadline_s: float = QUICK.deadline_s, **rest: Any
) -> TrialOptions:
    checks: tuple[CheckSpec, ...] = checks_from(declared, None)
    return TrialOptions(timeout_s, checks, replace(QUICK, deadline_s=deadline_s), **rest)


@dataclass(frozen=True)
class LaterClock(SystemClock):
    """This machine's clock, some time from now."""

    ahead_s: float = 0.0

    def boottime_s(self) -> float:
        return super().boottime_s() + self.ahead_s


class WatchedSupervisor(DetachedSupervisor):
    """Tells of what happens within a swap, between the stop of the old process and the start of the new one."""

    def __init__(self, reached: Callable[[str], None]) -> None:
        self._reached = reached

    def start(self, folder: Path, spec: ProcessSpec, first: Callable[[], None] = lambda: None) -> str:
        def told() -> None:
            self._reached(f"{folder.name}: made ready")
            first()
            self._reached(f"{folder.name}: before its start")

        self._reached(f"{folder.name}: before it is made ready")
        identity = super().start(folder, spec, told)
        self._reached(f"{folder.name}: started")
        return identity

    def halt(self, folder: Path) -> None:
        self._reached(f"{folder.name}: before it is halted")
        super().halt(folder)
        self._reached(f"{folder.name}: halted")

    def stop(self, folder: Path) -> Optional[Exit]:
        self._reached(f"{folder.name}: before its stop")
        end = super().stop(folder)
        self._reached(f"{folder.name}: stopped")
        return end

    def inspect(self, folder: Path) -> Standing:
        return super().inspect(folder)


def real_node(root: Path, reached: Callable[[str], None] = lambda step: None, ahead_s: float = 0.0) -> Node:
    """The node below ``root``; ``reached`` is called at the journal's steps and within swaps."""
    layout = NodeLayout(root / "state")
    store = ImageStore(layout)
    driver: Driver = ProcessDriver(UnixGuest(), layout, store, WatchedSupervisor(reached))
    return Node(layout, store, lambda name: driver, LaterClock(ahead_s), reached)


def declared(node: Node, program: Optional[str], port: int, word: str = "default", **configuration: Any) -> Declaration:
    image = None if program is None else node.store.add_stream([program.encode("utf-8")])
    given = {"arguments": [str(port), word], "stop_grace_s": 2.0, **configuration}
    return Declaration(wanted=Wanted.RUNNING, image=image, configuration=given)


def processes_of(root: Path) -> dict[int, str]:
    """Every process that has to do with the folder: by command line, environment, program or working folder."""
    text, found = os.fsencode(root), {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        traces = []
        for part in ("cmdline", "environ"):
            with suppress(OSError):
                traces.append(Path("/proc", entry, part).read_bytes())
        for link in ("exe", "cwd"):
            with suppress(OSError):
                traces.append(os.fsencode(os.readlink(f"/proc/{entry}/{link}")))
        if any(text in trace for trace in traces):
            found[int(entry)] = traces[0].replace(b"\0", b" ").decode("utf-8", "replace")
    return found


def within(seconds: float, condition: Callable[[], Any]) -> bool:
    """Whether the condition comes true in that time."""
    give_up = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.005)
    return True


UNGUARDED = replace(AT_ONCE, timeout_s=30.0)
