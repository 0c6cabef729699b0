# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which process it is: a number alone may come to mean another one, number + start time + boot id never does."""

from __future__ import annotations

import os
import re
import select
import time
from dataclasses import dataclass
from typing import Optional

from .waiter import boot_id, identity_text, lives, open_pidfd, process_stat, signal_verified, start_ticks_of

BOOT_ID = re.compile(r"[0-9a-f-]{1,64}", re.ASCII)
POLL_S = 0.01
"""Between two looks, only where there is no pidfd."""


@dataclass(frozen=True)
class ProcessIdentity:
    """One process of one boot of one machine."""

    pid: int
    start_ticks: int
    """Clock ticks from boot to the process's start."""
    boot_id: str

    def __str__(self) -> str:
        return identity_text(self.pid, self.start_ticks, self.boot_id)

    @classmethod
    def parse(cls, text: str) -> ProcessIdentity:
        """From ``pid:start:boot``; ValueError when it is not that."""
        pid, start_ticks, boot = text.split(":")
        identity = cls(int(pid), int(start_ticks), boot)
        if identity.pid <= 1 or str(identity) != text or not BOOT_ID.fullmatch(boot):
            raise ValueError(f"{text!r} is no identity of a process")
        return identity


@dataclass(frozen=True)
class Readings:
    """What a process uses; of itself, not of its children."""

    cpu_time_s: float
    memory_mib: float
    """Resident."""
    uptime_s: float


def identify(pid: int) -> Optional[ProcessIdentity]:
    """The identity of the process that has this number now; None when none has."""
    stat = process_stat(pid)
    return None if stat is None else ProcessIdentity(pid, start_ticks_of(stat), boot_id())


def _stat(identity: ProcessIdentity) -> Optional[list[str]]:
    stat = process_stat(identity.pid)
    if stat is None or not lives(stat) or start_ticks_of(stat) != identity.start_ticks:
        return None
    return stat if identity.boot_id == boot_id() else None


def alive(identity: ProcessIdentity) -> bool:
    """Whether exactly this process still runs. A zombie does not."""
    return _stat(identity) is not None


def send(identity: ProcessIdentity, number: int) -> bool:
    """Send a signal to exactly this process; False when it is gone. PermissionError when we may not."""
    return identity.boot_id == boot_id() and signal_verified(identity.pid, identity.start_ticks, number)


def wait_end(identity: ProcessIdentity, timeout_s: float) -> bool:
    """Wait until this process has ended; False when it still runs after that long."""
    try:
        descriptor = open_pidfd(identity.pid)
    except ProcessLookupError:
        return True
    deadline = time.monotonic() + timeout_s
    try:
        if not alive(identity):
            return True
        if descriptor is not None:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            return bool(poll.poll(max(0, int(timeout_s * 1000))))
        while alive(identity):
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_S)
        return True
    finally:
        if descriptor is not None:
            os.close(descriptor)


def readings(identity: ProcessIdentity) -> Optional[Readings]:
    """What the process uses at this moment; None when it has ended."""
    stat = _stat(identity)
    if stat is None:
        return None
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    return Readings(
        cpu_time_s=(int(stat[11]) + int(stat[12])) / ticks_per_s,
        memory_mib=round(int(stat[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20, 3),
        uptime_s=max(0.0, round(time.clock_gettime(time.CLOCK_BOOTTIME) - identity.start_ticks / ticks_per_s, 3)),
    )
