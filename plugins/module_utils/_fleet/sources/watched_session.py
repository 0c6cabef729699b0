# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sessions of requests whose connections end in time: its own time-outs are between two reads only, and a peer that
sends a byte now and then never runs into one, neither in its headers nor in its body."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any

try:
    import requests
    from requests.adapters import HTTPAdapter
except ImportError:
    pass  # who makes a client is told so


class Watch:
    """Cuts a request's connection at its deadline."""

    def __init__(self, seconds: float) -> None:
        self.expired = False
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True

    def __enter__(self) -> Watch:
        self._timer.start()
        return self

    def __exit__(self, *_unused: object) -> None:
        self._timer.cancel()
        with self._lock:
            for duplicate in self._sockets:
                duplicate.close()
            self._sockets.clear()

    def over(self, connected: socket.socket) -> None:
        # A duplicate stays valid when TLS takes the socket's descriptor over.
        with self._lock:
            self._sockets.append(connected.dup())

    def _expire(self) -> None:
        with self._lock:
            self.expired = True
            for duplicate in self._sockets:
                with contextlib.suppress(OSError):
                    duplicate.shutdown(socket.SHUT_RDWR)


def watched_session() -> Any:
    """A session that looks at no ~/.netrc, and whose connections are given to its adapter's ``watch``."""

    class WatchingAdapter(HTTPAdapter):
        """requests asks one of the two methods for a pool, depending on its version."""

        watch: Watch

        def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
            return self._watching(super().get_connection_with_tls_context(*args, **kwargs))

        def get_connection(self, *args: Any, **kwargs: Any) -> Any:
            return self._watching(super().get_connection(*args, **kwargs))

        def _watching(self, pool: Any) -> Any:
            pool.ConnectionCls = watched(type(pool).ConnectionCls, self)
            return pool

    def watched(plain: Any, adapter: WatchingAdapter) -> Any:
        class Watched(plain):  # type: ignore[misc]
            def _new_conn(self) -> Any:
                connected = super()._new_conn()
                adapter.watch.over(connected)
                return connected

        return Watched

    session = requests.Session()
    session.trust_env = False
    adapter = WatchingAdapter(pool_connections=1, pool_maxsize=1, max_retries=0)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session
