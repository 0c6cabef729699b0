# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""DER as albatross speaks it: kinds of values that write themselves and read themselves, strictly and bounded.

The library asn1crypto reads and writes tags and lengths (its ``parser``); what is within is checked here. Its own
classes would write times without their trailing zeros, take other encodings than DER, pass over octets after a value
and over surplus fields, and find errors only when a field is looked at.

Every tag of the protocol is below 31, so an identifier is one octet.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from ..errors import MissingLibrary
from .errors import Malformed, Unsendable

try:
    from asn1crypto import parser
except ImportError:
    HAS_ASN1CRYPTO = False
else:
    HAS_ASN1CRYPTO = True

T = TypeVar("T")

BOOLEAN, INTEGER, OCTET_STRING, NULL, UTF8_STRING, GENERALIZED_TIME = 0x01, 0x02, 0x04, 0x05, 0x0C, 0x18

LOWEST, HIGHEST = -(2**62), 2**62 - 1
"""What an OCaml integer holds; a frame with more is dropped unanswered."""
LONGEST_TEXT = 65_536
"""Octets. The longest that the server writes itself are console lines of about 530."""

_FIRST_LOOK = 256
_TIME = re.compile(rb"\d{14}(?:\.\d{1,3})?(?:Z|[+-]\d{4})", re.ASCII)

Element = tuple[int, bytes]
"""An identifier octet, and the octets that it stands before."""


def require_library() -> None:
    """MissingLibrary when albatross cannot be spoken to from this machine."""
    if not HAS_ASN1CRYPTO:
        raise MissingLibrary("asn1crypto", "talking to albatross")


def element(identifier: int, content: bytes) -> bytes:
    """The octets of one value."""
    return bytes(parser.emit(identifier >> 6, identifier >> 5 & 1, identifier & 31, content))


def elements(octets: bytes, most: int) -> list[Element]:
    """The values that follow each other in some octets, to their very end, and no more than so many."""
    found: list[Element] = []
    position, end = 0, len(octets)
    while position < end:
        if len(found) == most:
            raise Malformed(f"more than {most} value{'s' * (most != 1)}")
        # The parser copies what it is given. A look that grows with the value keeps a long list of short values, or of
        # long ones, from being copied over and over.
        look = _FIRST_LOOK
        while True:
            try:
                kind, method, tag, header, content, trailer = parser.parse(octets[position : position + look])
                break
            except ValueError as error:
                if position + look >= end:
                    raise Malformed(f"cut, or not DER ({error})") from None
                look *= 16
        if trailer or tag > 30 or (header[1] > 0x7F and (header[2] == 0 or len(content) < 0x80)):
            raise Malformed("not DER: a length or tag that is not in its shortest form")
        position += len(header) + len(content)
        found.append((kind << 6 | method << 5 | tag, content))
    return found


def only(octets: bytes) -> Element:
    """The one value that some octets are."""
    found = elements(octets, 1)
    if not found:
        raise Malformed("nothing where a value belongs")
    return found[0]


class Kind(ABC, Generic[T]):
    """A kind of values: how one is written, and how it is read."""

    identifiers: frozenset[int]
    """First octets that one of its values may have."""

    @abstractmethod
    def write(self, value: T) -> bytes:
        """The whole element."""

    @abstractmethod
    def read(self, identifier: int, content: bytes) -> T:
        """The value of an element whose identifier is one of ours."""

    def decode(self, octets: bytes) -> T:
        """The value that some octets are; Malformed when they are not exactly one."""
        identifier, content = only(octets)
        return self.taken(identifier, content)

    def taken(self, identifier: int, content: bytes) -> T:
        if identifier not in self.identifiers:
            raise Malformed(f"the tag {identifier:#04x} does not belong here")
        return self.read(identifier, content)


class _Plain(Kind[T]):
    """Of one universal tag."""

    def __init__(self, identifier: int) -> None:
        self.identifier = identifier
        self.identifiers = frozenset({identifier})


