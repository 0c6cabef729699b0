# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The HTTP client: bounded in everything, and careful with credentials."""

from __future__ import annotations

import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Optional

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import (
    InvalidDeclaration,
    MissingLibrary,
    SourceError,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.sources import http_client
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.sources.http_client import HttpClient
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.sources.protocol import SourceOptions
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.sources.source_urls import checked_url
from ansible_collections.unikernel.fleet.tests.support.builder_web import BuilderWebDouble


@pytest.fixture
def web() -> Iterator[BuilderWebDouble]:
    with BuilderWebDouble() as double:
        yield double


def client(url: str, **options: Any) -> HttpClient:
    return HttpClient(SourceOptions("s", "builder_web", url, **options), sleep=lambda _unused: None)


@contextmanager
def serving(answer: Any, context: Optional[ssl.SSLContext] = None) -> Iterator[tuple[str, list[Any]]]:
    """A server that answers with ``answer(handler)``; yields its URL and what was asked."""
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, dict(self.headers.items())))
            answer(self)

        def log_message(self, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def said(handler: BaseHTTPRequestHandler, status: int = 200, body: bytes = b"{}", **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def test_idempotent_requests_are_repeated_and_the_delays_grow(web: BuilderWebDouble) -> None:
    delays: list[float] = []
    web.break_down("dropped", times=1)
    web.break_down("text_500", times=1)
    web.break_down("short_body", times=1)
    asking = HttpClient(SourceOptions("s", "builder_web", web.url, retries=3), sleep=delays.append)
    assert asking.get(f"{web.url}/robots.txt", asking.deadline()).status == 200
    assert len(web.asked) == 4 and len(delays) == 3
    assert [0.05 * 2**i <= delay <= 0.1 * 2**i for i, delay in enumerate(delays)] == [True] * 3


def test_a_post_is_sent_once(web: BuilderWebDouble) -> None:
    web.break_down("text_500")
    with pytest.raises(SourceError):
        client(web.url).post(f"{web.url}/upload", b"x", client(web.url).deadline())
    assert len(web.asked) == 1


def test_every_request_has_a_connection_of_its_own(web: BuilderWebDouble) -> None:
    asking = client(web.url, retries=0)
    for _unused in range(3):
        assert asking.get(f"{web.url}/robots.txt", asking.deadline()).status == 200
    assert {asked.headers["connection"] for asked in web.asked} == {"close"}


@pytest.mark.parametrize("fault", ["slow_body", "slow_headers", "silent"])
def test_a_request_ends_at_the_deadline_whatever_still_trickles_in(web: BuilderWebDouble, fault: str) -> None:
    web.break_down(fault)
    asking = client(web.url, total_timeout_s=0.3)
    began = time.monotonic()
    with pytest.raises(SourceError, match=r"did not end its answer within 0\.3 s|silent|not asked to the end"):
        asking.get(f"{web.url}/x", asking.deadline())
    assert time.monotonic() - began < 5


def test_a_body_without_end_is_bounded_in_bytes(web: BuilderWebDouble) -> None:
    web.break_down("endless_body")
    asking = client(web.url)
    with pytest.raises(SourceError, match="sent more than 100000 bytes"):
        asking.get(f"{web.url}/x", asking.deadline(), max_bytes=100_000)
    assert len(web.asked) == 1


def test_a_body_shorter_than_announced_is_cut_short_although_its_chunks_end_properly() -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("transfer-encoding", "chunked")
        handler.send_header("content-length", "100")
        handler.end_headers()
        handler.wfile.write(b"3\r\nabc\r\n0\r\n\r\n")

    with serving(answer) as (url, _unused):
        asking = client(url, retries=0)
        with pytest.raises(SourceError, match="3 of 100 bytes: cut short"):
            asking.get(f"{url}/x", asking.deadline())


def test_relative_redirects_are_followed_and_circles_are_not() -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        if handler.path == "/a/b":
            said(handler, 307, Location="../c")
        elif handler.path == "/c":
            said(handler, body=b"there")
        else:
            said(handler, 302, location="/circle")

    with serving(answer) as (url, asked):
        asking = client(url)
        assert asking.get(f"{url}/a/b", asking.deadline()).body == b"there"
        asked.clear()
        with pytest.raises(SourceError, match="circle"):
            asking.get(f"{url}/circle", asking.deadline())
        assert len(asked) == http_client.MAX_REDIRECTS + 1


def test_credentials_do_not_follow_a_redirect_to_another_origin() -> None:
    with serving(lambda handler: said(handler, body=b"elsewhere")) as (other, asked_there):

        def answer(handler: BaseHTTPRequestHandler) -> None:
            said(handler, 302, location=f"{other}/x")

        with serving(answer) as (url, asked_here):
            asking = client(url, username="me", password="secret")
            assert asking.get(f"{url}/x", asking.deadline()).body == b"elsewhere"
    assert asked_here[0][1]["Authorization"].startswith("Basic ")
    assert "Authorization" not in asked_there[0][1]


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/x", ""])
def test_a_redirect_to_something_else_than_http_is_not_followed(location: str) -> None:
    with serving(lambda handler: said(handler, 302, location=location)) as (url, _unused):
        asking = client(url)
        with pytest.raises(SourceError, match="redirects to nowhere"):
            asking.get(f"{url}/x", asking.deadline())


def test_refused_credentials_are_named_and_not_shown(web: BuilderWebDouble) -> None:
    asking = client(web.url, username="lab", password="hunter2")
    with pytest.raises(SourceError, match="refused the credentials") as caught:
        asking.post(f"{web.url}/upload", b"x", asking.deadline())
    assert "hunter2" not in str(caught.value)


def test_a_proxy_is_used_and_its_password_is_not_shown() -> None:
    with serving(lambda handler: said(handler, body=b"from the proxy")) as (proxy, asked):
        asking = client("http://builds.invalid", proxy=proxy)
        assert asking.get("http://builds.invalid/x", asking.deadline()).body == b"from the proxy"
        assert asked[0][0] == "http://builds.invalid/x"
    asking = client("http://builds.invalid", proxy="http://me:hunter2@127.0.0.1:1", retries=0)
    with pytest.raises(SourceError) as caught:
        asking.get("http://builds.invalid/x", asking.deadline())
    assert "hunter2" not in str(caught.value)


def test_a_private_ca_is_accepted_when_named_and_only_then(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    making = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test"
    files = ["-keyout", str(key), "-out", str(certificate), "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*making.split(), *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with serving(lambda handler: said(handler, body=b"tls"), context) as (url, _unused):
        for options in ({"ca_path": str(certificate)}, {"validate_certs": False}):
            asking = client(url, **options)
            assert asking.get(f"{url}/x", asking.deadline()).body == b"tls"
        asking = client(url)
        with pytest.raises(SourceError, match="TLS failed"):
            asking.get(f"{url}/x", asking.deadline())


@pytest.mark.parametrize(
    "url",
    ["ftp://x/", "http://", "x", "http://u:p@x/", "http://x/?q", "http://x/#f", "http://x:port/", "http://[::1"],
)
def test_a_url_that_cannot_be_meant_is_refused(url: str) -> None:
    with pytest.raises(InvalidDeclaration):
        checked_url(url, "the source 's'")


def test_a_missing_ca_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidDeclaration, match="no such file"):
        client("https://x", ca_path=str(tmp_path / "missing.pem"))


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "HAS_REQUESTS", False)
    with pytest.raises(MissingLibrary, match="pip install requests"):
        client("http://x")
