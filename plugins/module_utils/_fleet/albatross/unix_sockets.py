# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""albatross over the Unix sockets of the node: root and the sockets' group may ask for anything."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ..checks.deadline import Deadline, OutOfTime
from ..checks.stream import said
from . import wire
from .conversation import Conversation, Patience
from .errors import NotSent
from .messages import CONSOLE_COMMANDS, STATISTICS_COMMANDS, Command, Message, SetBlock
from .names import Name

FOLDER = Path("/run/albatross/util")
"""On Linux. On FreeBSD /var/run/albatross/util; elsewhere what ``--tmpdir`` of the daemons says, and ``util``."""
UNIKERNELS, CONSOLE, STATISTICS = "vmmd.sock", "console.sock", "stat.sock"

_LONGEST_ADDRESS = 100
"""Octets. The address of a Unix socket has room for 104 (FreeBSD) or 108 (Linux), with the NUL at its end."""
_PAUSE_S = 0.01


def socket_of(command: Command) -> str:
    """The name of the socket on which a command is served."""
    if isinstance(command, CONSOLE_COMMANDS):
        return CONSOLE
    return STATISTICS if isinstance(command, STATISTICS_COMMANDS) else UNIKERNELS


@dataclass(frozen=True)
class UnixSockets:
    """A transport on the node itself."""

    folder: Path = FOLDER

    @property
    def where(self) -> str:
        return f"albatross ({self.folder})"

    def open(
        self, name: Name, command: Command, patience: Patience, upload: Optional[Iterable[bytes]] = None
    ) -> Conversation:
        request = Message(name, command)
        octets = wire.framed(wire.encode(request))
        connection = self._connected(socket_of(command), Deadline.after(patience.connect_s))
        talk = Conversation(connection, self.where, request)
        try:
            # A block device is overwritten as far as its chunks came; any other request is read to its end first.
            talk.request(octets, upload, Deadline.after(patience.send_s), whole=not isinstance(command, SetBlock))
        except BaseException:
            talk.close()
            raise
        return talk

    def _connected(self, service: str, deadline: Deadline) -> socket.socket:
        path = self.folder / service
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if len(os.fsencode(path)) <= _LONGEST_ADDRESS:
                _connect(connection, str(path), deadline)
            else:
                _connect_through_folder(connection, path, deadline)
        except OSError as error:
            connection.close()
            raise NotSent(f"{path}: {_advice(error)} Nothing was sent.") from None
        except OutOfTime:
            connection.close()
            raise NotSent(f"{path}: its queue is full and nobody takes from it. Nothing was sent.") from None
        except BaseException:
            connection.close()
            raise
        return connection


def _connect(connection: socket.socket, address: str, deadline: Deadline) -> None:
    """The queue of albatross' sockets holds one or two; EAGAIN says that it is full, for there is no waiting in it."""
    while True:
        connection.settimeout(deadline.left_s())
        try:
            connection.connect(address)
            return
        except socket.timeout:
            raise OutOfTime from None
        except BlockingIOError:
            time.sleep(min(_PAUSE_S, deadline.left_s()))


def _connect_through_folder(connection: socket.socket, path: Path, deadline: Deadline) -> None:
    """By a descriptor of its folder (Linux), for a path that an address has no room for."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _connect(connection, f"/proc/self/fd/{folder}/{path.name}", deadline)
    finally:
        os.close(folder)


def _advice(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such socket. Does albatross run on this node, and is this the folder of its sockets?"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there any more. Start albatross."
    if isinstance(error, PermissionError):
        return "not permitted. Root and the group of the socket may connect (become)."
    return f"{said(error)}."
