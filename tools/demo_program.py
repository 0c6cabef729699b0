# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stand-in for a unikernel: one file that serves HTTP or DNS on loopback and knows its version.

It is an image only after a build has put an interpreter's line before it and filled in the two values below.
"""

from __future__ import annotations

import argparse
import http.server
import os
import socketserver
import struct

VERSION = "@VERSION@"
HEALTH = "@HEALTH@"
HEALTHY = HEALTH == "good"
GREETING = os.environ.get("GREETING", "hello")


class Web(http.server.BaseHTTPRequestHandler):
    """``/version`` is for people; ``/health`` is what a check asks."""

    def do_GET(self) -> None:
        if self.path == "/health" and not HEALTHY:
            self.answer(503, "I am alive, but I do not work.\n")
        else:
            self.answer(200, f"{GREETING} from version {VERSION}\n")

    def answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *arguments: object) -> None:
        print(format % arguments, flush=True)


class WebServer(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    allow_reuse_address = True


class Names(socketserver.BaseRequestHandler):
    """Answers every question of type A with 192.0.2.VERSION."""

    def handle(self) -> None:
        data, socket = self.request
        if len(data) < 12:
            return
        end = 12
        while end < len(data) and data[end]:
            end += data[end] + 1
        question = data[12 : end + 5]
        code = 0 if HEALTHY else 2
        header = data[:2] + struct.pack(">HHHHH", 0x8580 | code, 1, 1 if HEALTHY else 0, 0, 0)
        answer = struct.pack(">HHHIH", 0xC00C, 1, 1, 60, 4) + bytes((192, 0, 2, int(VERSION)))
        socket.sendto(header + question + (answer if HEALTHY else b""), self.client_address)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--http", type=int)
    parser.add_argument("--dns", type=int)
    ports = parser.parse_args()
    print(f"{GREETING}, this is version {VERSION}", flush=True)
    if ports.http is not None:
        WebServer(("127.0.0.1", ports.http), Web).serve_forever()
    else:
        socketserver.UDPServer(("127.0.0.1", ports.dns), Names).serve_forever()


if __name__ == "__main__":
    main()