class Null(_Plain[None]):
    def __init__(self) -> None:
        super().__init__(NULL)

    def write(self, value: None) -> bytes:
        return element(NULL, b"")

    def read(self, identifier: int, content: bytes) -> None:
        if content:
            raise Malformed("a NULL that holds something")


class Boolean(_Plain[bool]):
    """TRUE is written as 0xFF; any octet but 0 is read as TRUE."""

    def __init__(self) -> None:
        super().__init__(BOOLEAN)

    def write(self, value: bool) -> bytes:
        return element(BOOLEAN, b"\xff" if value else b"\0")

    def read(self, identifier: int, content: bytes) -> bool:
        if len(content) != 1:
            raise Malformed("a BOOLEAN that is not one octet")
        return content != b"\0"


class Integer(_Plain[int]):
    def __init__(self, lowest: int = LOWEST, highest: int = HIGHEST) -> None:
        super().__init__(INTEGER)
        self.lowest, self.highest = lowest, highest

    def write(self, value: int) -> bytes:
        if isinstance(value, bool) or not isinstance(value, int) or not self.lowest <= value <= self.highest:
            raise Unsendable(f"{value!r} is no integer from {self.lowest} to {self.highest}")
        magnitude = value if value >= 0 else ~value
        return element(INTEGER, value.to_bytes(magnitude.bit_length() // 8 + 1, "big", signed=True))

    def read(self, identifier: int, content: bytes) -> int:
        if not 1 <= len(content) <= 8:
            raise Malformed("an INTEGER of no octets or of more than 62 bits")
        value = int.from_bytes(content, "big", signed=True)
        if len(content) > 1 and content[0] in (0, 0xFF) and content[0] >> 7 == content[1] >> 7:
            raise Malformed("an INTEGER that is not in its shortest form")
        if not self.lowest <= value <= self.highest:
            raise Malformed(f"the INTEGER {value} is not from {self.lowest} to {self.highest}")
        return value


class Octets(_Plain[bytes]):
    """So many octets at least and at most; without bounds, what the frame has room for."""

    def __init__(self, fewest: int = 0, most: int = HIGHEST) -> None:
        super().__init__(OCTET_STRING)
        self.fewest, self.most = fewest, most

    def write(self, value: bytes) -> bytes:
        if not self.fewest <= len(value) <= self.most:
            raise Unsendable(f"{len(value)} octets where {self.fewest} to {self.most} belong")
        return element(OCTET_STRING, value)

    def read(self, identifier: int, content: bytes) -> bytes:
        if not self.fewest <= len(content) <= self.most:
            raise Malformed(f"{len(content)} octets where {self.fewest} to {self.most} belong")
        return content


class Text(_Plain[str]):
    """A UTF8String, which the server never checks: octets that are no UTF-8 are kept as surrogates."""

    def __init__(self, longest: int = LONGEST_TEXT) -> None:
        super().__init__(UTF8_STRING)
        self.longest = longest

    def write(self, value: str) -> bytes:
        try:
            content = value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise Unsendable("a text with a lone surrogate") from None
        if len(content) > self.longest:
            raise Unsendable(f"a text of {len(content)} octets; at most {self.longest} are sent")
        return element(UTF8_STRING, content)

    def read(self, identifier: int, content: bytes) -> str:
        if len(content) > self.longest:
            raise Malformed(f"a text of {len(content)} octets; at most {self.longest} are read")
        return content.decode("utf-8", "surrogateescape")


class Time(_Plain[str]):
    """A GeneralizedTime as its text: the server keeps trailing zeros, which DER forbids, in one of ten times."""

    def __init__(self) -> None:
        super().__init__(GENERALIZED_TIME)

    def write(self, value: str) -> bytes:
        content = value.encode("ascii", "replace")
        if not _TIME.fullmatch(content):
            raise Unsendable(f"{value[:40]!r} is no GeneralizedTime")
        return element(GENERALIZED_TIME, content)

    def read(self, identifier: int, content: bytes) -> str:
        if not _TIME.fullmatch(content):
            raise Malformed(f"{content[:40]!r} is no time")
        return content.decode("ascii")
