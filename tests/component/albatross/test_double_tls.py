# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The double's TLS endpoint: tenants and their policies, and what ends a connection without a word."""

from __future__ import annotations

import socket
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Optional

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross import wire
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.authority import read_authority
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.client import Client
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.errors import Refused, Unsendable
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.issuing import request
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.messages import (
    AddPolicy,
    Command,
    Create,
    DumpBlock,
    GetImage,
    ListUnikernels,
    SubscribeConsole,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import ROOT, Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import Policy
from ansible_collections.unikernel.fleet.tests.support.albatross.double import Albatross
from ansible_collections.unikernel.fleet.tests.support.albatross.tls_endpoint import SEES_CHAINS
from ansible_collections.unikernel.fleet.tests.support.albatross_asking import DEV, HELLO, config
from ansible_collections.unikernel.fleet.tests.support.albatross_certificates import Files

TENANTS = pytest.mark.skipif(not SEES_CHAINS, reason="before Python 3.10 a TLS server sees no chain of its client")
IN_DEV = Name(("dev",), "a")


@contextmanager
def asked(double: Albatross, name: Name, command: Command, who: Optional[Files] = None) -> Iterator[ssl.SSLSocket]:
    """A connection whose certificate asks for this, whatever our transport would say to it."""
    who = who or double.root
    credential = request(read_authority(who.certificates, who.key), name, command)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    context.load_verify_locations(cafile=str(double.root.certificates))
    with tempfile.NamedTemporaryFile() as file:
        file.write(credential.key + credential.certificates)
        file.flush()
        context.load_cert_chain(file.name)
    with socket.create_connection(("127.0.0.1", double.tls_port or 0)) as plain:
        plain.settimeout(10.0)
        with context.wrap_socket(plain) as secured:
            yield secured


def everything(connection: ssl.SSLSocket) -> bytes:
    found = b""
    with suppress(ConnectionResetError):
        while True:
            more = connection.recv(65_536)
            if not more:
                break
            found += more
    return found


def texts(octets: bytes) -> list[str]:
    found, position = [], 0
    while position < len(octets):
        end = position + 4 + int.from_bytes(octets[position : position + 4], "big")
        found.append(getattr(wire.decode(octets[position + 4 : end]).payload, "text", ""))
        position = end
    return found


@TENANTS
def test_the_policy_of_a_tenant_is_installed_before_its_request(double: Albatross, client: Client) -> None:
    client.add_policy(DEV, Policy((0, 1), 9, 900, ("br0", "br1"), 5))
    policy = Policy((0,), 1, 64, ("br0",))
    tenant = Client(double.transport(double.tenant("dev", policy)))
    tenant.create(IN_DEV, config())
    assert [entry.policy for entry in client.policies(DEV)] == [policy]
    with pytest.raises(Refused, match=r"maximum amount of unikernels \(1\) reached"):
        tenant.create(Name(("dev",), "b"), config())
    with pytest.raises(Unsendable):
        tenant.create(HELLO, config())
    assert [str(entry.name) for entry in tenant.unikernels(DEV)] == ["dev:a"]


@TENANTS
def test_a_policy_that_does_not_fit_keeps_the_request_from_being_run(double: Albatross, client: Client) -> None:
    client.create(IN_DEV, config(memory_mib=100))
    tenant = Client(double.transport(double.tenant("dev", Policy((0,), 1, 64, ("br0",)))))
    with pytest.raises(Refused, match=r"expected success when adding policy, got: .*memory limit set by policy"):
        tenant.destroy(IN_DEV)
    assert client.unikernel(IN_DEV) is not None


@TENANTS
def test_a_tenant_of_a_tenant_is_below_it(double: Albatross, client: Client) -> None:
    dev = double.tenant("dev", Policy((0,), 3, 300, ("br0",)))
    web = Client(double.transport(double.tenant("web", Policy((0,), 2, 200, ("br0",)), dev)))
    web.create(Name(("dev", "web"), "a"), config())
    assert [str(entry.name) for entry in client.policies()] == [":", "dev:", "dev:web:"]
    assert [str(entry.name) for entry in client.unikernels()] == ["dev:web:a"]


def test_an_image_that_is_cut_is_not_run(double: Albatross, client: Client) -> None:
    with asked(double, HELLO, Create(config(b""))) as connection:
        connection.sendall(wire.framed(config().image))
        connection.unwrap()
    assert client.unikernel(HELLO) is None


def test_what_is_not_allowed_over_tls_ends_without_a_word(double: Albatross) -> None:
    with asked(double, HELLO, AddPolicy(Policy((0,), 1, 64, ()))) as connection:
        assert everything(connection) == b""


def test_a_stream_that_fails_ends_with_two_failures(double: Albatross) -> None:
    with asked(double, HELLO, DumpBlock(0)) as connection:
        assert texts(everything(connection)) == ["dump block: not found", "exception while reading from fd"]


def test_a_label_of_one_dot_is_none(double: Albatross) -> None:
    with asked(double, ROOT, SubscribeConsole(count=1)) as connection:
        assert texts(everything(connection))[0] == "path used instead of name"


def test_without_albatrossd_the_service_is_not_reached(double: Albatross) -> None:
    double.kill_daemon()
    with asked(double, HELLO, ListUnikernels()) as connection:
        assert texts(everything(connection)) == ["couldn't reach service"]


def test_an_image_in_the_certificate_is_taken_too(double: Albatross, client: Client) -> None:
    with asked(double, HELLO, Create(config())) as connection:
        assert texts(everything(connection)) == ["created unikernel"]
    with asked(double, HELLO, GetImage(9)) as connection:
        assert everything(connection)
    assert client.unikernel(HELLO) is not None
