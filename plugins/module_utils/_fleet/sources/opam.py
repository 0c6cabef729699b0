# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What opam files consist of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional, Union


class OpamSyntaxError(ValueError):
    """Not an opam file; the message names the line."""


@dataclass(frozen=True)
class String:
    text: str


@dataclass(frozen=True)
class Identifier:
    name: str


@dataclass(frozen=True)
class Integer:
    value: int


@dataclass(frozen=True)
class Boolean:
    value: bool


@dataclass(frozen=True)
class List:
    """``[ a b ]``"""

    items: tuple[Value, ...]


@dataclass(frozen=True)
class Group:
    """``( a b )``"""

    items: tuple[Value, ...]


@dataclass(frozen=True)
class Option:
    """``value { a b }``"""

    value: Value
    options: tuple[Value, ...]


@dataclass(frozen=True)
class Prefixed:
    """``! value``, ``? value``, or a comparison without left side as in ``{>= "1"}``."""

    operator: str
    value: Value


@dataclass(frozen=True)
class Logical:
    """``a & b & c`` or ``a | b | c``. A chain is flat, so its length adds no depth."""

    operator: str
    operands: tuple[Value, ...]


@dataclass(frozen=True)
class Binary:
    """A comparison (``a >= "1"``) or an update of the environment (``PATH += "x"``)."""

    operator: str
    left: Value
    right: Value


Value = Union[String, Identifier, Integer, Boolean, List, Group, Option, Prefixed, Logical, Binary]


@dataclass(frozen=True)
class Variable:
    """``name: value``"""

    name: str
    value: Value


@dataclass(frozen=True)
class Section:
    """``kind "name" { items }``"""

    kind: str
    name: Optional[str]
    items: tuple[Item, ...]


Item = Union[Variable, Section]


@dataclass(frozen=True)
class File:
    """Items in the order in which they are written."""

    items: tuple[Item, ...]

    def variable(self, name: str) -> Optional[Value]:
        """The first one of that name."""
        return next((item.value for item in self.items if isinstance(item, Variable) and item.name == name), None)

    def sections(self, kind: str) -> tuple[Section, ...]:
        return tuple(item for item in self.items if isinstance(item, Section) and item.kind == kind)


def strings(value: Optional[Value]) -> tuple[str, ...]:
    """The texts of a list of strings; a lone string counts as a list of one."""
    items: Sequence[Value] = () if value is None else value.items if isinstance(value, List) else (value,)
    return tuple(item.text for item in items if isinstance(item, String))
