# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Downloads from a server that fails in every way that servers do."""

from __future__ import annotations

import hashlib
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import ImageError
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.images import download as download_module
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.images.download import (
    DownloadOptions,
    Unreachable,
    download,
    fetch,
    shown,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.images.store import ImageStore
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import Image
from ansible_collections.unikernel.fleet.tests.support.certificates import self_signed
from ansible_collections.unikernel.fleet.tests.support.image_server import ImageServer, image_server

CONTENT = bytes(range(256)) * 400
IMAGE = Image(sha256=hashlib.sha256(CONTENT).hexdigest(), size=len(CONTENT))


@pytest.fixture
def server() -> Iterator[ImageServer]:
    with image_server(CONTENT) as started:
        yield started


@pytest.fixture
def layout(tmp_path: Path) -> NodeLayout:
    return NodeLayout(tmp_path / "fleet")


def bring(url: str, layout: NodeLayout, **options: Any) -> Image:
    settings = {"proxy": "", "retries": 0, "timeout_s": 2.0, "total_timeout_s": 5.0, **options}
    store = ImageStore(layout)
    return download(
        DownloadOptions(url, **settings),
        IMAGE,
        lambda chunks: store.add_stream(chunks, IMAGE),
        pause=lambda seconds: None,
    )


def nothing_is_left(layout: NodeLayout) -> bool:
    return list(layout.images.iterdir()) == []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("path", ["image", "as-builder-web", "unannounced", "redirected"])
def test_an_image_arrives_whole_however_it_is_framed(path: str, server: ImageServer, layout: NodeLayout) -> None:
    assert bring(f"{server.url}/{path}", layout) == IMAGE
    assert ImageStore(layout).verify(IMAGE).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("cut-short", f"cut short: got {len(CONTENT) // 2} of {len(CONTENT)} bytes"),
        ("cut-short-in-a-chunk", f"cut short: got {len(CONTENT) // 2} of {len(CONTENT)} bytes"),
        ("truncated-at-the-source", f"should have {len(CONTENT)} bytes, and {len(CONTENT) // 2} came"),
        ("too-long", f"announces {len(CONTENT) + 1} bytes"),
        ("wrong-bytes", "instead of " + IMAGE.sha256),
        ("missing", "answered 404 Not Found instead of the image"),
        ("broken", "answered 500 Internal Server Error, each time"),
        ("secured", "answered 401 Unauthorized instead of the image. The store is as before. Check the user name"),
        ("loop", "redirects in a loop"),
        ("to-a-file", "that way is not taken"),
        ("garbage", "cannot be reached"),
        ("never-ends", "more bytes than"),
    ],
)
def test_a_failing_server_is_a_clear_error_and_leaves_nothing(
    path: str, says: str, server: ImageServer, layout: NodeLayout
) -> None:
    with pytest.raises(ImageError) as refused:
        bring(f"{server.url}/{path}", layout)
    assert says in str(refused.value)
    assert "before" in str(refused.value)
    assert "<html" not in str(refused.value).lower()
    assert nothing_is_left(layout)


def test_a_body_that_never_ends_is_not_read_to_its_end(server: ImageServer) -> None:
    options = DownloadOptions(f"{server.url}/never-ends", proxy="", retries=0, total_timeout_s=5)
    assert sum(len(chunk) for chunk in fetch(options, IMAGE)) == IMAGE.size + 1


@pytest.mark.parametrize("path", ["dribbles", "dribbles-headers"])
def test_a_dribble_ends_when_the_total_time_is_over(path: str, server: ImageServer, layout: NodeLayout) -> None:
    begun = time.monotonic()
    with pytest.raises(Unreachable, match=r"too slow: the image was not complete within 0\.3 s"):
        bring(f"{server.url}/{path}", layout, total_timeout_s=0.3, retries=9)
    assert time.monotonic() - begun < 3
    assert nothing_is_left(layout)


def test_a_silent_server_is_left_after_the_timeout(server: ImageServer, layout: NodeLayout) -> None:
    with pytest.raises(Unreachable, match=r"no answer within 0\.2 s"):
        bring(f"{server.url}/silent", layout, timeout_s=0.2)


@pytest.mark.parametrize("path", ["every-second-time", "cut-short-once"])
def test_what_may_pass_is_tried_again(path: str, server: ImageServer, layout: NodeLayout) -> None:
    assert bring(f"{server.url}/{path}", layout, retries=1) == IMAGE
    assert len(server.asked) == 2


