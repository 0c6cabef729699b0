# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A program that answers HTTP on port 80 of its network namespace as a small unikernel does, well or badly."""

from __future__ import annotations

import os
import sys

SOURCE = """#!{python} -IS
import socket, sys, time
version, behaviour = {version!r}, {behaviour!r}
if behaviour == "crash":
    sys.exit("no configuration")
if behaviour == "hang":
    time.sleep(300)
if behaviour == "slow":
    time.sleep(1.0)
server = socket.socket(socket.AF_INET6)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
server.bind(("::", 80))
server.listen(512)
print("serving", version, flush=True)
while True:
    sock, peer = server.accept()
    try:
        sock.settimeout(2.0)
        path = sock.recv(4096).split(b" ")[1]
        status = b"503 Sick" if behaviour == "sick" and path == b"/health" else b"200 OK"
        sock.sendall(b"HTTP/1.0 " + status + b"\\r\\nConnection: close\\r\\n\\r\\n" + version.encode())
    except (OSError, IndexError):
        pass
    sock.close()
"""


def web_program(version: str, behaviour: str = "well") -> str:
    """Its source. Behaviours: ``well``, ``sick`` (/health says 503), ``crash`` (at once), ``hang``, ``slow`` (up after
    a second)."""
    return SOURCE.format(python=os.path.realpath(sys.executable), version=version, behaviour=behaviour)
