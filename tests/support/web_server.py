# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real web server on loopback that does what a test tells it, above all the wrong things.

A behaviour is a function of one accepted connection, with its request already read::

    with WebServer(in_turn(answers(503), answers(200, "up"))) as server:
        ... server.url ...
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Optional, Union

from .accepting import accept_each
from .certificates import Certificate


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


@dataclass(frozen=True)
class Connection:
    """One accepted connection."""

    socket: socket.socket
    request: Request
    stopping: threading.Event
    """Set when the server is being stopped; whoever waits, waits for this."""


Behaviour = Callable[[Connection], None]


class WebServer:
    """Listens from its construction on; ``url`` has no slash at its end."""

    def __init__(
        self, behaviour: Behaviour, *, certificate: Optional[Certificate] = None, ipv6: bool = False, port: int = 0
    ) -> None:
        self.behaviour = behaviour
        self.requests: list[Request] = []
        self._stopping = threading.Event()
        self._context: Optional[ssl.SSLContext] = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate.certificate, certificate.key)
        family, self.host = (socket.AF_INET6, "::1") if ipv6 else (socket.AF_INET, "127.0.0.1")
        self._listener = socket.create_server((self.host, port), family=family, backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        accepting = (self._listener, self._stopping, self._serve)
        self._thread = threading.Thread(target=accept_each, args=accepting, name="web server", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        scheme = "https" if self._context is not None else "http"
        return f"{scheme}://{'[::1]' if self.host == '::1' else self.host}:{self.port}"

    def stop(self) -> None:
        """Stop listening and cut every connection."""
        self._stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._listener.close()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> WebServer:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.stop()

    def _serve(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.add(connection)
        current = connection
        try:
            with suppress(OSError):
                connection.settimeout(30)
                if self._context is not None:
                    current = self._context.wrap_socket(connection, server_side=True)
                    with self._lock:
                        self._connections.add(current)
                request = _read_request(current)
                if request is not None:
                    self.requests.append(request)
                    self.behaviour(Connection(current, request, self._stopping))
        finally:
            with self._lock:
                self._connections -= {connection, current}
            with suppress(OSError):
                current.shutdown(socket.SHUT_RDWR)
            current.close()


def _read_request(connection: socket.socket) -> Optional[Request]:
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(65536)
        if not chunk:
            return None
        received += chunk
    head, _unused, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _unused = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _unused, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        body += connection.recv(65536)
    return Request(method, target, headers, body)


# --- behaviours -------------------------------------------------------------------------------


def answers(status: int = 200, body: Union[str, bytes] = "", headers: Optional[Mapping[str, str]] = None) -> Behaviour:
    """A proper answer."""
    content = body.encode() if isinstance(body, str) else body
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())

    def behaviour(connection: Connection) -> None:
        length = "" if "content-length" in lines.lower() else f"Content-Length: {len(content)}\r\n"
        head = f"HTTP/1.1 {status} Status\r\n{length}{lines}Connection: close\r\n\r\n"
        connection.socket.sendall(head.encode("latin-1") + (b"" if connection.request.method == "HEAD" else content))

    return behaviour


def by_path(behaviours: Mapping[str, Behaviour]) -> Behaviour:
    """Another behaviour per path; 404 for the rest."""

    def behaviour(connection: Connection) -> None:
        behaviours.get(connection.request.target.partition("?")[0], answers(404))(connection)

    return behaviour


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """One after the other; the last one stays."""
    turn = _Turn()

    def behaviour(connection: Connection) -> None:
        behaviours[min(turn.taken(), len(behaviours) - 1)](connection)

    return behaviour


@dataclass
class _Turn:
    count: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def taken(self) -> int:
        with self.lock:
            self.count += 1
            return self.count - 1


def redirects(location: str, status: int = 302) -> Behaviour:
    """To another place."""
    return answers(status, headers={"Location": location})


def waits(seconds: float, then: Behaviour) -> Behaviour:
    """Slow, then something else."""

    def behaviour(connection: Connection) -> None:
        if not connection.stopping.wait(seconds):
            then(connection)

    return behaviour


def stays_silent() -> Behaviour:
    """Takes the request and never says anything."""

    def behaviour(connection: Connection) -> None:
        connection.stopping.wait(60)

    return behaviour


def hangs_up() -> Behaviour:
    """Closes the connection without a word."""
    return says(b"")


def says(data: bytes) -> Behaviour:
    """Exactly these bytes, and closes the connection."""

    def behaviour(connection: Connection) -> None:
        connection.socket.sendall(data)

    return behaviour


def repeats(beginning: bytes, unit: bytes, every_s: float = 0.0) -> Behaviour:
    """A beginning, and then the same again and again for as long as anyone listens."""

    def behaviour(connection: Connection) -> None:
        connection.socket.sendall(beginning)
        while not connection.stopping.wait(every_s):
            connection.socket.sendall(unit)

    return behaviour


def never_ends_its_headers(every_s: float = 0.0) -> Behaviour:
    """One header after the other; slowly, the time ends it, fast, the number of bytes."""
    return repeats(b"HTTP/1.1 200 OK\r\n", b"X-Again: and again\r\n" if every_s else b"X-Again: on\r\n " * 64, every_s)


def dribbles(every_s: float = 0.02) -> Behaviour:
    """One byte at a time, so that no time-out between two bytes ever strikes."""
    return repeats(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x", every_s)


def never_ends_its_body() -> Behaviour:
    """As much as anyone takes, as fast as it goes."""
    return repeats(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"4000\r\n" + b"x" * 0x4000 + b"\r\n")


def closed_port() -> int:
    """A port of loopback at which nobody listens (held by no one, but not handed out again soon)."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
