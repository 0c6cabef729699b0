# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A CA in whose name albatross is asked, read from its files: of the root, or of a tenant below it.

Who holds its key has full power over its path, so a key that others can read is refused.
"""

from __future__ import annotations

import datetime
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from ..errors import InvalidDeclaration, MissingLibrary
from . import wire
from .errors import Malformed
from .messages import AddPolicy
from .names import LABEL

try:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.x509.oid import NameOID
except ImportError:
    HAS_CRYPTOGRAPHY = False
else:
    HAS_CRYPTOGRAPHY = True

EXTENSION = "1.3.6.1.4.1.49836.42"
"""Holds the request in a leaf, and the policy of a tenant in its CA."""
_MOST_BYTES = 1 << 18


def require_library() -> None:
    """MissingLibrary when certificates cannot be read or made on this machine."""
    if not HAS_CRYPTOGRAPHY:
        raise MissingLibrary("cryptography", "talking to albatross over TLS")


@dataclass(frozen=True)
class Authority:
    """A CA in whose name we ask."""

    key: Any = field(repr=False)
    """Its private key."""
    chain: tuple[Any, ...]
    """Its certificate, then those that issued it, upwards as far as they were given."""
    path: tuple[str, ...]
    """Of everything that it can speak about."""


def read_authority(certificates: Path, key: Path) -> Authority:
    """A CA from its files: one file of certificates in any order, its own among them, and its private key.
    InvalidDeclaration for what cannot work, or should not: a key that others can read."""
    require_library()
    private = _private_key(key)
    given = read_certificates(certificates)
    chain = _ordered(given, private.public_key(), certificates, key)
    now = datetime.datetime.now(datetime.timezone.utc)
    for one in chain:
        if _valid_until(one) <= now:
            raise InvalidDeclaration(
                f"{certificates}: the certificate of {_subject(one)!r} expired at "
                f"{_valid_until(one):%Y-%m-%d %H:%M} UTC. Nothing was sent; have it issued anew."
            )
    return Authority(private, chain, _path(chain, certificates))


def read_certificates(path: Path) -> tuple[Any, ...]:
    """All certificates of a PEM file."""
    octets = _content(path, secret=False)
    begin, end = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
    found = []
    for part in octets.split(begin)[1:]:
        try:
            found.append(x509.load_pem_x509_certificate(begin + part.partition(end)[0] + end + b"\n"))
        except ValueError as error:
            raise InvalidDeclaration(f"{path}: one of its certificates cannot be read ({error}).") from None
    if not found:
        raise InvalidDeclaration(f"{path} holds no certificate in PEM.")
    return tuple(found)


def _private_key(path: Path) -> Any:
    try:
        return serialization.load_pem_private_key(_content(path, secret=True), password=None)
    except TypeError:
        raise InvalidDeclaration(f"{path} is protected by a passphrase, which nobody could type here.") from None
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidDeclaration(f"{path} holds no private key in PEM that can be read.") from None


def _content(path: Path, secret: bool) -> bytes:
    """A file, whole and bounded. A secret one must be nobody else's: looked at where it is read, not before."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise InvalidDeclaration(f"{path} cannot be read: {error.strerror}.") from None
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _MOST_BYTES:
            raise InvalidDeclaration(f"{path} is no file of certificates or keys.")
        if secret and (found.st_mode & 0o077 or found.st_uid not in (0, os.geteuid())):
            raise InvalidDeclaration(
                f"{path} is a key that others can read or replace (mode {stat.S_IMODE(found.st_mode):04o}): who has "
                "it, has power over every unikernel below its path. Nothing was sent. Let its owner say "
                f"'chmod 600 {path}', and have the key issued anew if it may have been read."
            )
        return file.read(_MOST_BYTES)


def _ordered(given: tuple[Any, ...], public_key: Any, certificates: Path, key: Path) -> tuple[Any, ...]:
    """The certificate of that key, then its issuers upwards, to the root or as far as there are any."""
    wanted = _raw(public_key)
    own = [one for one in given if _raw(one.public_key()) == wanted]
    if not own:
        raise InvalidDeclaration(f"{certificates} holds no certificate of the key {key}.")
    chain = [own[0]]
    while chain[-1].issuer != chain[-1].subject:
        issuer = next((one for one in given if one.subject == chain[-1].issuer and one not in chain), None)
        if issuer is None:
            break
        chain.append(issuer)
    surplus = [_subject(one) for one in given if one not in chain]
    if surplus:
        raise InvalidDeclaration(
            f"{certificates}: {', '.join(map(repr, surplus))} issued none of the others. It should hold the "
            f"certificate of the key {key} and those above it, and nothing else."
        )
    for one in chain:
        if not _is_ca(one):
            raise InvalidDeclaration(f"{certificates}: {_subject(one)!r} is no CA, so it cannot issue requests.")
    return tuple(chain)


def _path(chain: tuple[Any, ...], certificates: Path) -> tuple[str, ...]:
    path = []
    for one in reversed(chain):
        octets = extension_of(one)
        if octets is None:
            continue
        try:
            command = wire.decode_extension(octets)
        except Malformed as error:
            raise InvalidDeclaration(f"{certificates}: albatross' extension of {_subject(one)!r}: {error}.") from None
        if not isinstance(command, AddPolicy) or not LABEL.fullmatch(_subject(one)):
            raise InvalidDeclaration(f"{certificates}: {_subject(one)!r} is not the certificate of a tenant.")
        path.append(_subject(one))
    return tuple(path)


def extension_of(certificate: Any) -> Optional[bytes]:
    """The value of albatross' extension; None where there is none."""
    try:
        found = certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier(EXTENSION))
    except x509.ExtensionNotFound:
        return None
    return bytes(found.value.value)


def _is_ca(certificate: Any) -> bool:
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except x509.ExtensionNotFound:
        return False


def _subject(certificate: Any) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def _valid_until(certificate: Any) -> datetime.datetime:
    # The attribute with a time zone exists since cryptography 42; Debian 12 has 38.
    aware: Optional[datetime.datetime] = getattr(certificate, "not_valid_after_utc", None)
    return aware or certificate.not_valid_after.replace(tzinfo=datetime.timezone.utc)


def der(certificate: Any) -> bytes:
    """The octets of a certificate."""
    return bytes(certificate.public_bytes(serialization.Encoding.DER))


def _raw(public_key: Any) -> bytes:
    return bytes(public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))
