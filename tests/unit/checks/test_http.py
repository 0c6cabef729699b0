# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The check ``http`` against a real server that behaves and misbehaves."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.declaration import checks_from
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.model import CheckSpec, Outcome
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.protocol import Sighting, Surroundings
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.registry import CHECKS
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import InvalidDeclaration, MissingLibrary
from ansible_collections.unikernel.fleet.tests.support.certificates import Certificate, self_signed
from ansible_collections.unikernel.fleet.tests.support.web_server import (
    Connection,
    WebServer,
    answers,
    by_path,
    closed_port,
    dribbles,
    hangs_up,
    in_turn,
    never_ends_its_body,
    never_ends_its_headers,
    redirects,
    repeats,
    says,
    stays_silent,
    waits,
)

HTTP = CHECKS["http"]


def seen(timeout_s: float = 5.0, **options: Any) -> Sighting:
    """One attempt, with options that went through JSON as they do when a trial is persisted."""
    validated = json.loads(json.dumps(HTTP.validated(options, None)))
    return HTTP.bind(CheckSpec("http", "h", options=validated), Surroundings()).attempt(timeout_s)


def test_an_answer_of_200_passes() -> None:
    with WebServer(answers(200, "up")) as server:
        assert seen(url=server.url) == Sighting(Outcome.PASS, "answered 200")


@pytest.mark.parametrize("status, outcome", [(200, Outcome.PASS), (503, Outcome.FAIL)])
def test_a_body_that_comes_after_the_headers_is_read(status: int, outcome: Outcome) -> None:
    """``http.client`` closes its socket once it has the headers of an answer after which the connection ends."""

    def headers_first(connection: Connection) -> None:
        connection.socket.sendall(f"HTTP/1.0 {status} As asked\r\nContent-Length: 2\r\n\r\n".encode())
        time.sleep(0.05)
        connection.socket.sendall(b"up")

    with WebServer(headers_first) as server:
        sighting = seen(url=server.url, body_regex="up")
    assert sighting.outcome is outcome
    assert str(status) in sighting.detail


def test_the_request_says_what_was_declared() -> None:
    with WebServer(answers(201)) as server:
        sighting = seen(
            url=f"{server.url}/a b?q=1#part",
            method="post",
            headers={"X-Fleet": "yes", "Host": "web.example"},
            body={"ping": 1},
            username="me",
            password="open sesame",
            status=[201],
        )
        assert sighting.outcome is Outcome.PASS
        (request,) = server.requests
    assert (request.method, request.target, json.loads(request.body)) == ("POST", "/a%20b?q=1", {"ping": 1})
    assert request.headers["x-fleet"] == "yes"
    assert request.headers["host"] == "web.example"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["authorization"] == "Basic bWU6b3BlbiBzZXNhbWU="


def test_head_does_not_wait_for_a_body() -> None:
    with WebServer(answers(200, "x" * 100)) as server:
        assert seen(url=server.url, method="HEAD").outcome is Outcome.PASS


def test_an_ipv6_address_in_brackets_is_reached() -> None:
    with WebServer(answers(), ipv6=True) as server:
        assert seen(url=f"http://[::1]:{server.port}/").outcome is Outcome.PASS
        assert seen(host="::1", port=server.port).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("status", "wanted", "passes"),
    [(204, None, True), (404, None, False), (404, 404, True), (503, "5xx", True), (302, ["2xx", "300-303"], True)],
)
def test_the_status_is_held_against_lists_and_ranges(status: int, wanted: Any, passes: bool) -> None:
    with WebServer(answers(status)) as server:
        sighting = seen(url=server.url, status=wanted)
    assert (sighting.outcome is Outcome.PASS) is passes
    assert str(status) in sighting.detail


def test_a_refused_connection_fails() -> None:
    sighting = seen(url=f"http://127.0.0.1:{closed_port()}/")
    assert sighting.outcome is Outcome.FAIL
    assert "connection refused" in sighting.detail


def test_a_name_that_does_not_exist_is_no_crash() -> None:
    assert seen(url="http://no-such-host.invalid/", timeout_s=1.0).outcome is not Outcome.PASS


