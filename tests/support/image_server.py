# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real HTTP server on loopback that serves one image, well or in one of the ways in which real servers fail."""

from __future__ import annotations

import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Optional
from urllib.parse import urlsplit

HTML = b"<!DOCTYPE html><html><body>" + b"nothing here " * 1000 + b"</body></html>"


@dataclass
class ImageServer:
    """What was served and asked. Paths: see ``_Handler.answers``."""

    content: bytes
    url: str = ""
    elsewhere: str = ""
    """Base URL that ``/elsewhere`` redirects to."""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Path and headers (in lower case) of every request."""
    ended: threading.Event = field(default_factory=threading.Event)
    """Lets endless answers end when the server does."""
    sent: int = 0
    """Bytes of endless answers that were handed to the socket."""

    def paths(self) -> list[str]:
        return [path for path, _unused in self.asked]


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    image: ImageServer
    tls: Optional[ssl.SSLContext] = None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves in the middle is what many tests are about."""


class _Handler(socketserver.StreamRequestHandler):
    server: _Server

    def setup(self) -> None:
        if self.server.tls is not None:
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def handle(self) -> None:
        request = self.rfile.readline(65536).split()
        if len(request) < 2:
            return
        headers = {}
        while (line := self.rfile.readline(65536)) not in (b"\r\n", b"\n", b""):
            name, _unused, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        target = request[1].decode("ascii")
        # As a proxy, it is asked for whole URLs; it answers them itself.
        path = urlsplit(target).path if target.startswith("http://") else target
        self.server.image.asked.append((target, headers))
        answer = getattr(self, "answer_" + path.strip("/").replace("-", "_").partition("?")[0], self.answer_missing)
        answer()

    def head(self, status: str, *headers: str) -> None:
        lines = [f"HTTP/1.1 {status}", "Connection: close", *headers, "", ""]
        self.wfile.write("\r\n".join(lines).encode("ascii"))

    def whole(self, content: bytes) -> None:
        self.head("200 OK", f"Content-Length: {len(content)}")
        self.wfile.write(content)

    def chunk(self, content: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))

    def answer_image(self) -> None:
        self.whole(self.server.image.content)

    def answer_as_builder_web(self) -> None:
        """Chunked and with a length, as the real one."""
        content = self.server.image.content
        self.head("200 OK", "transfer-encoding: chunked", f"content-length: {len(content)}")
        for start in range(0, len(content), 5000):
            self.chunk(content[start : start + 5000])
        self.chunk(b"")

    def answer_unannounced(self) -> None:
        """No length at all: the end of the connection is the end of the body."""
        self.head("200 OK")
        self.wfile.write(self.server.image.content)

    def answer_cut_short(self) -> None:
        content = self.server.image.content
        self.head("200 OK", f"Content-Length: {len(content)}")
        self.wfile.write(content[: len(content) // 2])

    def answer_cut_short_in_a_chunk(self) -> None:
        content = self.server.image.content
        self.head("200 OK", "Transfer-Encoding: chunked")
        self.wfile.write(b"%x\r\n%s" % (len(content), content[: len(content) // 2]))

    def answer_truncated_at_the_source(self) -> None:
        """A file that is damaged on the server: too short, and ended properly."""
        content = self.server.image.content
        self.head("200 OK", "Transfer-Encoding: chunked", f"Content-Length: {len(content)}")
        self.chunk(content[: len(content) // 2])
        self.chunk(b"")

    def answer_cut_short_once(self) -> None:
        if self.server.image.paths().count("/cut-short-once") == 1:
            self.answer_cut_short()
        else:
            self.answer_image()

    def answer_too_long(self) -> None:
        self.whole(self.server.image.content + b"!")

    def answer_wrong_bytes(self) -> None:
        self.whole(bytes(byte ^ 1 for byte in self.server.image.content))

    def answer_missing(self) -> None:
        self.head("404 Not Found", "Content-Type: text/html", f"Content-Length: {len(HTML)}")
        self.wfile.write(HTML)

    def answer_broken(self) -> None:
        self.head("500 Internal Server Error", "Content-Length: 0")

    def answer_every_second_time(self) -> None:
        if self.server.image.paths().count("/every-second-time") % 2:
            self.answer_broken()
        else:
            self.answer_image()

    def answer_secured(self) -> None:
        _unused, headers = self.server.image.asked[-1]
        if headers.get("authorization") == "Basic YWxpY2U6czNjcmV0":  # alice:s3cret
            self.answer_image()
        else:
            self.head("401 Unauthorized", "WWW-Authenticate: Basic realm=images", "Content-Length: 0")

    def answer_redirected(self) -> None:
        self.head("302 Found", "location: /image", "Content-Length: 0")

    def answer_loop(self) -> None:
        self.head("307 Temporary Redirect", "Location: /loop-back", "Content-Length: 0")

    def answer_loop_back(self) -> None:
        self.head("307 Temporary Redirect", "Location: /loop", "Content-Length: 0")

    def answer_elsewhere(self) -> None:
        self.head("302 Found", f"Location: {self.server.image.elsewhere}/image", "Content-Length: 0")

    def answer_to_a_file(self) -> None:
        self.head("302 Found", "Location: file:///etc/passwd", "Content-Length: 0")

    def answer_garbage(self) -> None:
        self.wfile.write(b"\x00\xff" * 5000 + b"\r\n\r\n")

    def answer_never_ends(self) -> None:
        self.head("200 OK", "Transfer-Encoding: chunked")
        while not self.server.image.ended.is_set():
            self.chunk(b"x" * 65536)
            self.server.image.sent += 65536

    def answer_dribbles(self) -> None:
        self.head("200 OK", f"Content-Length: {len(self.server.image.content)}")
        while not self.server.image.ended.wait(0.02):
            self.wfile.write(b"x")

    def answer_dribbles_headers(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not self.server.image.ended.wait(0.02):
            self.wfile.write(b"x")

    def answer_silent(self) -> None:
        self.server.image.ended.wait(30)


@contextmanager
def image_server(content: bytes, tls: Optional[ssl.SSLContext] = None) -> Iterator[ImageServer]:
    """Serve until the block ends; with a context, over TLS."""
    image = ImageServer(content)
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.image, server.tls = image, tls
        image.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield image
        finally:
            image.ended.set()
            server.shutdown()
            thread.join()
