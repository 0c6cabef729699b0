# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""albatross over TLS, from anywhere: requests are in the client's certificate, images and block devices in the stream.

TLS 1.3 only. The server's certificate has no name that could be checked, and its CA no Subject Key Identifier, which
newer Pythons demand by default: so the CA is what is trusted, and where tenants hold CAs of the same root, the server's
own certificate can be pinned.
"""

from __future__ import annotations

import os
import socket
import ssl
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

from ..checks.deadline import Deadline, OutOfTime
from ..checks.stream import Unresolved, connected, said
from ..errors import InvalidDeclaration
from .authority import der, read_authority, read_certificates
from .conversation import CHUNK_OCTETS, Conversation, Patience, reason
from .errors import NotSent, Unsendable
from .issuing import Credential, request
from .messages import AddPolicy, Command, Create, RemovePolicy, SetBlock
from .names import Name

PORT = 1025


@dataclass(frozen=True)
class Tls:
    """A transport to an ``albatross-tls-endpoint``."""

    address: str
    server_ca: Path
    """Whose certificates the server may show."""
    certificates: Path
    """The CA in whose name is asked, and those above it."""
    key: Path
    """Of that CA; readable by its owner only."""
    port: int = PORT
    server_certificate: Optional[Path] = None
    """The only certificate that the server may show; None: any of its CA."""

    @property
    def where(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"albatross ({host}:{self.port})"

    def open(
        self, name: Name, command: Command, patience: Patience, upload: Optional[Iterable[bytes]] = None
    ) -> Conversation:
        if isinstance(command, (AddPolicy, RemovePolicy)):
            raise Unsendable(
                "albatross takes policies over TLS only in the certificates of tenants: issue one. Nothing was sent."
            )
        if isinstance(command, Create):
            # An image within the certificate is bounded by what a handshake holds.
            upload = _pieces(command.config.image)
            command = replace(command, config=replace(command.config, image=b""))
        credential = request(read_authority(self.certificates, self.key), name, command)
        connection = self._secured(credential, Deadline.after(patience.connect_s))
        talk = Conversation(connection, self.where)
        try:
            whole = not isinstance(command, SetBlock)
            talk.request(b"", upload, Deadline.after(patience.send_s), whole)
        except BaseException:
            talk.close()
            raise
        return talk

    def _secured(self, credential: Credential, deadline: Deadline) -> ssl.SSLSocket:
        context = self._context(credential)
        pinned = self._pinned()
        plain: Optional[socket.socket] = None
        try:
            plain = connected(self.address, self.port, deadline)
            plain.settimeout(deadline.left_s())
            secured = context.wrap_socket(plain)
            if pinned is None or secured.getpeercert(binary_form=True) in pinned:
                return secured
            secured.close()
            why = f"shows another certificate than {self.server_certificate}: another may stand in the server's place"
        except OutOfTime:
            why = "did not answer in time"
        except socket.timeout:
            why = "did not end the TLS handshake in time"
        except Unresolved as error:
            why = f"cannot be asked: {error}"
        except ssl.SSLCertVerificationError as error:
            why = f"shows a certificate that {self.server_ca} does not vouch for ({error.verify_message})"
        except ssl.SSLError as error:
            why = f"does not agree on TLS 1.3 ({reason(error)})"
        except OSError as error:
            why = f"cannot be reached ({said(error)})"
        if plain is not None:
            with suppress(OSError):
                plain.close()
        raise NotSent(f"{self.where} {why}. Nothing was carried out.")

    def _context(self, credential: Credential) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        try:
            context.load_verify_locations(cafile=str(self.server_ca))
        except OSError as error:
            raise InvalidDeclaration(f"{self.server_ca} holds no CA of the server: {said(error)}.") from None
        with _file_of(credential) as path:
            context.load_cert_chain(path)
        return context

    def _pinned(self) -> Optional[frozenset[bytes]]:
        if self.server_certificate is None:
            return None
        return frozenset(der(one) for one in read_certificates(self.server_certificate))


def _pieces(octets: bytes) -> Iterator[bytes]:
    view = memoryview(octets)
    for position in range(0, len(octets), CHUNK_OCTETS):
        yield bytes(view[position : position + CHUNK_OCTETS])


@contextmanager
def _file_of(credential: Credential) -> Iterator[str]:
    """``ssl`` reads certificates and keys from files only: one that is ours alone, and gone right after."""
    descriptor, path = tempfile.mkstemp(prefix="albatross-request-")
    try:
        with open(descriptor, "wb") as file:
            file.write(credential.key + credential.certificates)
        yield path
    finally:
        os.unlink(path)
