# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""albatross-tls-endpoint: requests out of certificates, carried to the Unix sockets, and what they answer back.

The policies of the tenants in a chain are installed before its request, each time. Two things are OpenSSL's and not
albatross': which alert a refused chain gets, and that certificates of more than 100 KB (with an image inside) are
refused; who streams its images does not notice.
"""

from __future__ import annotations

import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

from cryptography import x509
from cryptography.x509.oid import NameOID

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross import messages as m, wire
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.authority import extension_of
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.der import (
    INTEGER,
    OCTET_STRING,
    UTF8_STRING,
    element,
    elements,
    only,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.errors import Malformed
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.grammar import VERSION
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import (
    Generation,
    NamedInfo,
    Policy,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.structures import SEQUENCE
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.unix_sockets import socket_of
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import InvalidDeclaration
from ansible_collections.unikernel.fleet.tests.support.albatross import frames

SEES_CHAINS = sys.version_info >= (3, 10)
"""Before Python 3.10 a server sees the leaf only: there are no tenants then."""
MOST_CERTIFICATES = 9
_NO_LABEL = (".", ":")
_CLOSE_S = 2.0
_ALLOWED = (
    *(m.SubscribeConsole, m.ListInactiveConsoles, m.SubscribeStatistics, m.ListPolicies),
    *(*m.UNIKERNEL_COMMANDS, *m.BLOCK_COMMANDS),
)
_STREAMED = (m.SubscribeConsole, m.SubscribeStatistics, m.DumpBlock)


class TlsEndpoint:
    def __init__(self, folder: Path, context: ssl.SSLContext, generation: Generation) -> None:
        self._folder, self._context, self._generation = folder, context, generation
        self._sequence = 0

    def serve(self, plain: socket.socket) -> None:
        # The plain one stays with who accepted it, to be cut with all others.
        try:
            secured = self._context.wrap_socket(plain.dup(), server_side=True)
        except (ssl.SSLError, OSError):
            return
        with secured:
            with suppress(Malformed, InvalidDeclaration, _Unreadable):
                self._handle(secured)
            with suppress(OSError, ValueError):
                secured.settimeout(_CLOSE_S)
                secured.unwrap()

    def _handle(self, secured: ssl.SSLSocket) -> None:
        """What raises here ends the connection properly, and without a word."""
        leaf, above = _chain(secured)
        path, policies = self._policies(above)
        octets = extension_of(leaf)
        if octets is None:
            raise _Unreadable("no request")
        command = wire.decode_extension(octets)
        if not isinstance(command, _ALLOWED) or not frames.known(command, self._generation):
            raise _Unreadable("not allowed over TLS")
        label = _common_name(leaf)
        name = frames.canonical(Name(path, None if label in (None, *_NO_LABEL) else label), self._generation)
        request = self._request(name, _command_octets(octets))
        if isinstance(command, m.Create) and not command.config.image:
            image = b"".join(_streamed(secured))
            streamed = replace(command, config=replace(command.config, image=image))
            request = wire.encode(m.Message(name, streamed, self._sequence))
        frames.say(secured, m.Message(name, self._outcome(secured, name, command, policies, request)))

    def _passed_on(self, payload: m.Payload) -> m.Payload:
        if self._generation is not Generation.V2_5 or not isinstance(payload, m.Unikernels):
            return payload
        return replace(payload, entries=tuple(map(_unsized, payload.entries)), relayed=True)

    def _policies(self, above: list[x509.Certificate]) -> tuple[tuple[str, ...], list[tuple[Name, Policy]]]:
        """The path that the chain speaks for, and what must be installed for it: the innermost tenant's first."""
        path: tuple[str, ...] = ()
        found: list[tuple[Name, Policy]] = []
        for one in reversed(above):
            octets = extension_of(one)
            if octets is None:
                continue
            command = wire.decode_extension(octets)
            label = _common_name(one)
            if not isinstance(command, m.AddPolicy) or label is None:
                raise _Unreadable("not the certificate of a tenant")
            path = frames.canonical(Name((*path, label)), self._generation).path
            found.insert(0, (Name(path), command.policy))
        return path, found

    def _outcome(
        self,
        secured: ssl.SSLSocket,
        name: Name,
        command: m.Command,
        policies: list[tuple[Name, Policy]],
        request: bytes,
    ) -> m.Payload:
        """What is said last. Streams are passed on before it."""
        service = socket_of(command)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as to:
            try:
                to.connect(str(self._folder / service))
            except OSError:
                return m.Failure("couldn't reach service")
            for path, policy in policies if service == "vmmd.sock" else ():
                failure = self._install(to, path, policy)
                if failure is not None:
                    return failure
            try:
                to.sendall(wire.framed(request))
                if isinstance(command, m.SetBlock):
                    for chunk in _streamed(secured):
                        to.sendall(wire.framed(chunk))
                    to.sendall(wire.framed(b""))
            except _Unreadable:
                return m.Failure("reading tls chunk")
            except OSError:
                return m.Failure("writing block data")
            if not isinstance(command, _STREAMED):
                answer = _answer(to)
                return self._passed_on(answer.payload) if answer else m.Failure("error reading from fd")
            while True:
                answer = _answer(to)
                if answer is None:
                    return m.Failure("exception while reading from fd")
                if answer.payload == m.BlockChunk(None):
                    return answer.payload
                if not frames.say(secured, answer):
                    return m.Failure("exception")

    def _install(self, to: socket.socket, path: Name, policy: Policy) -> Optional[m.Failure]:
        self._sequence += 1
        if not frames.say(to, m.Message(path, m.AddPolicy(policy), self._sequence)):
            return m.Failure("failed to write policy")
        answer = _answer(to)
        if answer is None:
            return m.Failure("read error after writing policy")
        if isinstance(answer.payload, m.Failure):
            told = f"host [unikernel: {answer.name}]: command failed {answer.payload.text}"
            return m.Failure(f"expected success when adding policy, got: {told}")
        return None

    def _request(self, name: Name, command: bytes) -> bytes:
        """The request as it stands in the certificate: the codec would refuse to write what kills albatrossd."""
        self._sequence += 1
        header = element(
            SEQUENCE,
            element(INTEGER, bytes((VERSION,)))
            + element(OCTET_STRING, self._sequence.to_bytes(frames.SEQUENCE_OCTETS, "big"))
            + element(UTF8_STRING, str(name).encode()),
        )
        return element(SEQUENCE, header + element(0xA0, command))


