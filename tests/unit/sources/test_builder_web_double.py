# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The double of builder-web against the recordings: every recorded request gets the recorded answer."""

from __future__ import annotations

import json
import re
import shlex
import socket
import subprocess
import sys
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.unikernel.fleet.tests.support import builder_web
from ansible_collections.unikernel.fleet.tests.support.builder_web import BuilderWebDouble
from ansible_collections.unikernel.fleet.tests.support.builder_web_parts.captured import CAPTURES, captured
from ansible_collections.unikernel.fleet.tests.support.builder_web_parts.full_build import full_build
from ansible_collections.unikernel.fleet.tests.support.builder_web_recorded import build_id, fill

NOT_HTTP1 = "118-http2-prior.txt"
RECORDINGS = sorted(
    (path.name for path in CAPTURES.glob("[0-9]*.txt") if path.name != NOT_HTTP1),
    key=lambda name: int(name.partition("-")[0]),
)
BINARY = re.compile(rb"<(\d+) bytes of binary, sha256 [0-9a-f]{64}>")


@pytest.fixture(scope="module")
def web() -> Iterator[BuilderWebDouble]:
    with BuilderWebDouble() as double:
        yield fill(double)


def raw_exchange(web: BuilderWebDouble, request: bytes) -> bytes:
    """Everything that comes until the server closes."""
    with socket.create_connection(("127.0.0.1", web.port), timeout=10) as connection:
        connection.sendall(request)
        received = b""
        while part := connection.recv(65536):
            received += part
        return received


def unchunked(body: bytes) -> bytes:
    content = b""
    while body:
        size, _unused, body = body.partition(b"\r\n")
        content += body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]
    return content


def exchange(
    web: BuilderWebDouble, method: str, target: str, headers: list[str], body: bytes, version: str
) -> tuple[int, list[tuple[str, str]], bytes]:
    lines = [f"{method} {target} HTTP/{version}", "host: x", *headers]
    if body:
        lines.append(f"content-length: {len(body)}")
    head, _unused, content = raw_exchange(web, "\r\n".join([*lines, "", ""]).encode() + body).partition(b"\r\n\r\n")
    status, *fields = head.decode("latin-1").split("\r\n")
    answered = [(key, value) for key, _unused, value in (field.partition(": ") for field in fields)]
    if ("transfer-encoding", "chunked") in answered and method != "HEAD":
        content = unchunked(content)
    return int(status.split()[1]), answered, content


def payload(web: BuilderWebDouble, argument: str) -> bytes:
    """What stands in for a file that was uploaded when recording."""
    if not argument.startswith("@"):
        return argument.encode()
    known = {"@hello-1-old.full": build_id(1), "@tool-1.full": build_id(11)}
    if argument in known:
        return full_build(next(build for build in web.builds if build.uuid == known[argument]))
    return argument.encode()


def recorded_request(web: BuilderWebDouble, name: str) -> tuple[str, str, list[str], bytes, str, bool]:
    """Method, target, headers, body, HTTP version and whether redirects were followed."""
    command = (CAPTURES / name).read_text(encoding="utf-8").split("\n")[0]
    words = iter(shlex.split(command)[2:])
    method, headers, body, version, follow, url = "GET", [], b"", "1.1", False, ""
    for word in words:
        if word == "-m":
            next(words)
        elif word == "-H":
            header = next(words)
            if not header.endswith(":") and not header.startswith("Transfer-Encoding"):
                headers.append(header)
        elif word == "-I":
            method = "HEAD"
        elif word == "-L":
            follow = True
        elif word == "-u":
            headers.append("Authorization: Basic " + b64encode(next(words).encode()).decode())
        elif word == "--data-binary":
            method, body = "POST", payload(web, next(words))
        elif word == "--http1.0":
            version = "1.0"
        elif not word.startswith("-"):
            url = word
    return method, re.sub(r"^http://[^/]+", "", url), headers, body, version, follow


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recorded_request_gets_the_recorded_answer(web: BuilderWebDouble, name: str) -> None:
    method, target, headers, body, version, follow = recorded_request(web, name)
    expected = captured(name)
    for i, (status, answered, content) in enumerate(expected):
        got_status, got_headers, got = exchange(web, method, target, headers, body, version)
        if name == "70-exec.txt":
            # It holds the binary, which is not at hand; the form is tested by uploading it again.
            answered = [h for h in answered if h[0] != "content-length"]
            got_headers = [h for h in got_headers if h[0] != "content-length"]
        assert (got_status, got_headers) == (status, answered)
        if binary := BINARY.match(content):
            assert name == "70-exec.txt" or len(got) == int(binary.group(1))
        elif ("content-type", "application/json") in answered:
            assert json.loads(got) == json.loads(content)
        elif method != "HEAD":
            assert got == content
        if follow and i + 1 < len(expected):
            target = dict((key.lower(), value) for key, value in got_headers)["location"]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_file_is_framed_in_chunks_and_has_a_length_too(web: BuilderWebDouble, version: str) -> None:
    recorded = (CAPTURES / f"raw-file-{version}.bin").read_text(encoding="utf-8", errors="replace")
    expected_head = recorded.split("\n---")[0].split("\n", 1)[1].strip()
    target = recorded.split()[4]
    answer = raw_exchange(web, f"GET {target} HTTP/{version}\r\nConnection: keep-alive\r\n\r\n".encode())
    head, _unused, framed = answer.partition(b"\r\n\r\n")
    assert head.decode().replace("\r\n", "\n") == expected_head
    assert len(framed) == 131684
    assert framed.startswith(b"1ffc\r\n") and framed.endswith(b"\r\n0\r\n\r\n")


