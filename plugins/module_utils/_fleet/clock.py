# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Time as the journal needs it: deadlines on a clock that a changed wall time does not move."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Now:
    """A clock, read once."""

    boottime_s: float
    boot_id: str


class Clock(Protocol):
    """The three times there are: since boot (deadlines), the boot itself, and the wall (for people only)."""

    def boottime_s(self) -> float:
        """Seconds since boot, suspend included; never jumps."""

    def boot_id(self) -> str:
        """Another id means that the machine was booted in between."""

    def wall(self) -> str:
        """RFC 3339 in UTC; may jump, never decides anything."""


class SystemClock:
    """The clocks of this machine."""

    def boottime_s(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def boot_id(self) -> str:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()

    def wall(self) -> str:
        return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
