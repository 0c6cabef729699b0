# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether albatrossd still has its console daemon, looked at before anything is killed.

albatrossd connects to it once, when it is started, and never again. It finds out that this connection is gone when it
starts a unikernel: after it has killed the one that ran.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Optional

from ..albatross.client import Client
from ..albatross.errors import AnswerLost, ClosedUnanswered, MalformedAnswer, NotSent, Refused, Unsendable
from .albatross_interfaces import listener
from .albatross_place import Place

DAEMON = "albatrossd"
CONSOLE_DAEMONS = ("albatross-console", "albatross_console")
REMEDY = "restart albatross-console first, then albatrossd, which starts its unikernels anew"
_UNREACHABLE = "couldn't reach service"
"""The TLS endpoint, of a daemon whose socket does not accept."""
_ONCE = "which does not connect to it again"
_INIT = 1
_START_TIME = 19
"""Of the fields of /proc/PID/stat, counted from the one after the name."""


def refusals_of_console(place: Place, client: Client, serving: Optional[str]) -> list[str]:
    """Why albatrossd could start nothing, in clauses; none where that cannot be known from here. ``serving``: the label
    of what runs, if anything does."""
    why = _loss(place, client, serving)
    if why is None and place.address is None and _is_younger(place):
        why = f"was started later than albatrossd, {_ONCE}"
    if why is None:
        return []
    return [
        f"albatross' console daemon {why}; without it albatrossd starts nothing, which it would find out after the "
        f"kill ({REMEDY})"
    ]


def _loss(place: Place, client: Client, serving: Optional[str]) -> Optional[str]:
    """What is wrong with the console daemon, by its own answer, as a clause; None when nothing seems to be."""
    try:
        if serving is None:
            client.inactive_consoles(place.name(None))
        elif not client.has_console(place.name(serving)):
            return (
                f"has never heard of {place.name(serving)}, which runs: it was started later than albatrossd, {_ONCE}"
            )
    except (ClosedUnanswered, MalformedAnswer, Unsendable):
        return None  # Before release 2.6.1 it does not know the first of these questions, and closes the connection.
    except (NotSent, AnswerLost) as error:
        return f"does not answer ({error})"
    except Refused as refused:
        return f"does not answer ({refused})" if refused.text == _UNREACHABLE else None
    return None


def _is_younger(place: Place) -> bool:
    """By the processes that listen. Where systemd listens for them, or something that only passes on, it tells
    nothing."""
    started = [
        _started(listener(place, service), names)
        for service, names in (("console.sock", CONSOLE_DAEMONS), ("vmmd.sock", (DAEMON,)))
    ]
    console, daemon = started
    return console is not None and daemon is not None and console > daemon


def _started(pid: Optional[int], names: tuple[str, ...]) -> Optional[int]:
    """In ticks since the boot; None when it is not known, or not a process of one of these programs."""
    if pid is None or pid <= _INIT:
        return None
    with suppress(OSError, ValueError, IndexError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if not any(os.path.basename(os.fsdecode(word)) in names for word in words):
            return None
        after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
        return int(after_name.split()[_START_TIME])
    return None