@pytest.mark.parametrize(
    "behaviour",
    [
        stays_silent(),
        never_ends_its_headers(every_s=0.02),
        dribbles(every_s=0.02),
        waits(30, answers()),
        repeats(b"", b"HTTP/1.1 100 Continue\r\n\r\n", every_s=0.02),
        repeats(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", every_s=0.02),
    ],
    ids=["silent", "headers", "dribbling body", "slow", "100 Continue for ever", "dribbling chunks"],
)
def test_a_server_that_never_gets_done_is_cut_at_the_time_out(behaviour: Any) -> None:
    with WebServer(behaviour) as server:
        began = time.monotonic()
        sighting = seen(url=server.url, timeout_s=0.15)
        assert time.monotonic() - began < 2
    assert sighting.outcome is Outcome.FAIL
    assert "within 0.15 s" in sighting.detail


def test_a_server_without_tls_where_tls_is_wanted_is_cut_at_the_time_out() -> None:
    with WebServer(stays_silent()) as server:
        sighting = seen(url=server.url.replace("http", "https"), timeout_s=0.15)
    assert sighting.outcome is Outcome.FAIL


def test_headers_without_end_are_bounded_in_bytes() -> None:
    with WebServer(never_ends_its_headers()) as server:
        sighting = seen(url=server.url)
    assert sighting.outcome is Outcome.FAIL
    assert "header" in sighting.detail.lower()


def test_of_a_body_without_end_only_the_beginning_is_looked_at() -> None:
    with WebServer(never_ends_its_body()) as server:
        assert seen(url=server.url, body_regex="^xxx").outcome is Outcome.PASS
        missing = seen(url=server.url, body_regex="version")
        as_json = seen(url=server.url, json="version")
    assert missing.outcome is as_json.outcome is Outcome.FAIL
    assert "first 262144 bytes" in missing.detail
    assert "too long for JSON" in as_json.detail


@pytest.mark.parametrize(
    "behaviour",
    [
        hangs_up(),
        says(b"SSH-2.0-OpenSSH_9\r\n"),
        says(b"HTTP/1.1 abc\r\n\r\n"),
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"),
        says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"),
        says(b"\x00" * 100),
    ],
)
def test_what_is_no_whole_http_answer_fails(behaviour: Any) -> None:
    with WebServer(behaviour) as server:
        assert seen(url=server.url).outcome is Outcome.FAIL


def test_a_redirect_is_a_failure_unless_it_may_be_followed() -> None:
    with WebServer(by_path({"/": redirects("/new?token=abc"), "/new": answers(200, "here")})) as server:
        plain = seen(url=server.url)
        followed = seen(url=server.url, follow_redirects=True, body_regex="here")
    assert plain.outcome is Outcome.FAIL
    assert "302 (to /new)" in plain.detail
    assert followed.outcome is Outcome.PASS


def test_a_loop_of_redirects_ends() -> None:
    with WebServer(redirects("/")) as server:
        sighting = seen(url=server.url, follow_redirects=3)
        assert len(server.requests) == 4
    assert "more often than the 3 times" in sighting.detail


def test_a_post_becomes_a_get_after_303_and_stays_one_after_307() -> None:
    paths = {"/": redirects("/new", 303), "/same": redirects("/new", 307), "/new": answers()}
    with WebServer(by_path(paths)) as server:
        seen(url=server.url, method="POST", body="x", follow_redirects=1)
        seen(url=f"{server.url}/same", method="POST", body="x", follow_redirects=1)
        assert [request.method for request in server.requests] == ["POST", "GET", "POST", "POST"]
        assert server.requests[3].body == b"x"


def test_secrets_are_not_carried_to_another_server() -> None:
    with WebServer(answers()) as other, WebServer(redirects(other.url)) as server:
        options = {"headers": {"Cookie": "secret", "X-Kind": "check"}, "username": "me", "password": "pass"}
        assert seen(url=server.url, follow_redirects=1, **options).outcome is Outcome.PASS
        assert "authorization" in server.requests[0].headers
        assert not {"authorization", "cookie"} & set(other.requests[0].headers)
        assert other.requests[0].headers["x-kind"] == "check"


@pytest.mark.parametrize("location", ["ftp://example.org/", "http://[", "http://user:pass@127.0.0.1/", "http://"])
def test_a_redirect_to_nowhere_sensible_fails(location: str) -> None:
    with WebServer(redirects(location)) as server:
        assert seen(url=server.url, follow_redirects=1).outcome is Outcome.FAIL


def test_503_first_and_200_later_is_seen_as_it_is() -> None:
    with WebServer(in_turn(answers(503), answers(200))) as server:
        assert [seen(url=server.url).outcome for _unused in range(3)] == [Outcome.FAIL, Outcome.PASS, Outcome.PASS]


def test_the_body_is_matched_by_a_regular_expression() -> None:
    with WebServer(answers(200, "name: web\nversion: 2\n")) as server:
        assert seen(url=server.url, body_regex="^version: 2$").outcome is Outcome.PASS
        sighting = seen(url=server.url, body_regex="^version: 3$")
    assert sighting.outcome is Outcome.FAIL
    assert "version: 2" in sighting.detail


def test_a_regular_expression_that_never_ends_is_cut_at_the_time_out() -> None:
    with WebServer(answers(200, "a" * 5000 + "b")) as server:
        began = time.monotonic()
        sighting = seen(url=server.url, body_regex="(a+)+$", timeout_s=0.2)
        assert time.monotonic() - began < 3
    assert sighting.outcome is Outcome.FAIL
    assert "matching the body" in sighting.detail


@pytest.mark.parametrize(
    ("options", "passes"),
    [
        ({"json": "status"}, True),
        ({"json": "missing"}, False),
        ({"json": "status == 'up'"}, True),
        ({"json": "count", "json_equals": 0}, True),
        ({"json": "count", "json_equals": False}, False),
        ({"json": "missing", "json_equals": None}, True),
        ({"json": "peers[].name", "json_equals": ["a", "b"]}, True),
        ({"json": "length(status)", "json_equals": 3}, False),
        ({"json": "length(count)"}, False),
    ],
)
def test_json_is_judged_by_an_expression(options: dict[str, Any], passes: bool) -> None:
    document = json.dumps({"status": "up", "count": 0, "peers": [{"name": "a"}, {"name": "b"}]})
    with WebServer(answers(200, document)) as server:
        sighting = seen(url=server.url, **options)
    assert (sighting.outcome is Outcome.PASS) is passes


@pytest.mark.parametrize("body", ["<html>", "", "[" * 200000, "\xff"])
def test_a_body_that_is_no_json_fails(body: str) -> None:
    with WebServer(answers(200, body.encode("latin-1"))) as server:
        assert seen(url=server.url, json="status").outcome is Outcome.FAIL


def test_an_answer_that_takes_too_long_fails_although_it_is_right() -> None:
    with WebServer(waits(0.1, answers())) as server:
        sighting = seen(url=server.url, max_latency_s=0.05)
    assert sighting.outcome is Outcome.FAIL
    assert "at most 0.05 s" in sighting.detail


@pytest.fixture(name="certificate", scope="module")
def _certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return self_signed(tmp_path_factory.mktemp("certificate"))


def test_a_self_signed_certificate_fails_unless_it_is_trusted(certificate: Certificate) -> None:
    with WebServer(answers(), certificate=certificate) as server:
        untrusted = seen(url=server.url)
        assert seen(url=server.url, ca_path=str(certificate.certificate)).outcome is Outcome.PASS
        assert seen(url=server.url, validate_certs=False).outcome is Outcome.PASS
    assert untrusted.outcome is Outcome.FAIL
    assert "not to be trusted: self" in untrusted.detail


def test_the_name_in_the_certificate_is_verified(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path, ["web.example"])
    with WebServer(answers(), certificate=certificate) as server:
        options = {"url": server.url, "ca_path": str(certificate.certificate)}
        assert seen(**options).outcome is Outcome.FAIL
        assert seen(**options, server_hostname="web.example").outcome is Outcome.PASS


def test_an_expired_certificate_fails(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path, days=-1)
    with WebServer(answers(), certificate=certificate) as server:
        sighting = seen(url=server.url, ca_path=str(certificate.certificate))
    assert sighting.outcome is Outcome.FAIL
    assert "expired" in sighting.detail


def test_a_ca_that_cannot_be_read_is_inconclusive(tmp_path: Path, certificate: Certificate) -> None:
    with WebServer(answers(), certificate=certificate) as server:
        sighting = seen(url=server.url, ca_path=str(tmp_path / "missing.pem"))
    assert sighting.outcome is Outcome.INCONCLUSIVE
    assert "missing.pem" in sighting.detail


def test_tls_towards_a_server_that_speaks_none_fails() -> None:
    with WebServer(answers()) as server:
        assert seen(url=server.url.replace("http", "https"), timeout_s=0.15).outcome is Outcome.FAIL


def test_a_broken_tls_handshake_is_the_fault_of_the_server() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def speak_no_tls() -> None:
        connection, _unused = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    server = threading.Thread(target=speak_no_tls)
    server.start()
    sighting = seen(url=f"https://127.0.0.1:{listener.getsockname()[1]}/")
    server.join()
    listener.close()
    assert sighting.outcome is Outcome.FAIL


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", "utf-16", "idna", "rot13", "punycode", "nonsense"])
def test_no_charset_of_an_answer_is_a_crash(charset: str) -> None:
    body = b"\xe4xn--\xff\x00" * 1001
    with WebServer(answers(200, body, {"Content-Type": f"text/plain; charset={charset}"})) as server:
        assert seen(url=server.url, body_regex="not there").outcome is Outcome.FAIL


def test_secrets_do_not_show_in_details() -> None:
    with WebServer(answers(200, "you sent open-sesame and t0ken-value")) as server:
        sighting = seen(
            url=server.url, body_regex="^x", username="me", password="open-sesame", headers={"X": "t0ken-value"}
        )
    assert "open-sesame" not in sighting.detail
    assert "t0ken-value" not in sighting.detail


def test_a_missing_jmespath_is_said_clearly(monkeypatch: pytest.MonkeyPatch) -> None:
    with WebServer(answers(200, "{}")) as server:
        validated = HTTP.validated({"url": server.url, "json": "up"}, None)
        monkeypatch.setitem(sys.modules, "jmespath", None)
        sighting = HTTP.bind(CheckSpec("http", "h", options=validated), Surroundings()).attempt(5)
    assert sighting.outcome is Outcome.INCONCLUSIVE
    assert sighting.final
    assert "jmespath" in sighting.detail
    with pytest.raises(MissingLibrary, match="jmespath"):
        HTTP.validated({"url": "http://web.example", "json": "up"}, None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "no address"),
        ({"url": "ftp://x/"}, "no http or https URL"),
        ({"url": "http://"}, "no http or https URL"),
        ({"url": "http://a:b@c/"}, "use username and password"),
        ({"url": "http://c:99999/"}, "url"),
        ({"url": "http://[::1/"}, "url"),
        ({"url": "http://c/", "port": 80}, "says it all"),
        ({"url": "http://c/", "status": []}, "no status"),
        ({"url": "http://c/", "status": "600"}, "600"),
        ({"url": "http://c/", "status": "299-200"}, "no status"),
        ({"url": "http://c/", "body_regex": "("}, "no regular expression"),
        ({"url": "http://c/", "json": "a["}, "no JMESPath"),
        ({"url": "http://c/", "json_equals": 1}, "needs json"),
        ({"url": "http://c/", "headers": {"A": "b\r\nC: d"}}, "'A'"),
        ({"url": "http://c/", "headers": {"A b": "c"}}, "'A b'"),
        ({"url": "http://c/", "headers": "A: b"}, "mapping"),
        ({"url": "http://c/", "method": "GET /\r\n"}, "method"),
        ({"url": "http://c/", "follow_redirects": 99}, "0 to 10"),
        ({"url": "http://c/", "max_latency_s": -1}, "above 0"),
        ({"url": "http://c/", "validate_certs": "maybe"}, "true or false"),
        ({"url": "http://c/", "password": "x"}, "needs username"),
        ({"url": "http://c/", "stattus": 200}, "no option 'stattus'"),
        ({"url": ["http://c/"]}, "text is needed"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidDeclaration, match=message):
        HTTP.validated(options, None)


@pytest.mark.parametrize(
    ("declared", "url"),
    [
        ("http://web.example", "http://web.example/"),
        ("/health", "http://2001:db8::1/health"),
        ({"scheme": "https", "port": "8443", "path": "x"}, "https://2001:db8::1:8443/x"),
        ("http://bücher.example/ä", "http://xn--bcher-kva.example/%C3%A4"),
    ],
)
def test_short_forms_become_urls(declared: Any, url: str) -> None:
    (spec,) = checks_from([{"http": declared}], "2001:db8::1")
    assert spec.options["url"].replace("[", "").replace("]", "") == url
