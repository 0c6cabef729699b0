# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Small servers on real sockets that do with each connection what a test says, for as long as the test lasts."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Optional

Behaviour = Callable[[socket.socket], None]

LONGEST_TEST_S = 30.0


def frame_of(connection: socket.socket) -> bytes:
    """What the next frame holds; empty at the end of a stream, or of the connection."""
    prefix = exactly(connection, 4)
    return exactly(connection, int.from_bytes(prefix, "big")) if len(prefix) == 4 else b""


def exactly(connection: socket.socket, size: int) -> bytes:
    """So many octets, or fewer when the connection ends."""
    got = b""
    while len(got) < size:
        chunk = connection.recv(size - len(got))
        if not chunk:
            break
        got += chunk
    return got


def until_hung_up(connection: socket.socket) -> None:
    """Read on until the other side has had enough."""
    with contextlib.suppress(OSError):
        while connection.recv(65_536):
            pass


def drip(connection: socket.socket, octets: bytes, pause_s: float) -> None:
    """One octet at a time, until all are sent or the other side has had enough."""
    with contextlib.suppress(OSError):
        for octet in octets:
            connection.sendall(bytes((octet,)))
            time.sleep(pause_s)


def answering(*answers: bytes) -> Behaviour:
    """Read one frame, say this, close."""

    def behave(connection: socket.socket) -> None:
        frame_of(connection)
        for answer in answers:
            connection.sendall(answer)

    return behave


@contextlib.contextmanager
def serving(listener: socket.socket, behave: Behaviour) -> Iterator[list[BaseException]]:
    """Serve a listening socket, one connection after the other. What a behaviour raises fails the test at its end."""
    failures: list[BaseException] = []
    over = threading.Event()
    current: list[socket.socket] = []

    def serve() -> None:
        while not over.is_set():
            try:
                connection, _address = listener.accept()
            except OSError:
                return
            current[:] = [connection]
            connection.settimeout(LONGEST_TEST_S)
            with connection:
                try:
                    behave(connection)
                except (ConnectionError, socket.timeout):
                    pass
                except BaseException as error:
                    if not over.is_set():
                        failures.append(error)

    listener.settimeout(LONGEST_TEST_S)
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield failures
    finally:
        over.set()
        for one in (listener, *current):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(LONGEST_TEST_S)
    if failures:
        raise failures[0]


@contextlib.contextmanager
def unix_server(path: Path, behave: Behaviour, backlog: Optional[int] = None) -> Iterator[list[BaseException]]:
    """The same on a Unix socket of that path."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(5 if backlog is None else backlog)
        with serving(listener, behave) as failures:
            yield failures
