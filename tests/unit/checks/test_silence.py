# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which failures are a silence, and which are an answer: what a rehearsal holds against a release hangs on it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.declaration import checks_from
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.model import Outcome, Schedule
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.protocol import Sighting, Surroundings
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.registry import CHECKS
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.schedule import run_checks

DEAF, SILENT, CLOSES, RUDE = "deaf", "silent", "closes", "rude"
"""Nobody listens; accepts and says nothing; accepts and closes; answers 503."""


@contextmanager
def server(manner: str) -> Iterator[int]:
    """A port that behaves so."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        if manner == DEAF:
            listening.close()
            yield port
            return
        kept: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    connection = listening.accept()[0]
                except OSError:
                    return
                if manner == RUDE:
                    connection.recv(4096)
                    connection.sendall(b"HTTP/1.0 503 Sick\r\n\r\nsick")
                if manner == SILENT:
                    kept.append(connection)
                else:
                    connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield port
        listening.shutdown(socket.SHUT_RDWR)
        for connection in kept:
            connection.close()


def attempt(declared: dict[str, Any], console: tuple[str, ...] = ()) -> Sighting:
    (spec,) = checks_from([{**declared, "timeout": 0.3}], None)
    return CHECKS[spec.kind].bind(spec, Surroundings(console=lambda lines: console)).attempt(0.3)


@pytest.mark.parametrize(("manner", "silent"), [(DEAF, True), (SILENT, True), (CLOSES, False), (RUDE, False)])
def test_of_http_an_answer_of_any_kind_is_none(manner: str, silent: bool) -> None:
    with server(manner) as port:
        sighting = attempt({"http": f"http://127.0.0.1:{port}/"})
    assert (sighting.outcome, sighting.silent) == (Outcome.FAIL, silent), sighting


@pytest.mark.parametrize(("manner", "silent"), [(DEAF, True), (SILENT, True), (CLOSES, False)])
def test_of_tls_too(manner: str, silent: bool) -> None:
    with server(manner) as port:
        sighting = attempt({"http": {"url": f"https://127.0.0.1:{port}/", "validate_certs": False}})
    assert (sighting.outcome, sighting.silent) == (Outcome.FAIL, silent), sighting


@pytest.mark.parametrize(("manner", "silent"), [(DEAF, True), (SILENT, True), (CLOSES, False)])
def test_of_tcp_a_connection_that_says_nothing_is_one(manner: str, silent: bool) -> None:
    with server(manner) as port:
        sighting = attempt({"tcp": {"host": "127.0.0.1", "port": port, "expect": "hello"}})
    assert (sighting.outcome, sighting.silent) == (Outcome.FAIL, silent), sighting


@pytest.mark.parametrize(
    ("declared", "silent"), [({"must_match": "serves"}, True), ({"must_not_match": "panic"}, False)]
)
def test_what_is_missing_on_a_console_is_one_and_what_must_not_be_there_is_none(
    declared: dict[str, str], silent: bool
) -> None:
    sighting = attempt({"console": declared}, ("panic",))
    assert (sighting.outcome, sighting.silent) == (Outcome.FAIL, silent)


def test_of_dns_no_answer_is_one() -> None:
    pytest.importorskip("dns")
    with server(DEAF) as port:
        sighting = attempt({"dns": {"name": "hello.lab.", "server": "127.0.0.1", "port": port}})
    assert (sighting.outcome, sighting.silent) == (Outcome.FAIL, True), sighting


@pytest.mark.parametrize(("manner", "answered"), [(DEAF, False), (RUDE, True)])
def test_a_result_tells_whether_there_ever_was_an_answer(manner: str, answered: bool) -> None:
    with server(manner) as port:
        specs = checks_from([{"http": f"http://127.0.0.1:{port}/", "timeout": 0.2}], None)
        schedule = Schedule(deadline_s=0.3, stable_for_s=0.0, consecutive=1, delays_s=(0.05,))
        verdict = run_checks(specs, schedule, Surroundings())
    assert verdict.outcome is Outcome.FAIL and verdict.results[0].answered == answered