def test_what_will_not_pass_is_not_tried_again(server: ImageServer, layout: NodeLayout) -> None:
    for path in ("missing", "wrong-bytes", "loop"):
        with pytest.raises(ImageError):
            bring(f"{server.url}/{path}", layout, retries=3)
    assert server.paths() == ["/missing", "/wrong-bytes", "/loop", "/loop-back"]


def test_a_server_that_cannot_be_connected_to_is_given_up_early_when_asked_so(layout: NodeLayout) -> None:
    pauses: list[float] = []
    options = DownloadOptions(f"http://127.0.0.1:{free_port()}/image", proxy="", retries=3, connect_retries=1)
    with pytest.raises(Unreachable, match="Connection refused"):
        download(options, IMAGE, lambda chunks: ImageStore(layout).add_stream(chunks, IMAGE), pause=pauses.append)
    assert len(pauses) == 1


def test_credentials_are_sent_to_their_origin(server: ImageServer, layout: NodeLayout) -> None:
    assert bring(f"{server.url}/secured", layout, username="alice", password="s3cret") == IMAGE
    assert bring(server.url.replace("//", "//alice:s3cret@") + "/secured", layout) == IMAGE


def test_credentials_do_not_follow_a_redirect_to_another_origin(server: ImageServer, layout: NodeLayout) -> None:
    with image_server(CONTENT) as other:
        server.elsewhere = other.url
        bring(
            f"{server.url}/elsewhere", layout, username="alice", password="s3cret", headers={"X-Token": "also-secret"}
        )
        (_unused, to_home), (_unused, to_other) = server.asked[0], other.asked[0]
    assert "authorization" in to_home and "x-token" in to_home
    assert "authorization" not in to_other and "x-token" not in to_other


def test_messages_do_not_show_secrets_of_the_url(server: ImageServer, layout: NodeLayout) -> None:
    with pytest.raises(ImageError) as refused:
        bring(server.url.replace("//", "//alice:s3cret@") + "/missing?token=t0ken", layout)
    assert "s3cret" not in str(refused.value) and "t0ken" not in str(refused.value)
    assert shown("https://a:b@example.org:8443/x?y=z") == "https://example.org:8443/x"


def test_a_proxy_is_used_when_it_is_named(server: ImageServer, layout: NodeLayout) -> None:
    assert bring("http://images.invalid/image", layout, proxy=server.url) == IMAGE
    assert server.paths() == ["http://images.invalid/image"]


def test_a_closed_proxy_means_that_there_is_no_way_out(server: ImageServer, layout: NodeLayout) -> None:
    for url in (f"{server.url}/image", "https://images.invalid/image"):
        with pytest.raises(Unreachable):
            bring(url, layout, proxy=f"http://127.0.0.1:{free_port()}")
    assert server.asked == []


@pytest.mark.parametrize("url", ["ftp://example.org/x", "http://", "http://[::1/x", "http://a:99999/", "", "x\0y"])
def test_what_is_no_url_is_refused(url: str, layout: NodeLayout) -> None:
    with pytest.raises(ImageError):
        bring(url, layout)


def test_time_that_is_over_while_the_connection_is_made_is_over_all_the_same(
    server: ImageServer, layout: NodeLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected = download_module._TimeLimit.connected

    def too_late(self: Any) -> None:
        self.over = True  # the timer came before there was a socket to shut down
        self.cancel()
        connected(self)

    monkeypatch.setattr(download_module._TimeLimit, "connected", too_late)
    began = time.monotonic()
    with pytest.raises(Unreachable, match="too slow"):
        bring(f"{server.url}/dribbles", layout)
    assert time.monotonic() - began < 2.0


def test_certificates_are_verified_against_the_private_ca(tmp_path: Path, layout: NodeLayout) -> None:
    certificate = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    with image_server(CONTENT, tls=context) as server:
        with pytest.raises(Unreachable, match="its certificate is not accepted"):
            bring(f"{server.url}/image", layout)
        assert bring(f"{server.url}/image", layout, ca_path=str(certificate.certificate)) == IMAGE
        assert bring(f"{server.url}/image", layout, validate_certs=False) == IMAGE
        with pytest.raises(Unreachable, match="too slow"):
            bring(f"{server.url}/dribbles", layout, validate_certs=False, total_timeout_s=0.3)
    with pytest.raises(ImageError, match="CA certificates in /nowhere"):
        bring("https://127.0.0.1:1/", layout, ca_path="/nowhere")
