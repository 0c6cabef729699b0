# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The certificates of an albatross installation, made at test time as albatross' own tool makes them: a root without a
Subject Key Identifier, a server certificate that names no host, and files with the modes that they should have."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.authority import read_authority
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.issuing import Credential, tenant
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import Policy
from ansible_collections.unikernel.fleet.tests.support.certificates import common_name, key_pem, pem, unsigned
from ansible_collections.unikernel.fleet.tests.support.raw_servers import Behaviour, serving

_USAGE_OF_A_CA = x509.KeyUsage(
    digital_signature=True,
    content_commitment=True,
    key_cert_sign=True,
    crl_sign=True,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True)
class Files:
    """A CA or a server on disk."""

    certificates: Path
    key: Path


def stored(folder: Path, name: str, credential: Credential) -> Files:
    folder.mkdir(parents=True, exist_ok=True)
    files = Files(folder / f"{name}.pem", folder / f"{name}.key")
    files.certificates.write_bytes(credential.certificates)
    files.key.touch(0o600)
    files.key.write_bytes(credential.key)
    return files


def root(folder: Path, name: str = "albatross-ca", days: int = 10, elliptic: bool = False) -> Files:
    """A self-signed CA."""
    key = _key(elliptic)
    subject = common_name(name)
    certificate = (
        unsigned(subject, subject, key, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_USAGE_OF_A_CA, critical=True)
        .sign(key, _hash(key))
    )
    return stored(folder, name, Credential(pem(certificate), key_pem(key)))


def server(folder: Path, issuer: Files, name: str = "albatross-server") -> Files:
    """What the endpoint shows: no Subject Alternative Name, only a common name."""
    authority = read_authority(issuer.certificates, issuer.key)
    key = _key(False)
    certificate = (
        unsigned(common_name(name), authority.chain[0].subject, key, 10)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.chain[0].public_key()), critical=False
        )
        .sign(authority.key, _hash(authority.key))
    )
    return stored(folder, name, Credential(pem(certificate), key_pem(key)))


def tenant_of(folder: Path, issuer: Files, label: str, policy: Policy) -> Files:
    """A tenant's CA, as the collection itself issues it."""
    return stored(folder, label, tenant(read_authority(issuer.certificates, issuer.key), label, policy))


@contextmanager
def tcp_server(behave: Behaviour) -> Iterator[int]:
    """The port on loopback of a server that does this with each connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with serving(listener, behave):
            yield port


def server_context(of: Files, trusted: Files) -> ssl.SSLContext:
    """TLS 1.3, and only clients whose chain ends in that CA."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.load_verify_locations(cafile=str(trusted.certificates))
    context.load_cert_chain(str(of.certificates), str(of.key))
    return context


def _key(elliptic: bool) -> Any:
    return ec.generate_private_key(ec.SECP256R1()) if elliptic else ed25519.Ed25519PrivateKey.generate()


def _hash(key: Any) -> Any:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
