# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who answers at the guest's address in a :class:`~network_lab.Lab`: asked once, waited for, or asked all the time."""

from __future__ import annotations

import socket

from ansible_collections.unikernel.fleet.tests.support.network_lab import GUEST_V4
from ansible_collections.unikernel.fleet.tests.support.programs import until
from ansible_collections.unikernel.fleet.tests.support.requests_without_end import Client


def answering_version(address: str = GUEST_V4, within_s: float = 2.0) -> str:
    """The version of what answers; empty when nothing does."""
    try:
        with socket.create_connection((address, 80), timeout=within_s) as sock:
            sock.sendall(b"GET /version HTTP/1.0\r\n\r\n")
            said = b""
            while chunk := sock.recv(4096):
                said += chunk
            return said.rpartition(b"\r\n")[2].decode()
    except OSError:
        return ""


def serves(version: str, address: str = GUEST_V4) -> None:
    """Wait until this version answers."""
    until(lambda: answering_version(address) == version)


def asking() -> Client:
    """What is lost is lost for a second (TCP asks again no sooner) or is reset; a busy machine is only slow. The strict
    limit is the measurement's, ``tests/bench``."""
    return Client(GUEST_V4, every_s=0.005, limit_s=0.7)
