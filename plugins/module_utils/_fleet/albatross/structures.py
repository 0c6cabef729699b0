# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kinds of values that are made of others: envelopes, lists, records as frozen dataclasses, choices."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar, Union

from ..errors import InvalidDeclaration
from .der import Element, Kind, element, elements
from .errors import Malformed, Unsendable

T = TypeVar("T")
U = TypeVar("U")

SEQUENCE, SET = 0x30, 0x31
LONGEST_LIST = 16_384


class Explicit(Kind[T]):
    """Another kind in an envelope of its own: ``[number] EXPLICIT``."""

    def __init__(self, number: int, inner: Kind[T]) -> None:
        self.inner = inner
        self.identifier = 0xA0 | number
        self.identifiers = frozenset({self.identifier})

    def write(self, value: T) -> bytes:
        return element(self.identifier, self.inner.write(value))

    def read(self, identifier: int, content: bytes) -> T:
        return self.inner.decode(content)


class ListOf(Kind[tuple[T, ...]]):
    """SEQUENCE OF."""

    identifier = SEQUENCE

    def __init__(self, item: Kind[T], fewest: int = 0, most: int = LONGEST_LIST) -> None:
        self.item = item
        self.fewest, self.most = fewest, most
        self.identifiers = frozenset({self.identifier})

    def write(self, value: tuple[T, ...]) -> bytes:
        if not self.fewest <= len(value) <= self.most:
            raise Unsendable(f"a list of {len(value)}; {self.fewest} to {self.most} are sent")
        return element(self.identifier, b"".join(self._ordered([self.item.write(item) for item in value])))

    def read(self, identifier: int, content: bytes) -> tuple[T, ...]:
        found = []
        for position, (inner, octets) in enumerate(self._elements(content)):
            try:
                found.append(self.item.taken(inner, octets))
            except Malformed as error:
                raise error.within(f"[{position}]") from None
        if len(found) < self.fewest:
            raise Malformed(f"a list of {len(found)}, where at least {self.fewest} belong")
        return tuple(found)

    def _elements(self, content: bytes) -> list[Element]:
        return elements(content, self.most)

    def _ordered(self, items: list[bytes]) -> list[bytes]:
        return items


class SetOf(ListOf[T]):
    """SET OF: sorted and without repetitions, as DER wants it sent; what was received is put into the same order."""

    identifier = SET

    def _elements(self, content: bytes) -> list[Element]:
        # The order of the octets, with their lengths, which come before the content.
        return sorted(set(super()._elements(content)), key=lambda found: (found[0], len(found[1]), found[1]))

    def _ordered(self, items: list[bytes]) -> list[bytes]:
        return sorted(set(items))


class As(Kind[U]):
    """Another kind, seen as values of our own. ``inward`` may raise ValueError or InvalidDeclaration."""

    def __init__(self, inner: Kind[T], inward: Callable[[T], U], outward: Callable[[U], T]) -> None:
        self.inner: Kind[Any] = inner
        self.inward, self.outward = inward, outward
        self.identifiers = inner.identifiers

    def write(self, value: U) -> bytes:
        return self.inner.write(self.outward(value))

    def read(self, identifier: int, content: bytes) -> U:
        found = self.inner.read(identifier, content)
        try:
            return self.inward(found)
        except (ValueError, InvalidDeclaration) as error:
            raise Malformed(str(error)) from None


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of a record, named as in its dataclass."""

    name: str
    kind: Kind[Any]
    optional: bool = False
    """Absent when the value is None or empty; read as the dataclass' default."""


class Record(Kind[T]):
    """SEQUENCE, as a frozen dataclass. ``unsaid``: fields of it that this older form has no words for; they must have
    their defaults."""

    def __init__(self, cls: type[T], *parts: Field, unsaid: tuple[str, ...] = (), identifier: int = SEQUENCE) -> None:
        self.cls = cls
        self.parts = parts
        self.identifier = identifier
        self.identifiers = frozenset({identifier})
        named = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        self.unsaid = {name: named[name].default for name in unsaid}

    def write(self, value: T) -> bytes:
        for name, default in self.unsaid.items():
            told = getattr(value, name)
            if told != default:
                raise Unsendable(f"{name}: {told!r:.200} cannot be said to a server of this generation")
        octets = []
        for part in self.parts:
            item = getattr(value, part.name)
            if part.optional and (item is None or item == ()):
                continue
            try:
                octets.append(part.kind.write(item))
            except Unsendable as error:
                raise Unsendable(f"{part.name}: {error}") from None
        return element(self.identifier, b"".join(octets))

    def read(self, identifier: int, content: bytes) -> T:
        values: dict[str, Any] = {}
        found = elements(content, len(self.parts))
        position = 0
        for part in self.parts:
            if position < len(found) and found[position][0] in part.kind.identifiers:
                try:
                    values[part.name] = part.kind.read(*found[position])
                except Malformed as error:
                    raise error.within(part.name) from None
                position += 1
            elif not part.optional:
                missing = position == len(found)
                raise Malformed(f"{part.name} is {'missing' if missing else 'not what belongs there'}")
        if position < len(found):
            raise Malformed(f"the tag {found[position][0]:#04x} does not belong here")
        return self.cls(**values)


@dataclasses.dataclass(frozen=True)
class Case:
    """An alternative of a choice, in its numbered envelope."""

    number: int
    kind: Kind[Any]
    is_of: Union[type, tuple[type, ...], Callable[[Any], bool]]
    """The classes of its values, or a function that knows them."""

    def holds(self, value: Any) -> bool:
        if isinstance(self.is_of, (type, tuple)):
            return isinstance(value, self.is_of)
        return self.is_of(value)


class Choice(Kind[Any]):
    """CHOICE. The first case that holds a value writes it; the tag says which one reads it."""

    def __init__(self, *cases: Case) -> None:
        self.cases = cases
        self.by_identifier = {0xA0 | case.number: case.kind for case in cases}
        self.identifiers = frozenset(self.by_identifier)

    def write(self, value: Any) -> bytes:
        for case in self.cases:
            if case.holds(value):
                return element(0xA0 | case.number, case.kind.write(value))
        raise Unsendable(f"{type(value).__name__} is nothing that can stand here")

    def read(self, identifier: int, content: bytes) -> Any:
        return self.by_identifier[identifier].decode(content)
