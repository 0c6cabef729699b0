# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The check ``dns`` against a real server that answers rightly and wrongly."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.model import CheckSpec, Outcome
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.protocol import Sighting, Surroundings
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.registry import CHECKS
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import InvalidDeclaration, MissingLibrary
from ansible_collections.unikernel.fleet.tests.support.dns_server import (
    DnsServer,
    over_tcp_only,
    over_udp_only,
    refuses,
    sends,
    stays_silent,
    truncates_over_udp,
    with_another_id,
    zone,
)
from ansible_collections.unikernel.fleet.tests.support.web_server import closed_port

DNS = CHECKS["dns"]
ZONE = zone(
    {
        "web.example. A": ["192.0.2.2", "192.0.2.1"],
        "web.example. AAAA": ["2001:db8::1"],
        "www.example. CNAME": ["web.example."],
        "web.example. TXT": ['"hello world"'],
        "web.example. MX": ["10 MAIL.example."],
    }
)


def seen(server: DnsServer, timeout_s: float = 5.0, **options: Any) -> Sighting:
    declared = {"name": "web.example", "port": server.port, **options}
    validated = json.loads(json.dumps(DNS.validated(declared, server.host)))
    return DNS.bind(CheckSpec("dns", "d", options=validated), Surroundings()).attempt(timeout_s)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"answers": ["192.0.2.1", "192.0.2.2"]},
        {"transport": "tcp", "answers": ["192.0.2.2", "192.0.2.1", "192.0.2.1"]},
        {"type": "aaaa", "answers": "2001:DB8:0::1"},
        {"name": "WWW.example.", "answers": ["192.0.2.1", "192.0.2.2"]},
        {"name": "www.example", "type": "CNAME", "answers": "WEB.EXAMPLE"},
        {"type": "TXT", "answers": "hello world"},
        {"type": "MX", "answers": "10 mail.Example."},
        {"name": "nowhere.example", "rcode": "nxdomain"},
        {"type": "SRV", "answers": []},
    ],
)
def test_the_right_answer_passes_whatever_its_form_and_order(options: dict[str, Any]) -> None:
    with DnsServer(ZONE) as server:
        assert seen(server, **options).outcome is Outcome.PASS


def test_a_server_at_an_ipv6_address_is_asked() -> None:
    with DnsServer(ZONE, ipv6=True) as server:
        assert seen(server).outcome is Outcome.PASS
        assert seen(server, transport="tcp").outcome is Outcome.PASS


def test_a_wrong_answer_fails_with_what_came_instead() -> None:
    with DnsServer(ZONE) as server:
        sighting = seen(server, answers=["192.0.2.1", "192.0.2.3"])
    assert sighting.outcome is Outcome.FAIL
    assert "with 192.0.2.1, 192.0.2.2, wanted 192.0.2.1, 192.0.2.3" in sighting.detail


def test_an_answer_without_records_fails() -> None:
    with DnsServer(ZONE) as server:
        assert "with nothing" in seen(server, type="SRV").detail


def test_another_response_code_fails() -> None:
    with DnsServer(refuses("SERVFAIL")) as server:
        sighting = seen(server)
    assert sighting.outcome is Outcome.FAIL
    assert "SERVFAIL, wanted NOERROR" in sighting.detail


def test_a_truncated_answer_is_asked_for_again_over_tcp() -> None:
    with DnsServer(truncates_over_udp(ZONE)) as server:
        assert seen(server).outcome is Outcome.PASS
        assert [transport for transport, _unused, _unused in server.queries] == ["udp", "tcp"]
        udp_only = seen(server, transport="udp")
    assert udp_only.outcome is Outcome.FAIL
    assert "truncated" in udp_only.detail


def test_a_truncated_answer_without_tcp_behind_it_fails() -> None:
    with DnsServer(over_udp_only(truncates_over_udp(ZONE))) as server:
        assert seen(server).outcome is Outcome.FAIL


def test_a_server_that_speaks_tcp_only_passes_where_tcp_is_declared() -> None:
    with DnsServer(over_tcp_only(ZONE)) as server:
        assert seen(server, transport="tcp").outcome is Outcome.PASS
        assert seen(server, timeout_s=0.15).outcome is Outcome.FAIL


@pytest.mark.parametrize("transport", ["udp", "tcp", "auto"])
def test_a_silent_server_fails_in_time(transport: str) -> None:
    with DnsServer(stays_silent()) as server:
        began = time.monotonic()
        assert seen(server, timeout_s=0.15, transport=transport).outcome is Outcome.FAIL
        assert time.monotonic() - began < 2


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize(
    "behaviour",
    [sends(b"\x00\x01garbage"), sends(b""), sends(b"\xff" * 600), with_another_id(ZONE)],
    ids=["garbage", "empty", "noise", "another id"],
)
def test_what_is_no_answer_to_the_question_fails(behaviour: Any, transport: str) -> None:
    with DnsServer(behaviour) as server:
        sighting = seen(server, transport=transport, timeout_s=1.0)
    assert sighting.outcome is Outcome.FAIL


def test_a_port_where_nobody_listens_fails() -> None:
    validated = DNS.validated({"name": "web.example", "port": closed_port()}, "127.0.0.1")
    assert DNS.bind(CheckSpec("dns", "d", options=validated), Surroundings()).attempt(0.2).outcome is Outcome.FAIL


def test_a_missing_dnspython_is_said_clearly(monkeypatch: pytest.MonkeyPatch) -> None:
    validated = DNS.validated({"name": "web.example"}, "127.0.0.1")
    for module in [name for name in sys.modules if name == "dns" or name.startswith("dns.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "dns", None)
    sighting = DNS.bind(CheckSpec("dns", "d", options=validated), Surroundings()).attempt(1)
    assert sighting.outcome is Outcome.INCONCLUSIVE
    assert sighting.final
    assert "dnspython" in sighting.detail
    with pytest.raises(MissingLibrary, match="dnspython"):
        DNS.validated({"name": "web.example"}, "127.0.0.1")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "name is missing"),
        ({"name": "a..b"}, "no name in DNS"),
        ({"name": "a", "type": "WHAT"}, "not both known"),
        ({"name": "a", "type": "ANY"}, "cannot|can compare"),
        ({"name": "a", "rcode": "FINE"}, "not both known"),
        ({"name": "a", "answers": ["nonsense"]}, "no A record"),
        ({"name": "a", "transport": "pigeon"}, "pigeon"),
        ({"name": "a", "port": 0}, "1 to 65535"),
        ({"name": "a", "nmae": "b"}, "'nmae'"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidDeclaration, match=message):
        DNS.validated(options, "127.0.0.1")
