# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Locks that die with their holder: ``flock`` belongs to the open file, so the kernel frees that of a killed one."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

EXCLUSIVE, SHARED = fcntl.LOCK_EX, fcntl.LOCK_SH


def open_lock(path: Path, mode: int = 0o600) -> int:
    """A descriptor of the file, which holds whatever is locked through it until it is closed."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)


def locks(descriptor: int, kind: int = EXCLUSIVE) -> bool:
    """Lock it if nobody hinders that; whether we hold it."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def locks_within(
    descriptor: int,
    wait_s: float,
    kind: int = EXCLUSIVE,
    poll_s: float = 0.02,
    pause: Callable[[float], None] = time.sleep,
) -> bool:
    """The same, waiting for others at most that long."""
    give_up = time.monotonic() + wait_s
    while not locks(descriptor, kind):
        if time.monotonic() >= give_up:
            return False
        pause(poll_s)
    return True
