# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Listening sockets, with a thread for each connection, all of them ended together."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ansible_collections.unikernel.fleet.tests.support.albatross.faults import Died, Fault

QUEUE = 1
"""Connections that wait to be accepted, as of albatross' own Unix sockets."""
_JOIN_S = 5.0
_LISTENS = (
    "import socket, sys; socket.socket(fileno=int(sys.argv[1])).listen(int(sys.argv[2])); print(flush=True); "
    "sys.stdin.read()"
)


class Service:
    """Serves a listening socket until it is closed, or until what serves it dies of a request."""

    def __init__(
        self,
        listener: socket.socket,
        serve: Callable[[socket.socket], None],
        died: Callable[[], None] = lambda: None,
    ) -> None:
        self._listener, self._serve, self._died = listener, serve, died
        self._over = False
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """No connection is taken any more, and those that are there are cut."""
        with self._lock:
            self._over = True
            connections = dict(self._connections)
        for one in (self._listener, *connections):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in (self._thread, *connections.values()):
            if thread is not threading.current_thread():
                thread.join(_JOIN_S)

    def _accept(self) -> None:
        while True:
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if self._over:
                    connection.close()
                    return
                thread = threading.Thread(target=self._one, args=(connection,), daemon=True)
                self._connections[connection] = thread
                thread.start()

    def _one(self, connection: socket.socket) -> None:
        died = False
        try:
            self._serve(connection)
        except Died:
            died = True
        except OSError:
            pass
        finally:
            with self._lock:
                self._connections.pop(connection, None)
            connection.close()
        if died:
            self._died()


class OwnProcess:
    """A process that a socket listens in the name of: whoever connects sees its start, as of the real daemon."""

    def __init__(self, listener: socket.socket, daemon: str) -> None:
        descriptor = listener.fileno()
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", _LISTENS, str(descriptor), str(QUEUE), daemon],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[descriptor],
        )
        if self._process.stdout is None or not self._process.stdout.readline():
            raise Fault(f"the process of {daemon} does not listen")

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


def unix_listener(path: Path) -> socket.socket:
    """Group and owner may connect."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o770)
    listener.listen(QUEUE)
    return listener
