# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A client that never rests: a new request every few milliseconds, each with a short time limit, and what came of it.

Each request is a whole one: connect, ask, read the answer to its end.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from dataclasses import dataclass
from typing import Optional

from ansible_collections.unikernel.fleet.tests.support.requests_made import Request, Requests


@dataclass
class _Open:
    request: Request
    sent: bool = False
    said: bytes = b""


class Client(Requests):
    """Asks ``GET /version`` in a thread of its own, which stays in the network namespace where it was started."""

    def __init__(
        self,
        address: str,
        port: int = 80,
        every_s: float = 0.002,
        limit_s: float = 0.08,
        patience_s: Optional[float] = None,
    ) -> None:
        """``patience_s``: wait so long for an answer that is late already, which tells what was only slow from what
        was lost."""
        super().__init__()
        self.address, self.port = address, port
        self.every_s, self.limit_s = every_s, limit_s
        self.patience_s = limit_s if patience_s is None else patience_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Client:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        question = b"GET /version HTTP/1.0\r\nHost: x\r\n\r\n"
        selector = selectors.DefaultSelector()
        pending: dict[socket.socket, _Open] = {}
        next_s = time.monotonic()

        def end(sock: socket.socket, outcome: str) -> None:
            state = pending.pop(sock)
            selector.unregister(sock)
            sock.close()
            state.request.ended_s = time.monotonic()
            state.request.outcome = outcome
            state.request.body = state.said.partition(b"\r\n\r\n")[2]

        while not self._stop.is_set() or pending:
            now = time.monotonic()
            if now >= next_s and not self._stop.is_set():
                next_s = max(next_s + self.every_s, now - 5 * self.every_s)
                sock = socket.socket(family, socket.SOCK_STREAM)
                sock.setblocking(False)
                request = Request(now)
                self.requests.append(request)
                pending[sock] = _Open(request)
                selector.register(sock, selectors.EVENT_WRITE)
                problem = sock.connect_ex((self.address, self.port))
                if problem not in (0, 115):
                    end(sock, f"connect: {problem}")
            for key, _unused in selector.select(max(0.0, min(next_s - time.monotonic(), 0.002))):
                sock = key.fileobj  # type: ignore[assignment]
                state = pending[sock]
                try:
                    if not state.sent:
                        sock.send(question)
                        state.sent = True
                        selector.modify(sock, selectors.EVENT_READ)
                        continue
                    chunk = sock.recv(65536)
                    state.said += chunk
                    if not chunk:
                        late = time.monotonic() - state.request.begun_s > self.limit_s
                        good = "late" if late else "ok"
                        end(sock, good if b" 200 " in state.said[:20] else f"cut: {state.said[:20]!r}")
                except OSError as error:
                    end(sock, type(error).__name__)
            now = time.monotonic()
            for sock in [s for s, state in pending.items() if now - state.request.begun_s > self.patience_s]:
                end(sock, "too late")
        selector.close()
