# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client over real TLS: servers that check its chain with OpenSSL, and servers that misbehave."""

from __future__ import annotations

import datetime
import os
import socket
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, Optional

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross import wire
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.authority import (
    EXTENSION,
    extension_of,
    read_authority,
    read_certificates,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.client import Client
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.conversation import Patience
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.errors import (
    AnswerLost,
    ClosedUnanswered,
    MalformedAnswer,
    NotSent,
    Refused,
    Unsendable,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.issuing import request, tenant
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.messages import (
    AddPolicy,
    Command,
    Create,
    Failure,
    GetImage,
    ListUnikernels,
    Message,
    Payload,
    Restart,
    Said,
    SetBlock,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import ROOT, Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import Policy, UnikernelConfig
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.tls import Tls
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import InvalidDeclaration
from ansible_collections.unikernel.fleet.tests.support import albatross_certificates as made
from ansible_collections.unikernel.fleet.tests.support.albatross_captures import (
    EXTENSION as CERTIFICATE,
    TLS_GOT,
    capture,
)
from ansible_collections.unikernel.fleet.tests.support.certificates import pem
from ansible_collections.unikernel.fleet.tests.support.raw_servers import (
    Behaviour,
    drip,
    exactly,
    frame_of,
    until_hung_up,
)

HELLO = Name((), "hello")
POLICY = Policy((0,), 2, 64, ("br-alb",), 32)
IMPATIENT = Patience(connect_s=0.4, send_s=0.4, answer_s=0.4)
PATIENT = Patience()


@dataclass
class Installation:
    """A root, a server of it, and what that server was asked."""

    folder: Path
    root: made.Files
    server: made.Files
    asked: list[tuple[str, Command]] = field(default_factory=list)
    uploaded: list[bytes] = field(default_factory=list)

    def client(self, port: int, as_: Optional[made.Files] = None, patience: Patience = PATIENT, **more: Any) -> Client:
        who = as_ or self.root
        transport = Tls("127.0.0.1", self.root.certificates, who.certificates, who.key, port, **more)
        return Client(transport, patience=patience)

    @contextmanager
    def listening(self, behave: Behaviour, trusted: Optional[made.Files] = None) -> Iterator[int]:
        """A server that does this with each connection whose chain it trusts."""
        context = made.server_context(self.server, trusted or self.root)

        def secured(plain: socket.socket) -> None:
            try:
                connection = context.wrap_socket(plain, server_side=True)
            except ssl.SSLError:
                return
            with connection:
                leaf = x509.load_der_x509_certificate(connection.getpeercert(binary_form=True) or b"")
                octets = extension_of(leaf)
                assert octets is not None
                name = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
                self.asked.append((str(name), wire.decode_extension(octets)))
                behave(connection)
                with suppress(OSError):
                    connection.unwrap()

        with made.tcp_server(secured) as port:
            yield port

    @contextmanager
    def answering(self, *answers: bytes) -> Iterator[int]:
        """A server that reads what is streamed and says this."""

        def behave(connection: socket.socket) -> None:
            if isinstance(self.asked[-1][1], (Create, SetBlock)):
                while True:
                    self.uploaded.append(frame_of(connection))
                    if not self.uploaded[-1]:
                        break
            for answer in answers:
                connection.sendall(answer)

        with self.listening(behave) as port:
            yield port


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    root = made.root(tmp_path)
    return Installation(tmp_path, root, made.server(tmp_path, root))


def said(payload: Payload, name: Name = HELLO) -> bytes:
    return wire.framed(wire.encode(Message(name, payload)))


def leaf_of(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


# --- requests that a checking server takes -------------------------------------------------------


@pytest.mark.parametrize(
    ("recorded", "asked", "label"),
    [
        ("t01-tls-info", lambda one: len(one.unikernels()) == 3, "."),
        ("t03-tls-info-hello", lambda one: one.unikernel(HELLO).memory_mib == 16, "hello"),
        ("t10-tls-policy-info", lambda one: len(one.policies()) == 2, "."),
        ("t11-tls-restart", lambda one: one.restart(HELLO) == "created unikernel", "hello"),
        ("t13-tls-destroy", lambda one: one.destroy(HELLO), "hello"),
        ("t14-tls-destroy-missing", lambda one: not one.destroy(Name((), "nosuch")), "nosuch"),
    ],
)
def test_a_call_asks_what_the_real_client_asked_and_reads_what_the_real_server_said(
    installation: Installation, recorded: str, asked: Callable[[Client], bool], label: str
) -> None:
    with installation.answering(capture(recorded, TLS_GOT).octets) as port:
        assert asked(installation.client(port))
    ((name, command),) = installation.asked
    assert (name, wire.encode_extension(command)) == (label, capture(recorded, CERTIFICATE).octets)


def test_an_image_is_streamed_and_not_put_into_the_certificate(installation: Installation) -> None:
    config = UnikernelConfig(memory_mib=16, image=os.urandom(300_000))
    with installation.answering(capture("t05-tls-force-create-image-streamed", TLS_GOT).octets) as port:
        assert installation.client(port).force_create(HELLO, config) == "created unikernel"
    assert installation.asked == [("hello", Create(replace(config, image=b""), force=True))]
    assert b"".join(installation.uploaded) == config.image
    assert installation.uploaded[-1] == b""


def test_a_block_device_is_streamed(installation: Installation) -> None:
    with installation.answering(said(Said("set block device"))) as port:
        installation.client(port).set_block(Name((), "data"), [b"one", b"two"])
    assert installation.uploaded == [b"one", b"two", b""]


@pytest.mark.parametrize("elliptic", [False, True])
def test_a_tenant_asks_in_its_path_with_its_whole_chain(tmp_path: Path, elliptic: bool) -> None:
    """The server trusts the root alone, so that it can only verify what was sent along."""
    root = made.root(tmp_path, elliptic=elliptic)
    installation = Installation(tmp_path, root, made.server(tmp_path, root))
    dev = made.tenant_of(tmp_path, root, "dev", POLICY)
    team = made.tenant_of(tmp_path, dev, "team", POLICY)
    with installation.answering(said(Said("created unikernel"), Name(("dev", "team"), "web"))) as port:
        client = installation.client(port, team)
        assert client.restart(Name(("dev", "team"), "web")) == "created unikernel"
        with pytest.raises(Unsendable, match=r"speaks for the path 'dev:team:'.*cannot ask about 'dev:web'"):
            client.restart(Name(("dev",), "web"))
    assert installation.asked == [("web", Restart())]


def test_each_request_has_a_key_of_its_own(installation: Installation) -> None:
    authority = read_authority(installation.root.certificates, installation.root.key)
    first, second = (request(authority, HELLO, ListUnikernels()) for _unused in range(2))
    assert first.key != second.key
    assert leaf_of(first.certificates).serial_number != leaf_of(second.certificates).serial_number
    assert "PRIVATE" not in repr(first)


def test_a_leaf_is_as_the_real_endpoint_wants_it(installation: Installation) -> None:
    dev = made.tenant_of(installation.folder, installation.root, "dev", POLICY)
    team = made.tenant_of(installation.folder, dev, "team", POLICY)
    authority = read_authority(team.certificates, team.key)
    assert authority.path == ("dev", "team")
    sent = installation.folder / "sent.pem"
    sent.write_bytes(request(authority, Name(("dev", "team")), GetImage(9)).certificates)
    leaf, *above = read_certificates(sent)
    subjects = [one.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value for one in (leaf, *above)]
    assert subjects == [".", "team", "dev"]
    extension = leaf.extensions.get_extension_for_oid(x509.ObjectIdentifier(EXTENSION))
    assert (extension.critical, extension.value.value) == (False, capture("t12-tls-get-level9", CERTIFICATE).octets)
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert usage.value.key_encipherment
    assert not usage.value.key_cert_sign
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    until = getattr(leaf, "not_valid_after_utc", None)
    until = leaf.not_valid_after if until is None else until.replace(tzinfo=None)
    assert datetime.timedelta(seconds=280) < until - now <= datetime.timedelta(seconds=300)
    for one, label in zip(above, ("team", "dev")):
        octets = extension_of(one)
        assert octets is not None
        assert wire.decode_extension(octets) == AddPolicy(POLICY), label


def test_the_key_of_a_request_is_nowhere_after_it(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = installation.folder / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with installation.answering(said(Said("created unikernel"))) as port:
        installation.client(port).restart(HELLO)
    assert list(folder.iterdir()) == []


# --- files that cannot work ----------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_can_read_is_refused(installation: Installation, mode: int) -> None:
    installation.root.key.chmod(mode)
    with pytest.raises(InvalidDeclaration, match=rf"others can read .*mode {mode:04o}.*chmod 600"):
        installation.client(1).unikernels()


def test_files_that_do_not_belong_together_are_refused(installation: Installation) -> None:
    other = made.root(installation.folder, "other")
    with pytest.raises(InvalidDeclaration, match="holds no certificate of the key"):
        read_authority(other.certificates, installation.root.key)
    both = installation.folder / "both.pem"
    both.write_bytes(installation.root.certificates.read_bytes() + other.certificates.read_bytes())
    with pytest.raises(InvalidDeclaration, match="'other' issued none of the others"):
        read_authority(both, installation.root.key)


def test_a_chain_in_any_order_is_put_in_order(installation: Installation) -> None:
    dev = made.tenant_of(installation.folder, installation.root, "dev", POLICY)
    chain = read_certificates(dev.certificates)
    dev.certificates.write_bytes(b"".join(pem(one) for one in reversed(chain)))
    assert read_authority(dev.certificates, dev.key).chain == chain


@pytest.mark.parametrize(
    "content", [b"", b"nothing", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_what_holds_no_certificate_is_refused(installation: Installation, content: bytes) -> None:
    installation.root.certificates.write_bytes(content)
    with pytest.raises(InvalidDeclaration, match=r"no certificate in PEM|cannot be read"):
        installation.client(1).unikernels()


def test_what_is_no_key_is_refused(installation: Installation) -> None:
    installation.root.key.write_bytes(b"nothing")
    with pytest.raises(InvalidDeclaration, match="no private key"):
        installation.client(1).unikernels()
    installation.root.key.unlink()
    with pytest.raises(InvalidDeclaration, match="cannot be read: No such file"):
        installation.client(1).unikernels()
    os.mkfifo(installation.root.key, 0o600)
    with pytest.raises(InvalidDeclaration, match="is no file of certificates or keys"):
        installation.client(1).unikernels()


def test_an_expired_ca_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    expired = made.root(tmp_path, days=-1)
    with pytest.raises(InvalidDeclaration, match="expired at"):
        read_authority(expired.certificates, expired.key)


def test_a_leaf_cannot_issue_requests(installation: Installation) -> None:
    with pytest.raises(InvalidDeclaration, match="is no CA"):
        read_authority(installation.server.certificates, installation.server.key)


def test_a_chain_that_the_endpoint_would_drop_is_not_sent(installation: Installation) -> None:
    files, path = installation.root, []
    for number in range(9):
        path.append(f"p{number}")
        files = made.tenant_of(installation.folder, files, path[-1], POLICY)
    authority = read_authority(files.certificates, files.key)
    with pytest.raises(Unsendable, match="at most 9"):
        request(authority, Name(tuple(path), "hello"), Restart())


def test_policies_are_not_asked_for_but_issued(installation: Installation) -> None:
    client = installation.client(1)
    with pytest.raises(Unsendable, match="in the certificates of tenants"):
        client.add_policy(Name(("dev",)), POLICY)
    with pytest.raises(Unsendable, match="in the certificates of tenants"):
        client.remove_policy(Name(("dev",)))
    with pytest.raises(Unsendable, match="no label"):
        tenant(read_authority(installation.root.certificates, installation.root.key), "a:b", POLICY)


# --- servers that are not ours, or misbehave -----------------------------------------------------


def test_a_server_that_refuses_the_chain_has_done_nothing(installation: Installation) -> None:
    """TLS 1.3 tells it with the first read, when the handshake is long over."""
    other = made.root(installation.folder, "other")
    with installation.listening(until_hung_up, trusted=other) as port, pytest.raises(NotSent) as raised:
        installation.client(port).restart(HELLO)
    assert "refused the certificate" in str(raised.value)
    assert installation.asked == []


def test_a_refused_chain_is_told_while_an_image_is_streamed(installation: Installation) -> None:
    other = made.root(installation.folder, "other")
    config = UnikernelConfig(memory_mib=16, image=bytes(20_000_000))
    with (
        installation.listening(until_hung_up, trusted=other) as port,
        pytest.raises(NotSent, match="carried out nothing"),
    ):
        installation.client(port).force_create(HELLO, config)


def test_a_server_of_another_ca_is_not_spoken_to(installation: Installation) -> None:
    strange = made.root(installation.folder / "strange", "strange")
    installation = replace(installation, server=made.server(installation.folder / "strange", strange))
    with installation.listening(until_hung_up) as port, pytest.raises(NotSent, match="does not vouch for"):
        installation.client(port).unikernels()
    assert installation.asked == []


def test_a_tenant_in_the_servers_place_is_found_out_by_the_pin(installation: Installation) -> None:
    pin = installation.server.certificates
    with installation.answering(said(Said("created unikernel"))) as port:
        assert installation.client(port, server_certificate=pin).restart(HELLO) == "created unikernel"
    impostor = replace(installation, server=made.server(installation.folder / "other", installation.root))
    with impostor.answering(said(Said("created unikernel"))) as port, pytest.raises(NotSent, match="shows another"):
        impostor.client(port, server_certificate=pin).restart(HELLO)


def test_a_port_where_nobody_listens_is_told(installation: Installation) -> None:
    with made.tcp_server(until_hung_up) as port:
        pass
    with pytest.raises(NotSent, match="cannot be reached"):
        installation.client(port).unikernels()


def test_a_server_without_tls_1_3_is_not_spoken_to(installation: Installation) -> None:
    context = made.server_context(installation.server, installation.root)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2

    def old(plain: socket.socket) -> None:
        with suppress(ssl.SSLError):
            context.wrap_socket(plain, server_side=True).close()

    refused = pytest.raises(NotSent, match=r"does not agree on TLS 1\.3")
    with refused, made.tcp_server(old) as port:
        installation.client(port).unikernels()


@pytest.mark.parametrize(
    "behave", [until_hung_up, lambda plain: drip(plain, b"\x16\x03\x03\x40\x00" + bytes(99), 0.05)]
)
def test_a_handshake_that_never_ends_is_left_in_time(installation: Installation, behave: Behaviour) -> None:
    began = time.monotonic()
    left = pytest.raises(NotSent, match="in time")
    with left, made.tcp_server(behave) as port:
        installation.client(port, patience=IMPATIENT).unikernels()
    assert time.monotonic() - began < 5


def test_a_server_that_never_answers_is_left_in_time(installation: Installation) -> None:
    began = time.monotonic()
    with installation.listening(until_hung_up) as port, pytest.raises(AnswerLost, match="did not answer in time"):
        installation.client(port, patience=IMPATIENT).restart(HELLO)
    assert time.monotonic() - began < 5


def test_an_image_that_is_not_taken_in_time_was_not_carried_out(installation: Installation) -> None:
    """The endpoint does nothing before the empty chunk."""
    began = time.monotonic()
    config = UnikernelConfig(memory_mib=16, image=bytes(30_000_000))

    def slow(connection: socket.socket) -> None:
        exactly(connection, 100)
        time.sleep(1)

    with installation.listening(slow) as port, pytest.raises(NotSent, match="did not take the request"):
        installation.client(port, patience=IMPATIENT).force_create(HELLO, config)
    assert time.monotonic() - began < 5


def test_a_close_without_a_frame_is_a_lost_answer(installation: Installation) -> None:
    with installation.answering() as port, pytest.raises(ClosedUnanswered):
        installation.client(port).restart(HELLO)


@pytest.mark.parametrize("answer", [b"\0\0\0\x05hello", said(Said("created unikernel"))[:-1], said(Restart())])
def test_an_answer_that_is_none_is_a_lost_answer(installation: Installation, answer: bytes) -> None:
    with installation.answering(answer) as port, pytest.raises(MalformedAnswer):
        installation.client(port).restart(HELLO)


def test_of_two_failures_the_first_is_told(installation: Installation) -> None:
    """A streamed command that fails gets its reason, and then the endpoint's own surprise."""
    answers = said(Failure("dump block: not found")), said(Failure("exception while reading from fd"))
    with installation.answering(*answers) as port, pytest.raises(Refused, match="dump block: not found"):
        list(installation.client(port).dump_block(Name((), "data"), 0, 1_000_000))


def test_the_sequence_of_the_endpoint_is_not_taken_for_ours(installation: Installation) -> None:
    answer = wire.framed(wire.encode(Message(ROOT, Said("created unikernel"), sequence=18)))
    with installation.answering(answer) as port:
        assert installation.client(port).restart(HELLO) == "created unikernel"
