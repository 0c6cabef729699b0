# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The certificates that carry requests: a leaf for each, signed with the key of a root or of a tenant.

albatross' TLS endpoint reads the request from the leaf's extension, the path from the names of the CAs below its root
that carry a policy in theirs, and the label from the leaf's name.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import Any

from ..errors import InvalidDeclaration
from . import wire
from .authority import EXTENSION, Authority, require_library
from .errors import Unsendable
from .messages import AddPolicy, Command
from .names import LABEL, Name
from .records import Policy

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    HAS_CRYPTOGRAPHY = False
else:
    HAS_CRYPTOGRAPHY = True

LEAF_BEFORE_S, LEAF_AFTER_S = 10, 300
"""How long a request is valid around now. Clocks may differ by no more."""
LONGEST_CHAIN = 9
"""Certificates, the leaf included; the endpoint refuses more without a word."""
NO_LABEL = "."


@dataclass(frozen=True)
class Credential:
    """A certificate in PEM, with those that must be sent along, and its key."""

    certificates: bytes
    key: bytes = field(repr=False)


def request(authority: Authority, name: Name, command: Command) -> Credential:
    """A leaf with a key of its own that asks for this, and the intermediates above it, the next one first."""
    require_library()
    if tuple(map(str.lower, name.path)) != tuple(map(str.lower, authority.path)):
        raise Unsendable(
            f"The certificate speaks for the path {str(Name(authority.path))!r}, and cannot ask about {str(name)!r}. "
            "Nothing was sent; use the certificate of that path's tenant."
        )
    if name.label is not None and not name.label.strip("."):
        raise Unsendable(f"{str(name)!r}: over TLS this label means none. Nothing was sent.")
    now = datetime.datetime.now(datetime.timezone.utc)
    key = ed25519.Ed25519PrivateKey.generate()
    builder = (
        _builder(authority, name.label or NO_LABEL, key, now - datetime.timedelta(seconds=LEAF_BEFORE_S))
        .not_valid_after(now + datetime.timedelta(seconds=LEAF_AFTER_S))
        .add_extension(_usage("digital_signature", "key_encipherment"), critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=True)
        .add_extension(_extension(command), critical=False)
    )
    leaf = builder.sign(authority.key, _hash(authority.key))
    above = [one for one in authority.chain if one.issuer != one.subject]
    if len(above) + 1 > LONGEST_CHAIN:
        raise Unsendable(f"{len(above) + 1} certificates: albatross takes at most {LONGEST_CHAIN}. Nothing was sent.")
    return Credential(b"".join(_pem(one) for one in (leaf, *above)), _key_pem(key))


def tenant(authority: Authority, label: str, policy: Policy, days: int = 365) -> Credential:
    """A CA for the path ``label`` below that of the authority, with a policy that the endpoint installs at each of its
    requests. Its certificates are its own and those above it, the next one first."""
    require_library()
    if not LABEL.fullmatch(label):
        raise Unsendable(f"{label!r} is no label of albatross: nothing was issued.")
    now = datetime.datetime.now(datetime.timezone.utc)
    key = ed25519.Ed25519PrivateKey.generate()
    certificate = (
        _builder(authority, label, key, now - datetime.timedelta(seconds=LEAF_BEFORE_S))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(_usage("key_cert_sign", "crl_sign", "digital_signature", "content_commitment"), critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_extension(AddPolicy(policy)), critical=False)
        .sign(authority.key, _hash(authority.key))
    )
    return Credential(b"".join(_pem(one) for one in (certificate, *authority.chain)), _key_pem(key))


def _builder(authority: Authority, common_name: str, key: Any, since: datetime.datetime) -> Any:
    issuer = authority.chain[0]
    try:
        identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        above = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    except x509.ExtensionNotFound:
        above = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(above, critical=False)
    )


def _extension(command: Command) -> Any:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(EXTENSION), wire.encode_extension(command))


def _usage(*wanted: str) -> Any:
    possible = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    others = ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{use: use in wanted for use in (*possible, *others)})


def _hash(key: Any) -> Any:
    if isinstance(key, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)):
        return None
    if isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
        return hashes.SHA256()
    raise InvalidDeclaration(f"A {type(key).__name__} cannot sign requests to albatross; Ed25519, EC and RSA can.")


def _pem(certificate: Any) -> bytes:
    return bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _key_pem(key: Any) -> bytes:
    return bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
