# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Taking connections in a thread, each then served in one of its own, until somebody says that it is enough."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable


def accept_each(listener: socket.socket, stopping: threading.Event, serve: Callable[[socket.socket], None]) -> None:
    """Until ``stopping`` is set and the listener shut down, which wakes it."""
    while not stopping.is_set():
        try:
            connection, _unused = listener.accept()
        except OSError:
            return
        threading.Thread(target=serve, args=(connection,), daemon=True).start()
