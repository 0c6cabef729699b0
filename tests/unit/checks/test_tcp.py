# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The check ``tcp`` against real sockets."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.model import CheckSpec, Outcome
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.protocol import Sighting, Surroundings
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.registry import CHECKS
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import InvalidDeclaration
from ansible_collections.unikernel.fleet.tests.support.web_server import (
    WebServer,
    answers,
    closed_port,
    dribbles,
    hangs_up,
    repeats,
    stays_silent,
)

TCP = CHECKS["tcp"]
REQUEST = "GET / HTTP/1.1\r\n\r\n"


def seen(timeout_s: float = 5.0, host: str = "127.0.0.1", **options: Any) -> Sighting:
    validated = json.loads(json.dumps(TCP.validated(options, host)))
    return TCP.bind(CheckSpec("tcp", "t", options=validated), Surroundings()).attempt(timeout_s)


def test_a_port_that_accepts_connections_passes() -> None:
    with WebServer(stays_silent()) as server:
        assert seen(port=server.port).outcome is Outcome.PASS


def test_a_port_of_ipv6_is_reached() -> None:
    with WebServer(stays_silent(), ipv6=True) as server:
        assert seen(port=server.port, host="[::1]").outcome is Outcome.PASS


def test_a_closed_port_fails() -> None:
    assert seen(port=closed_port()).outcome is Outcome.FAIL


def test_what_the_server_says_is_matched_while_the_connection_stays_open() -> None:
    with WebServer(repeats(b"220 ready\r\n", b".", every_s=30)) as server:
        assert seen(port=server.port, send=REQUEST, expect="^220 ").outcome is Outcome.PASS


def test_a_greeting_that_comes_byte_by_byte_is_found() -> None:
    with WebServer(repeats(b"22", b"0", every_s=0.03)) as server:
        assert seen(port=server.port, send=REQUEST, expect="22000").outcome is Outcome.PASS


def test_another_greeting_fails_and_is_shown() -> None:
    with WebServer(answers(503)) as server:
        sighting = seen(port=server.port, send=REQUEST, expect="200 OK")
    assert sighting.outcome is Outcome.FAIL
    assert "503" in sighting.detail


@pytest.mark.parametrize("behaviour", [hangs_up(), stays_silent(), dribbles(), repeats(b"", b"x" * 1000)])
def test_a_greeting_that_never_comes_fails_in_time(behaviour: Any) -> None:
    with WebServer(behaviour) as server:
        began = time.monotonic()
        assert seen(port=server.port, send=REQUEST, expect="ready", timeout_s=0.15).outcome is Outcome.FAIL
        assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    "options", [{}, {"port": 0}, {"port": 70000}, {"port": "x"}, {"port": True}, {"port": 1, "expect": "["}]
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidDeclaration):
        TCP.validated(options, "127.0.0.1")
