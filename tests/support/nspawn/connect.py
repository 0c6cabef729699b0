# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Opens a TCP connection and hands it to ssh (``ProxyUseFdpass``): started inside the namespace of the nodes, it lets
an ssh outside reach them, without a relay in between. Standard library only; run as a file."""

from __future__ import annotations

import array
import socket
import sys


def main(host: str, port: str) -> int:
    connection = socket.create_connection((host, int(port)), timeout=5)
    connection.setblocking(True)
    with socket.socket(fileno=1) as ssh:
        ssh.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [connection.fileno()]))])
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