def test_the_connection_is_closed_after_json_without_a_word(web: BuilderWebDouble) -> None:
    answer = raw_exchange(web, b"GET /job/hello HTTP/1.1\r\nConnection: keep-alive\r\nAccept: application/json\r\n\r\n")
    head, _unused, body = answer.partition(b"\r\n\r\n")
    assert b"connection" not in head.lower()
    assert len(body) == 543


def test_head_gets_the_whole_page_of_the_404_unframed(web: BuilderWebDouble) -> None:
    _unused, _unused, body = raw_exchange(web, b"HEAD /robots.txt HTTP/1.1\r\n\r\n").partition(b"\r\n\r\n")
    assert body.startswith(b"<!DOCTYPE html>\n<html xm") and len(body) == 15952


@pytest.mark.parametrize(
    "target", ["/?x=1", "/all-builds?x", f"/compare/{build_id(1)}/{build_id(2)}?x=1", "//job/hello"]
)
def test_paths_that_the_real_one_does_not_know_are_404(web: BuilderWebDouble, target: str) -> None:
    assert exchange(web, "GET", target, ["Accept: application/json"], b"", "1.1")[0] == 404


@pytest.mark.parametrize("accept", ["*/*", "Application/JSON", "text/html"])
def test_only_exactly_application_json_gets_json(web: BuilderWebDouble, accept: str) -> None:
    _unused, headers, _unused = exchange(web, "GET", "/job/hello", [f"Accept: {accept}"], b"", "1.1")
    assert ("content-type", "text/html; charset=utf-8") in headers


@pytest.mark.parametrize("platform", ["", "nope"])
def test_an_unknown_platform_is_404_for_the_latest_and_an_empty_list_for_the_job(
    web: BuilderWebDouble, platform: str
) -> None:
    accept = ["Accept: application/json"]
    assert exchange(web, "GET", f"/job/hello/build/latest?platform={platform}", accept, b"", "1.1")[0] == 404
    status, _unused, body = exchange(web, "GET", f"/job/hello?platform={platform}", accept, b"", "1.1")
    assert (status, json.loads(body)) == (200, {"builds": []})


@pytest.mark.parametrize("odd", [31, 32])
def test_an_odd_opam_switch_makes_a_comparison_fail_in_html(web: BuilderWebDouble, odd: int) -> None:
    target = f"/compare/{build_id(2)}/{build_id(odd)}"
    status, headers, body = exchange(web, "GET", target, ["Accept: application/json"], b"", "1.1")
    assert status == 500
    assert ("content-type", "text/html") in headers and b"Unknown exception" in body


def test_a_full_build_can_be_downloaded_and_uploaded_again(web: BuilderWebDouble) -> None:
    with BuilderWebDouble() as other:
        _unused, _unused, body = exchange(web, "GET", f"/job/hello/build/{build_id(1)}/exec", [], b"", "1.1")
        basic = "Authorization: Basic " + b64encode(b"lab:labpass").decode()
        assert exchange(other, "POST", "/upload", [basic], body, "1.1")[0] == 201
        (build,) = other.builds
        assert (build.job, build.uuid, build.platform, build.main_binary) == (
            "hello",
            build_id(1),
            "debian-12",
            "bin/hello.hvt",
        )


def test_every_nth_request_can_fail_as_on_two_cpus() -> None:
    with BuilderWebDouble() as web:
        web.overloaded_every = 2
        statuses = [exchange(web, "GET", "/robots.txt", [], b"", "1.1")[0] for _unused in range(4)]
        assert statuses == [200, 500, 200, 500]


def test_it_runs_as_a_program_and_serves_a_folder_of_builds(tmp_path: Path) -> None:
    folder = tmp_path / "builds" / "first"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "web").write_bytes(b"#!/bin/sh\n")
    (folder / "opam-switch").write_text("installed: []\n", encoding="utf-8")
    about = {"job": "web", "platform": "demo", "uuid": build_id(1), "started_at": "2026-01-02T03:04:05+00:00"}
    (folder / "build.json").write_text(json.dumps(about), encoding="utf-8")
    port_file = tmp_path / "port"
    command = [sys.executable, builder_web.__file__, "--data", str(tmp_path / "builds"), "--port-file", str(port_file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith(b"builder-web's double listens on http://127.0.0.1:")
            url = f"http://127.0.0.1:{port_file.read_text(encoding='ascii').strip()}/job/web"
            request = urllib.request.Request(url, headers={"Accept": "application/json"})
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5) as answer:
                listed = json.load(answer)
        finally:
            process.terminate()
    assert listed["builds"][0]["uuid"] == build_id(1)
    assert process.returncode == 0
