# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Talks to a running QEMU over its machine protocol (QMP): one short conversation for each question.

The socket lies in the instance's scratch folder, whose path may be longer than the 107 bytes that the address of a Unix
socket has room for: so it is reached through a descriptor of the folder. Who answers may be a QEMU that its guest took
over: what it says is bounded in size and time, and nothing is sent before it spoke like QMP.
"""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Optional

SOCKET = "qmp"
"""Relative to that folder, in which QEMU is started."""
PATIENCE_S = 1.0
"""For a whole conversation. QEMU talks to one client at a time, and each is brief."""
_MOST_BYTES = 1 << 20
_PAUSE_S = 0.01


def status(folder: Path, patience_s: float = PATIENCE_S) -> Optional[str]:
    """How the machine is (``running``, ``paused``, ``internal-error``, ``guest-panicked``, ...); None when QEMU does
    not say: it is coming up or going down, or somebody stopped it."""
    answer = ask(folder, "query-status", patience_s)
    found = answer.get("status") if answer is not None else None
    return found if isinstance(found, str) else None


def press_power_button(folder: Path) -> bool:
    """Ask the guest to shut down (ACPI); whether QEMU passed it on. Many guests do not listen."""
    return ask(folder, "system_powerdown", PATIENCE_S) is not None


def ask(folder: Path, command: str, patience_s: float) -> Optional[dict[str, Any]]:
    """What a command returns; None when there is no answer in that time."""
    deadline = time.monotonic() + patience_s
    try:
        descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        with suppress(OSError, ValueError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            _connect(connection, f"/proc/self/fd/{descriptor}/{SOCKET}", deadline)
            lines = _Lines(connection, deadline)
            if "QMP" not in lines.next():
                return None
            for word in ("qmp_capabilities", command):
                connection.sendall(json.dumps({"execute": word}).encode("ascii") + b"\r\n")
                answer = lines.answer()
            found = answer.get("return")
            return found if isinstance(found, dict) else None
    finally:
        os.close(descriptor)
    return None


def _connect(connection: socket.socket, address: str, deadline: float) -> None:
    """EAGAIN: another client's conversation is not over, and the queue is full."""
    connection.settimeout(max(0.001, deadline - time.monotonic()))
    while True:
        try:
            connection.connect(address)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_PAUSE_S)


class _Lines:
    """QMP is JSON objects in lines; events come between the answers."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._read = b""

    def answer(self) -> dict[str, Any]:
        while True:
            message = self.next()
            if "event" not in message:
                return message

    def next(self) -> dict[str, Any]:
        while b"\n" not in self._read:
            left_s = self._deadline - time.monotonic()
            if left_s <= 0 or len(self._read) > _MOST_BYTES:
                raise TimeoutError
            self._connection.settimeout(left_s)
            chunk = self._connection.recv(65536)
            if not chunk:
                raise ConnectionError
            self._read += chunk
        line, _unused, self._read = self._read.partition(b"\n")
        message = json.loads(line)
        if not isinstance(message, dict):
            raise ValueError(message)
        return message