class _Unreadable(Exception):
    """The endpoint closes without a word."""


def _command_octets(extension: bytes) -> bytes:
    _version, command = elements(only(extension)[1], 2)
    return element(*command)


def _answer(to: socket.socket) -> Optional[m.Message]:
    octets = frames.chunk(to)
    return wire.decode(octets) if octets else None


def _streamed(secured: ssl.SSLSocket) -> Iterator[bytes]:
    """Chunks up to the empty one; a stream that ends before it is not carried out."""
    while True:
        chunk = frames.chunk(secured)
        if chunk is None:
            raise _Unreadable("the stream is cut")
        if not chunk:
            return
        yield chunk


def _chain(secured: ssl.SSLSocket) -> tuple[x509.Certificate, list[x509.Certificate]]:
    """The leaf, and what was sent above it, the next one first."""
    chain = [x509.load_der_x509_certificate(octets) for octets in _octets_of_chain(secured)]
    if len(chain) > MOST_CERTIFICATES:
        raise _Unreadable("certificate chain too long")
    return chain[0], chain[1:]


def _octets_of_chain(secured: ssl.SSLSocket) -> list[bytes]:
    if hasattr(secured, "get_unverified_chain"):  # Since Python 3.13.
        return list(secured.get_unverified_chain())
    inner: Any = secured._sslobj  # type: ignore[attr-defined]
    if not hasattr(inner, "get_unverified_chain"):
        return [secured.getpeercert(binary_form=True) or b""]
    encoding_of_der = 2
    return [bytes(one.public_bytes(encoding_of_der)) for one in inner.get_unverified_chain()]


def _common_name(certificate: x509.Certificate) -> Optional[str]:
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else None


def _unsized(entry: NamedInfo) -> NamedInfo:
    blocks = tuple(replace(block, size_mib=0) for block in entry.info.blocks)
    return replace(entry, info=replace(entry.info, blocks=blocks))
