# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stand-in for a unikernel that behaves as its build says, well or badly. It is an image once a build has put an
interpreter's line before it and filled in the values below. Written on bare sockets, so that it
is up within a few hundredths of a second.

``--http=PORT`` it serves; ``--touch=FILE`` it makes that file when it starts; ``--token=TEXT`` and the variable TOKEN
it answers for with their SHA-256 at ``/secrets``.
"""

import hashlib
import os
import signal
import socket
import sys
import threading
import time

NAME = "@NAME@"
VERSION = "@VERSION@"
BEHAVIOUR = "@BEHAVIOUR@"
WAITS_S = 3.0
LIFE_S = 0.7
"""Of a build that crashes a moment after it has begun to answer."""


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def answer(path, given):
    if path == "/secrets":
        return 200, digest(given.get("--token", "")) + " " + digest(os.environ.get("TOKEN", "")) + "\n"
    if BEHAVIOUR == "answers_503" and path == "/health":
        return 503, "alive, and of no use\n"
    return 200, f"{NAME} {VERSION} {os.environ.get('GREETING', 'hello')}\n"


def serve(connection, given):
    with connection:
        connection.settimeout(10)
        if BEHAVIOUR == "hangs":
            time.sleep(60)
        request = connection.recv(65536).decode("latin-1").split()
        status, text = answer(request[1] if len(request) > 1 else "/", given)
        head = f"HTTP/1.1 {status} -\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
        connection.sendall((head + text).encode())


def listening(port):
    """On this machine two cannot have one port: what comes up beside another one waits for its end."""
    give_up = time.monotonic() + WAITS_S
    while True:
        try:
            return socket.create_server(("127.0.0.1", port), backlog=64)
        except OSError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.01)


def crash():
    time.sleep(LIFE_S)
    os.kill(os.getpid(), signal.SIGSEGV)


def main():
    given = dict(word.partition("=")[::2] for word in sys.argv[1:])
    print(f"{NAME} {VERSION} starts", flush=True)
    if BEHAVIOUR == "exits_0":
        return 0
    if BEHAVIOUR in ("exits_1", "crash_loops"):
        print("no configuration", flush=True)
        return 1
    if "--touch" in given:
        open(given["--touch"], "w").close()
    if BEHAVIOUR == "crashes":
        threading.Thread(target=crash, daemon=True).start()
    with listening(int(given["--http"])) as server:
        while True:
            connection, _unused = server.accept()
            threading.Thread(target=serve, args=(connection, given), daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
