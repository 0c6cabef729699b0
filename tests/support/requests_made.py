# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What came of many requests: how many failed, in how many bursts, and how long there was no good answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Optional

BURST_S = 0.1


@dataclass
class Request:
    begun_s: float
    ended_s: Optional[float] = None
    outcome: str = ""
    """``ok``, or what went wrong."""
    body: bytes = b""


@dataclass
class Requests:
    """In the order in which they were begun."""

    requests: list[Request] = field(default_factory=list)

    def failed(self) -> list[Request]:
        return [r for r in self.requests if r.outcome and r.outcome != "ok"]

    def bursts(self) -> int:
        """How often requests failed: those that fail within a tenth of a second count as one."""
        begins = [request.begun_s for request in self.failed()]
        return sum(later - earlier > BURST_S for earlier, later in zip([float("-inf"), *begins], begins))

    def good(self) -> list[tuple[float, bytes]]:
        """When good answers ended, and what they said."""
        return sorted((r.ended_s, r.body) for r in self.requests if r.outcome == "ok" and r.ended_s is not None)

    def longest_gaps_s(self, edges_s: Sequence[float]) -> list[float]:
        """The longest time without a good answer, of those that reach into each of the windows between these.

        One that has no good answer before or after it counts from its window's begin, or to its end.
        """
        ends = [at for at, _body in self.good()]
        found = []
        for since_s, until_s in zip(edges_s, edges_s[1:]):
            before = [at for at in ends if at <= since_s][-1:] or [since_s]
            after = [at for at in ends if at >= until_s][:1] or [until_s]
            points = [*before, *(at for at in ends if since_s < at < until_s), *after]
            found.append(max(b - a for a, b in zip(points, points[1:])))
        return found
