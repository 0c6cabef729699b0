# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The history of a unikernel: one JSON line per event, only ever added to."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..codec import encode
from ..durable import sync_folder
from .state import Event

_TAIL_BYTES = 1 << 20

_LAST_BYTES = 1 << 16
"""The last event is as good as always in there: no journal write has to read a megabyte of history."""


def complete(path: Path, events: Iterable[Event]) -> None:
    """Add the events that the history lacks, in order, and make them durable; OSError leaves them for next time."""
    last = last_seq(path)
    missing = [event for event in events if event.seq > last]
    if not missing:
        return
    created = not path.exists()
    text = "".join(json.dumps(encode(event), sort_keys=True) + "\n" for event in missing)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if _ends_torn(descriptor):
            # A power cut in the middle of a line: end it, so that only that line is lost (and then added again).
            text = "\n" + text
        view = memoryview(text.encode("utf-8"))
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if created:
        sync_folder(path.parent)


def tail(path: Path, count: int) -> tuple[dict[str, Any], ...]:
    """The last events, oldest first; lines that are not whole are passed over. Bounded to 1 MiB of the file."""
    events = _events(path, _TAIL_BYTES)
    return tuple(events[-count:]) if count > 0 else ()


def last_seq(path: Path) -> int:
    """Number of the last whole event; 0 when there is none. OSError when the history cannot be read."""
    events = _events(path, _LAST_BYTES) or _events(path, _TAIL_BYTES)
    return int(events[-1]["seq"]) if events else 0


def _events(path: Path, most_bytes: int) -> list[dict[str, Any]]:
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - most_bytes))
            lines = stream.read(most_bytes).splitlines()
    except FileNotFoundError:
        return []
    events = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and isinstance(event.get("seq"), int):
            events.append(event)
    return events


def _ends_torn(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
