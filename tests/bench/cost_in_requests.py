# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A row of a table: what something that is done again and again costs in requests."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.unikernel.fleet.tests.support.network_lab import GUEST_V4
from ansible_collections.unikernel.fleet.tests.support.requests_apart import requests_apart
from ansible_collections.unikernel.fleet.tests.support.requests_made import Requests

SETTLE_S = 0.3
QUIET_WINDOW_S = 0.25
"""Where nothing is done, gaps are looked for in windows of about a swap's length."""


@dataclass
class Cost:
    """In requests from a process of their own."""

    what: str
    act: str
    """What is done again and again: a swap, a rehearsal."""
    requests: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    bursts: int = 0
    """How often requests failed: those that fail within a tenth of a second count as one."""
    gaps_ms: list[float] = field(default_factory=list)
    """Of each act, from its begin to the next one's: the longest time between two good answers."""
    acts_ms: list[float] = field(default_factory=list)
    first_ms: list[float] = field(default_factory=list)
    """Of each act that makes another version answer, from its begin to that one's first good answer."""
    lasted_s: float = 0.0

    def lost(self) -> int:
        return sum(self.failed.values())

    def __str__(self) -> str:
        detail = ""
        if self.failed:
            share = f", {self.lost() / len(self.acts_ms):.1f} a {self.act}" if self.acts_ms else ""
            detail = f" {dict(self.failed)} in {self.bursts} bursts{share}"
        first = f"; first 200 of the new one after {statistics.median(self.first_ms):.1f} ms" if self.first_ms else ""
        took = f"; a {self.act} takes {statistics.median(self.acts_ms):.0f} ms" if self.acts_ms else ""
        return (
            f"{self.what:<38} {len(self.acts_ms):>3} {self.act}s, {self.requests:>6} requests, {self.lost()} failed"
            f"{detail}; gap median {statistics.median(self.gaps_ms):.1f} ms, worst {max(self.gaps_ms):.1f} ms"
            f"{first}{took}"
        )

    @contextmanager
    def counted(self, **pace: Any) -> Iterator[Acts]:
        """While requests are made, at this pace: what is done in the ``with``, each in an :meth:`Acts.one`."""
        acts = Acts()
        with requests_apart(GUEST_V4, **pace) as made:
            time.sleep(SETTLE_S)
            yield acts
            time.sleep(SETTLE_S)
            end_s = time.monotonic()
        self._add(made, acts, end_s)

    def quiet(self, for_s: float, **pace: Any) -> None:
        """What the same requests cost for so long while nothing is done: it is the machine's other work."""
        with requests_apart(GUEST_V4, **pace) as made:
            time.sleep(SETTLE_S)
            begun_s = time.monotonic()
            time.sleep(for_s)
        windows = max(1, round(for_s / QUIET_WINDOW_S))
        self._add(made, Acts([begun_s + index * QUIET_WINDOW_S for index in range(windows)]), begun_s + for_s)

    def _add(self, made: Requests, acts: Acts, end_s: float) -> None:
        self.requests += len(made.requests)
        self.failed.update(request.outcome for request in made.failed())
        self.bursts += made.bursts()
        self.gaps_ms += [1000 * gap for gap in made.longest_gaps_s([*acts.begun_s, end_s])]
        self.acts_ms += acts.took_ms
        good = made.good()
        for begun_s, version in zip(acts.begun_s, acts.versions):
            first_s = next(at for at, body in good if at >= begun_s and body == version)
            self.first_ms.append(1000 * (first_s - begun_s))
        self.lasted_s += made.requests[-1].begun_s - made.requests[0].begun_s


@dataclass
class Acts:
    """When each was begun, how long it took, and which version it made answer if that is asked."""

    begun_s: list[float] = field(default_factory=list)
    took_ms: list[float] = field(default_factory=list)
    versions: list[bytes] = field(default_factory=list)

    @contextmanager
    def one(self) -> Iterator[None]:
        self.begun_s.append(time.monotonic())
        yield
        self.took_ms.append(1000 * (time.monotonic() - self.begun_s[-1]))
