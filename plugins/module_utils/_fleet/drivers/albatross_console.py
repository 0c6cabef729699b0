# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a unikernel on albatross said: its console outlives it, and is one for all that ever ran under its label.

How something ended is not told by albatross; its last words are all there is to know.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Optional

from ..albatross.client import Client
from ..albatross.messages import ConsoleLine
from ..albatross.names import Name
from ..albatross.records import moment
from ..albatross.sendable import MOST_LINES
from .albatross_records import Created

QUIET_S = 0.05
"""A history comes in one go."""
WORDS = 3
KILLED = "Exiting on signal 15"
"""The last word of a tender that was told to end: what follows was said by the next one."""
_BEFORE_ITS_START = timedelta(seconds=0.5)
"""albatross looks at the clock after it has started something, which may have spoken by then."""
_MOMENT = timedelta(seconds=0.02)
_NO_TIME = timedelta()


def spoken_by(
    client: Client, name: Name, record: Created, later: Sequence[Created], count: Optional[int] = None
) -> tuple[str, ...]:
    """What one release said, as far as albatross remembers it; ``later``: those that were asked for after it."""
    told = client.console(name, MOST_LINES, QUIET_S)
    lines = [(_at(one), readable(one)) for one in told]
    begin = _beginning(lines, record)
    # Where it is not certain whose a line is, it is both theirs: last words matter most, and first ones too.
    end = min((_beginning(lines, one, _NO_TIME) for one in later), default=len(lines))
    mine = tuple(line for _at, line in lines[begin : max(begin, end)])
    return mine if count is None else mine[-count:] if count > 0 else ()


def _beginning(lines: Sequence[tuple[datetime, str]], record: Created, early: timedelta = _MOMENT) -> int:
    """The place of its first line, which may have come so early."""
    asked = moment(record.asked_at)
    start = moment(record.started) if record.started is not None else None
    since, until = (asked, None) if start is None else (start - _BEFORE_ITS_START, start + _BEFORE_ITS_START)
    near = [n for n, (at, _line) in enumerate(lines) if since <= at and (until is None or at <= until)]
    killed = [n for n in near if KILLED in lines[n][1]] if record.before is not None else []
    if killed:
        return (killed[0] if start is None else killed[-1]) + 1
    if record.order > 1 and start is not None:
        # solo5-spt says nothing when it is killed, and what ended by itself spoke until shortly before.
        near = [n for n in near if lines[n][0] >= start - early]
    if near:
        return near[0]
    return sum(at < (since if start is None else start) for at, _line in lines)


def readable(one: ConsoleLine) -> str:
    """albatross passes on any octets."""
    return one.line.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def is_later(time: str, other: str) -> bool:
    """Of two times in albatross' words. What cannot be read is taken for later: it is no reason to overhear a line."""
    with suppress(ValueError):
        return moment(time) > moment(other)
    return True


def _at(one: ConsoleLine) -> datetime:
    try:
        return moment(one.time)
    except ValueError:
        return datetime.min.replace(tzinfo=timezone.utc)


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
