# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A TCP connection whose every step ends at one deadline, and whose answers are bounded in bytes."""

from __future__ import annotations

import errno
import io
import ipaddress
import queue
import socket
import ssl
import threading
from contextlib import suppress
from typing import Any, Optional

from .deadline import Deadline, OutOfTime
from .model import Outcome

_HINDERED_HERE = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.ENETUNREACH,
        errno.EADDRNOTAVAIL,
        errno.EAFNOSUPPORT,
    }
)
"""Errors of the machine that checks (no route, no IPv6, no descriptors): they say nothing about the target."""


class TooMuch(Exception):
    """The other side sent more than it may."""


class Unresolved(Exception):
    """A name that could not be looked up."""

    def __init__(self, message: str, outcome: Outcome) -> None:
        super().__init__(message)
        self.outcome = outcome


def blame(error: OSError) -> Outcome:
    """Whose fault a failed connection is: the target's (FAIL), or this machine's (INCONCLUSIVE)."""
    # The numbers of TLS errors are not those of the system: SSL_ERROR_SSL is 1, as EPERM is.
    hindered = error.errno in _HINDERED_HERE and not isinstance(error, ssl.SSLError)
    return Outcome.INCONCLUSIVE if hindered else Outcome.FAIL


def said(error: OSError) -> str:
    """An OSError in words, without its number."""
    return (error.strerror or str(error) or type(error).__name__).lower()


def resolved(host: str, port: int, deadline: Deadline) -> list[tuple[Any, ...]]:
    """Addresses as of ``getaddrinfo``. A name is looked up in a thread of its own: the resolver has no time limit."""
    with suppress(ValueError):
        ipaddress.ip_address(host.partition("%")[0])
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=look_up, name=f"look up {host}", daemon=True).start()
    try:
        answer = answers.get(timeout=deadline.left_s())
    except queue.Empty:
        raise OutOfTime from None
    if isinstance(answer, socket.gaierror) and answer.errno == socket.EAI_NONAME:
        raise Unresolved(f"there is no host named {host!r}", Outcome.FAIL)
    if isinstance(answer, BaseException):
        raise Unresolved(f"the name {host!r} could not be looked up here: {answer}", Outcome.INCONCLUSIVE)
    return list(answer)


def connected(host: str, port: int, deadline: Deadline) -> socket.socket:
    """A connection to the first address that answers. OSError of the last one that did not; OutOfTime."""
    addresses = resolved(host, port, deadline)
    failure: Exception = OutOfTime()
    for position, (family, kind, protocol, _name, address) in enumerate(addresses):
        # An address that swallows packets must leave time for those after it.
        share_s = deadline.left_s() / (len(addresses) - position)
        connection: Optional[socket.socket] = None
        try:
            connection = socket.socket(family, kind, protocol)
            connection.settimeout(share_s)
            connection.connect(address)
            return connection
        except socket.timeout:
            failure = OutOfTime()
        except OSError as error:
            failure = error
        if connection is not None:
            connection.close()
    raise failure


class _Bounded(io.RawIOBase):
    """What arrives on a socket, until the deadline and up to a number of bytes."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self._stream.receive(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)


class Stream:
    """As much of a socket as ``http.client`` uses, with the deadline and a budget of bytes built in."""

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._connection = connection
        self._deadline = deadline
        self.budget = 0
        """Bytes that may still be received; one more is TooMuch."""

    def secured(self, context: ssl.SSLContext, server_hostname: Optional[str]) -> None:
        """Speak TLS from here on. ssl.SSLError, OutOfTime."""
        self._connection.settimeout(self._deadline.left_s())
        try:
            self._connection = context.wrap_socket(self._connection, server_hostname=server_hostname)
        except socket.timeout:
            raise OutOfTime from None

    def receive(self, size: int) -> bytes:
        """At least one byte, or none at the end of the stream."""
        if self.budget <= 0:
            raise TooMuch
        self._connection.settimeout(self._deadline.left_s())
        try:
            chunk = self._connection.recv(min(size, self.budget))
        except socket.timeout:
            raise OutOfTime from None
        self.budget -= len(chunk)
        return chunk

    def sendall(self, data: Any) -> None:
        view = memoryview(data).cast("B")
        while view:
            self._connection.settimeout(self._deadline.left_s())
            try:
                view = view[self._connection.send(view) :]
            except socket.timeout:
                raise OutOfTime from None

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Bounded(self))

    def fileno(self) -> int:
        return self._connection.fileno()

    def close(self) -> None:
        """Nothing: ``http.client`` closes its socket as soon as it has read the headers of a last answer, and relies on
        the file that it made to keep it open for the body. Who opened the connection ends it with disconnect()."""

    def disconnect(self) -> None:
        with suppress(OSError):
            self._connection.close()
