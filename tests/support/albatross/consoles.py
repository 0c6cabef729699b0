# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""albatross-console: the last 1024 lines of each unikernel, kept over its end, and those who listen to them.

A listener who hangs up is found out only when there is a line for it: until then it has a place, and the oldest one
loses its own when too many come.
"""

from __future__ import annotations

import socket
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Optional

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross import messages as m
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import Generation, moment
from ansible_collections.unikernel.fleet.tests.support.albatross import frames
from ansible_collections.unikernel.fleet.tests.support.albatross.listing import listed
from ansible_collections.unikernel.fleet.tests.support.albatross.stamps import stamp

RING = 1_024
LONGEST_LINE = 512
"""Octets that are read at once, and kept of a line."""
MOST_LISTENERS = 5

Line = tuple[datetime, bytes]


class Listener:
    """One connection. Its lock keeps the history before the lines that come meanwhile."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.lock = threading.Lock()

    def hang_up(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


@dataclass
class _Console:
    listeners: list[Listener] = field(default_factory=list)
    """The newest first."""
    reader: Optional[int] = None
    """Which of the readers is at work; None: the unikernel does not run."""
    ring: Optional[deque[Line]] = None
    """None: it never ran."""


@dataclass
class _Path:
    most: int
    """Unikernels that its policy allows."""
    consoles: dict[str, _Console] = field(default_factory=dict)


class Consoles:
    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        self.over = False
        """It was killed: who was connected to it has lost it, and does not connect again."""
        self._lock = threading.Lock()
        self._paths: dict[tuple[str, ...], _Path] = {}
        self._readers = 0

    # --- what albatrossd says

    def add(self, name: Name, most: int, descriptor: int) -> None:
        """A unikernel starts; its console is what this descriptor, which is ours from now on, has to read."""
        with self._lock:
            here = self._paths.setdefault(name.path, _Path(most))
            here.most = most
            known = name.label in here.consoles
            console = here.consoles.setdefault(name.label or "", _Console())
            self._readers += 1
            console.reader = self._readers
            console.ring = deque(maxlen=RING) if console.ring is None else console.ring
            if not known:
                _make_room(here)
            arguments = (name, self._readers, descriptor)
        threading.Thread(target=self._read, args=arguments, daemon=True).start()

    def _read(self, name: Name, reader: int, descriptor: int) -> None:
        lines = Lines()
        with open(descriptor, "rb", buffering=0) as console:
            while True:
                octets = console.read(LONGEST_LINE)
                if not octets:
                    break
                for line in lines.of(octets):
                    self._tell(name, line)
        with self._lock:
            found = self._find(name)
            if found is not None and found.reader == reader:
                found.reader = None

    def _tell(self, name: Name, line: bytes) -> None:
        now = datetime.now(timezone.utc)
        with self._lock:
            found = self._find(name)
            if found is None or found.ring is None:
                return
            found.ring.append((now, line))
            listeners = list(found.listeners)
        for one in listeners:
            with one.lock:
                heard = frames.say(one.connection, m.Message(name, _told((now, line))))
            if not heard:
                with self._lock:
                    if one in found.listeners:
                        found.listeners.remove(one)

    # --- what clients say

    def serve(self, connection: socket.socket) -> None:
        asked = frames.request(connection, self._generation)
        if asked is None:
            return

        def say(payload: m.Payload) -> bool:
            return frames.say(connection, m.Message(asked.name, payload, asked.sequence))

        command = asked.payload
        if isinstance(command, (m.SubscribeConsole, m.AddConsole)) and asked.name.label is None:
            say(m.Failure("path used instead of name"))
        elif isinstance(command, m.SubscribeConsole):
            self._subscribe(asked, command, connection)
        elif isinstance(command, m.AddConsole):
            # There is no fifo of a unikernel that albatrossd did not start.
            say(m.Failure("opening"))
        elif isinstance(command, m.ListInactiveConsoles) and asked.name.label is not None:
            say(m.Failure("name used"))
        elif isinstance(command, m.ListInactiveConsoles):
            say(self._inactive(asked.name))

    def _subscribe(self, asked: m.Message, command: m.SubscribeConsole, connection: socket.socket) -> None:
        listener = Listener(connection)
        with listener.lock:
            with self._lock:
                here = self._paths.setdefault(asked.name.path, _Path(1))
                known = asked.name.label in here.consoles
                console = here.consoles.setdefault(asked.name.label or "", _Console())
                if len(console.listeners) - 1 >= MOST_LISTENERS:
                    console.listeners.pop().hang_up()
                console.listeners.insert(0, listener)
                history = None if console.ring is None else _history(console.ring, command)
                if not known:
                    _make_room(here)
            answer = m.Said("waiting for VM" if history is None else "subscribed")
            if not frames.say(connection, m.Message(asked.name, answer, asked.sequence)):
                return
            for line in history or ():
                if not frames.say(connection, m.Message(asked.name, _told(line))):
                    return
        frames.chunk(connection)

    def _inactive(self, path: Name) -> m.Consoles:
        with self._lock:
            found = {
                Name(where, label): console
                for where, here in self._paths.items()
                for label, console in here.consoles.items()
                if console.reader is None and console.ring is not None
            }
        # Its trie is of paths, and the names in each of them come the last one first.
        paths = listed(path, {Name(where): where for where in {name.path for name in found}})
        told = []
        for relative, where in reversed(paths):
            labels = sorted(name.label for name in found if name.path == where and name.label)
            told += [Name(relative.path, label) for label in labels]
        return m.Consoles(tuple(reversed(told)))

    def _find(self, name: Name) -> Optional[_Console]:
        here = self._paths.get(name.path)
        return here.consoles.get(name.label or "") if here else None


class Lines:
    """Octets that come in pieces, cut into lines: none that are empty, and of one that is too long its beginning."""

    def __init__(self) -> None:
        self._rest = b""
        self._dropping = False

    def of(self, octets: bytes) -> list[bytes]:
        """The lines that these octets end."""
        data = self._rest + octets
        if self._dropping:
            _dropped, found, data = data.partition(b"\n")
            self._dropping = not found
        lines = data.split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) >= LONGEST_LINE:
            lines.append(self._rest[:LONGEST_LINE] + b" [truncated]")
            self._rest, self._dropping = b"", True
        return [line for line in lines if line]


def _history(ring: deque[Line], command: m.SubscribeConsole) -> list[Line]:
    if command.since is not None:
        since = moment(command.since)
        return [line for line in ring if line[0] >= since]
    count = min(command.count or 0, RING)
    return list(ring)[-count:] if count else []


def _told(line: Line) -> m.ConsoleLine:
    return m.ConsoleLine(stamp(line[0]), line[1].decode("utf-8", "surrogateescape"))


def _make_room(here: _Path) -> None:
    """A path may have one console more than unikernels; then the first of those that do not run goes."""
    if len(here.consoles) > here.most:
        for label in sorted(here.consoles):
            if here.consoles[label].reader is None:
                for one in here.consoles.pop(label).listeners:
                    one.hang_up()
                return
