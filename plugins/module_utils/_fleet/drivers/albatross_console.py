# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a unikernel on albatross said: its console outlives it, and is one for all that ever ran under its label.

How something ended is not told by albatross; its last words are all there is to know.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Optional

from ..albatross.client import Client
from ..albatross.names import Name
from ..albatross.records import moment
from ..albatross.sendable import MOST_LINES
from .albatross_records import Created

QUIET_S = 0.05
"""A history comes in one go."""
WORDS = 3
KILLED = "Exiting on signal 15"
"""The last word of a tender that was told to end."""


@dataclass(frozen=True)
class Window:
    """From when to when a release was the one that spoke."""

    since: datetime
    until: Optional[datetime] = None
    after_a_kill: bool = False
    """What was there before may still have been speaking: until its tender said that it was killed."""


def window_of(record: Created, later: Sequence[Created]) -> Window:
    """``later``: those that were asked for after it, under the same label."""
    if record.started is None:
        return Window(moment(record.asked_at), after_a_kill=record.before is not None)
    since = moment(record.started)
    after = sorted(moment(one.started) for one in later if one.started is not None)
    following = [at for at in after if at > since]
    return Window(since, following[0] if following else None)


def lines(client: Client, name: Name, window: Window) -> tuple[str, ...]:
    """What was said then, as far as albatross remembers it."""
    told = client.console(name, MOST_LINES, QUIET_S)
    spoken = []
    for one in told:
        with suppress(ValueError):
            at = moment(one.time)
            if window.since <= at and (window.until is None or at < window.until):
                spoken.append(one.line.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
    killed = [place for place, line in enumerate(spoken) if KILLED in line] if window.after_a_kill else []
    return tuple(spoken[killed[0] + 1 :] if killed else spoken)


def last_words(said: Sequence[str]) -> str:
    """In words that follow its name."""
    unknown = "is gone from albatross, which does not tell how it ended"
    words = " / ".join(line.strip()[:200] for line in said[-WORDS:] if line.strip())
    return f"{unknown}; its last words: {words}" if words else f"{unknown}, and it said nothing"


def stamp() -> str:
    """Now, as albatross writes times."""
    now = datetime.now(timezone.utc)
    return f"{now:%Y%m%d%H%M%S}.{now.microsecond // 1000:03d}Z"


def seconds_since(started: Optional[str]) -> Optional[float]:
    """By the clock of this machine."""
    if started is not None:
        with suppress(ValueError):
            return max(0.0, (datetime.now(timezone.utc) - moment(started)).total_seconds())
    return None
