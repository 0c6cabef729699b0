# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the double of builder-web reads requests and writes answers, and the ways in which either goes wrong."""

from __future__ import annotations

import socket
import socketserver
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Optional, Protocol

from ansible_collections.unikernel.fleet.tests.support.builder_web_parts.answers import (
    Reply,
    not_found,
    plain,
    redirect,
    unknown_exception,
)

CHUNK = 8188
"""Bytes of a chunk, as recorded."""


@dataclass
class Asked:
    """A request that came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def wants_json(self) -> bool:
        """Parameters are stripped; ``*/*`` and other case do not count."""
        accepted = self.headers.get("accept", "").split(",")
        return any(item.split(";")[0].strip() == "application/json" for item in accepted)


@dataclass
class Fault:
    """What goes wrong, on which paths, how often."""

    kind: str
    """``html_404``, ``text_500``, ``html_500``, ``garbage_json``, ``redirect_loop``, ``endless_body``, ``slow_body``,
    ``slow_headers``, ``short_body``, ``dropped``, ``silent``."""
    path: str = ".*"
    times: Optional[int] = None
    """None: always."""


class Double(Protocol):
    """Who answers."""

    stopping: threading.Event

    def take(self, asked: Asked) -> tuple[Optional[Fault], Optional[Reply]]:
        """The fault that this request runs into, or its answer."""


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], double: Double) -> None:
        self.double = double
        super().__init__(address, _Handler)


class _Handler(socketserver.StreamRequestHandler):
    """One request, one answer, then the connection is closed without a word about it."""

    server: Server
    timeout = 30

    def handle(self) -> None:
        with suppress(OSError, ValueError):
            asked = self._read()
            if asked is None:
                return
            fault, reply = self.server.double.take(asked)
            if fault is not None:
                self._go_wrong(fault)
            elif reply is not None:
                self._send(asked, reply)

    def _read(self) -> Optional[Asked]:
        method, target, _unused = self.rfile.readline(65536).decode("latin-1").split(" ", 2)
        headers: dict[str, str] = {}
        while (line := self.rfile.readline(65536).decode("latin-1").strip()) != "":
            key, _unused, value = line.partition(":")
            headers[key.strip().lower()] = value.strip()
        if "chunked" in headers.get("transfer-encoding", ""):
            body = b""
            while size := int(self.rfile.readline(64), 16):
                body += self.rfile.read(size)
                self.rfile.readline(64)
            self.rfile.readline(64)
        else:
            body = self.rfile.read(int(headers.get("content-length", "0")))
        return Asked(method, target, headers, body)

    def _send(self, asked: Asked, reply: Reply) -> None:
        headers = list(reply.headers)
        if reply.chunked:
            # A page says connection: close first, a file says it last; both are chunked.
            at = 1 if headers[0][0] == "connection" else 0
            headers.insert(at, ("transfer-encoding", "chunked"))
        elif reply.status.startswith("302"):
            headers.append(("content-length", str(len(reply.body))))
        else:
            headers.insert(0, ("content-length", str(len(reply.body))))
        self._head(reply.status, headers)
        if not reply.chunked or asked.method == "HEAD":
            # To HEAD, the real one sends the whole page, and not even in chunks.
            self.wfile.write(reply.body)
            return
        for at in range(0, len(reply.body), CHUNK):
            self._chunk(reply.body[at : at + CHUNK])
        self._chunk(b"")

    def _head(self, status: str, headers: list[tuple[str, str]]) -> None:
        lines = [f"HTTP/1.1 {status}", *(f"{key}: {value}" for key, value in headers), "", ""]
        self.wfile.write("\r\n".join(lines).encode("latin-1"))

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode("ascii") + data + b"\r\n")

    def _go_wrong(self, fault: Fault) -> None:
        asked = Asked("GET", "/", {})
        if fault.kind == "html_404":
            self._send(asked, not_found())
        elif fault.kind == "text_500":
            self._send(asked, plain("500 Internal Server Error", "Internal server error\n"))
        elif fault.kind == "html_500":
            self._send(asked, unknown_exception("Failure"))
        elif fault.kind == "garbage_json":
            self._send(asked, Reply("200 OK", [("content-type", "application/json")], b'{"builds": [}'))
        elif fault.kind == "redirect_loop":
            self._send(asked, redirect("302 Found", "location", "/round/and/round"))
        elif fault.kind == "short_body":
            self._head("200 OK", [("content-length", "1000"), ("content-type", "application/json")])
            self.wfile.write(b'{"builds":[')
        elif fault.kind in ("endless_body", "slow_body"):
            self._head("200 OK", [("transfer-encoding", "chunked"), ("content-type", "application/json")])
            while not self.server.double.stopping.is_set():
                self._chunk(b" " * 65536 if fault.kind == "endless_body" else b" ")
                if fault.kind == "slow_body":
                    self.server.double.stopping.wait(0.05)
        elif fault.kind == "slow_headers":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nx-slow: ")
            while not self.server.double.stopping.wait(0.05):
                self.wfile.write(b"a")
        elif fault.kind == "silent":
            self.server.double.stopping.wait(30)
        elif fault.kind == "dropped":
            # Unannounced, and without an answer.
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            raise AssertionError(f"no such fault: {fault.kind}")
