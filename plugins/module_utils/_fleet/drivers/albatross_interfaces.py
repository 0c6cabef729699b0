# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether bridges are still there, looked at where we see what albatross sees.

It knows the bridges that existed when it was started, and finds out after the kill that one is gone since.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Optional

from .albatross_place import SOCKETS, Place

DAEMONS = ("albatrossd", "systemd")
"""Who listens on its socket: itself, or systemd for it. What else listens (a forwarding, say) tells nothing of where it
runs."""
INTERFACES = Path("/sys/class/net")
_PEER_CREDENTIALS = 17
"""SO_PEERCRED of Linux, which the constants of socket have only there."""
_TIMEOUT_S = 5.0


def refusals_of_interfaces(place: Place, bridges: Sequence[str], interfaces: Path = INTERFACES) -> list[str]:
    """The bridges that are gone, in clauses; none where that cannot be known from here."""
    if not bridges or place.address is not None or not _sees_our_interfaces(listener(place)):
        return []
    return [
        f"the bridge {bridge} does not exist on this node any more (albatross would find out after the kill)"
        for bridge in dict.fromkeys(bridges)
        if not (interfaces / bridge / "bridge").is_dir()
    ]


def sees_others(place: Place) -> bool:
    """Whether it is known that what listens for albatross' requests has other interfaces than we."""
    pid = listener(place)
    if pid is None:
        return False
    with suppress(OSError):
        return _is_albatross(pid) and not os.path.samefile(f"/proc/{pid}/ns/net", "/proc/self/ns/net")
    return False


def listener(place: Place, service: str = "vmmd.sock") -> Optional[int]:
    """Who listens for albatross' requests: the kernel knows, where it is Linux."""
    path = os.path.join(place.sockets or SOCKETS, service)
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_TIMEOUT_S)
        connection.connect(path)
        pid, _unused, _unused = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, _PEER_CREDENTIALS, 12))
        return int(pid)
    return None


def _sees_our_interfaces(pid: Optional[int]) -> bool:
    if pid is None:
        return False
    with suppress(OSError):
        return _is_albatross(pid) and os.path.samefile(f"/proc/{pid}/ns/net", "/proc/self/ns/net")
    return False


def _is_albatross(pid: int) -> bool:
    return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip() in DAEMONS
