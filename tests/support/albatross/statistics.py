# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""albatross-stats: a sample of each unikernel, again and again, for one listener of each name."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Optional

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross import messages as m
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import (
    Generation,
    InterfaceData,
    KernelMemory,
    ResourceUsage,
    TimeValue,
)
from ansible_collections.unikernel.fleet.tests.support.albatross import frames
from ansible_collections.unikernel.fleet.tests.support.albatross.listing import listed
from ansible_collections.unikernel.fleet.tests.support.albatross.running import Running

_TICKS = os.sysconf("SC_CLK_TCK")
_MTU = 1_500


class Statistics:
    def __init__(
        self, generation: Generation, unikernels: Callable[[], dict[Name, Running]], every_s: float = 10.0
    ) -> None:
        self._generation, self._unikernels, self._every_s = generation, unikernels, every_s
        self._lock = threading.Lock()
        self._listeners: dict[Name, socket.socket] = {}

    def serve(self, connection: socket.socket) -> None:
        asked = frames.request(connection, self._generation)
        if asked is None:
            return
        if not isinstance(asked.payload, m.SubscribeStatistics):
            frames.say(connection, m.Message(asked.name, m.Failure("unexpected command"), asked.sequence))
            return
        with self._lock:
            before = self._listeners.get(asked.name)
            self._listeners[asked.name] = connection
        if before is not None:
            with suppress(OSError):
                before.shutdown(socket.SHUT_RDWR)
        if not frames.say(connection, m.Message(asked.name, m.Said("subscribed"), asked.sequence)):
            return
        connection.settimeout(self._every_s)
        while True:
            for relative, running in listed(asked.name, self._unikernels()):
                sample = _sample(running)
                if sample is not None and not frames.say(connection, m.Message(relative, sample)):
                    return
            try:
                connection.recv(1)
                return
            except socket.timeout:
                pass
            except OSError:
                return


def _sample(running: Running) -> Optional[m.StatsSample]:
    try:
        fields = Path(f"/proc/{running.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return None
    user, system, size, resident = (int(fields[index]) for index in (11, 12, 20, 21))
    zeros = dict.fromkeys(
        (
            *("ixrss", "idrss", "isrss", "nswap", "inblock", "outblock", "msgsnd", "msgrcv", "nsignals"),
            *("nvcsw", "nivcsw"),
        ),
        0,
    )
    usage = ResourceUsage(
        utime=_time(user),
        stime=_time(system),
        maxrss=resident,
        minflt=int(fields[7]),
        majflt=int(fields[9]),
        **zeros,
    )
    memory = KernelMemory(size, resident, 0, 0, 0, (user + system) * 1_000_000 // _TICKS, 0, _time(int(fields[19])))
    return m.StatsSample(usage, tuple(_interface(use.guest_device) for use in running.config.networks), (), memory)


def _time(ticks: int) -> TimeValue:
    return TimeValue(ticks // _TICKS, ticks % _TICKS * 1_000_000 // _TICKS)


def _interface(device: str) -> InterfaceData:
    """The double's unikernels have no taps, so nothing ever passed."""
    return InterfaceData(device, 0x1043, 0, 0, 0, _MTU, *(0,) * 12)
