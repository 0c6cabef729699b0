# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One end for a whole attempt. A socket's own time-out begins again with every byte; this does not."""

from __future__ import annotations

import time
from dataclasses import dataclass


class OutOfTime(Exception):
    """The attempt has used up its time."""


@dataclass(frozen=True)
class Deadline:
    """A point on the monotonic clock."""

    at_s: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        return cls(time.monotonic() + seconds)

    def left_s(self) -> float:
        """Seconds that remain, always more than 0; OutOfTime when none do."""
        left = self.at_s - time.monotonic()
        if left <= 0:
            raise OutOfTime
        return left
