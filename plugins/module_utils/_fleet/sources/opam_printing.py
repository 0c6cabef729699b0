# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""opam files as text in one canonical form, so that a diff of two shows what differs and not how it was typed.

The order of fields and the layout are those of opam's own printer, which builder-web's diffs are made with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Union

from .opam import (
    Boolean,
    Group,
    Identifier,
    Integer,
    Item,
    List,
    Logical,
    Option,
    Prefixed,
    Section,
    String,
    Value,
    Variable,
)

WIDTH = 78
"""Characters of a line, as OCaml's Format has it by default."""

FIELD_ORDER = [
    "opam-version",
    "name",
    "version",
    "synopsis",
    "description",
    "maintainer",
    "authors",
    "author",
    "license",
    "tags",
    "homepage",
    "doc",
    "bug-reports",
    "depends",
    "depopts",
    "conflicts",
    "conflict-class",
    "available",
    "flags",
    "setenv",
    "build",
    "run-test",
    "install",
    "remove",
    "substs",
    "patches",
    "build-env",
    "features",
    "messages",
    "post-messages",
    "depexts",
    "libraries",
    "syntax",
    "dev-repo",
    "pin-depends",
    "extra-files",
    "configure-style",
    "ocaml-version",
    "os",
    "descr",
    "extra-sources",
    "build-test",
    "build-doc",
]
_RANK = {name: rank for rank, name in enumerate(FIELD_ORDER)}


def printed(items: Sequence[Item]) -> str:
    """The items of an opam file, ordered: fields, sections, then extensions (``x-...``) by name."""
    return "".join(f"{_item(item)}\n" for item in sorted(items, key=_rank) if not _is_empty(item))


def _rank(item: Item) -> tuple[int, str]:
    if isinstance(item, Section):
        return len(_RANK) + (0 if item.kind == "url" else 1), item.name or ""
    if item.name.startswith("x-"):
        return len(_RANK) + 2, item.name
    return _RANK.get(item.name, len(_RANK) - 1), item.name


def _is_empty(item: Item) -> bool:
    return isinstance(item, Variable) and item.value in (List(()), List((List(()),)))


# --- layout: boxes that are written on one line if they fit, else broken everywhere ------------


@dataclass(frozen=True)
class _Break:
    """A space (or nothing) that becomes a new line when its box is broken."""

    flat: str
    indent: int = 0


@dataclass(frozen=True)
class _Box:
    parts: tuple[Union[str, _Break, _Box], ...]
    always_broken: bool = False


def _flat(part: Union[str, _Break, _Box]) -> str:
    if isinstance(part, _Box):
        return "".join(map(_flat, part.parts))
    return part.flat if isinstance(part, _Break) else part


def _layout(box: _Box, column: int) -> str:
    """The box as text, beginning in a column, to which its broken lines come back."""
    flat = _flat(box)
    if not box.always_broken and "\n" not in flat and column + len(flat) <= WIDTH:
        return flat
    text, at = [], column
    for part in box.parts:
        if isinstance(part, _Break):
            at = column + part.indent
            text.append("\n" + " " * at)
            continue
        written = _layout(part, at) if isinstance(part, _Box) else part
        text.append(written)
        last_line = written.rpartition("\n")[2]
        at = len(last_line) if "\n" in written else at + len(written)
    return "".join(text)


def _spaced(parts: Sequence[Union[str, _Box]], always_broken: bool = False) -> _Box:
    spaced: list[Union[str, _Break, _Box]] = []
    for part in parts:
        if spaced:
            spaced.append(_Break(" "))
        spaced.append(part)
    return _Box(tuple(spaced), always_broken)


def _bracketed(items: Sequence[Value], always_broken: bool = False) -> _Box:
    inner = _spaced([_value(item) for item in items], always_broken)
    return _Box(("[", _Break("", 2), inner, _Break(""), "]"), always_broken)


def _item(item: Item) -> str:
    if isinstance(item, Section):
        title = f" {_string(item.name)}" if item.name is not None else ""
        body = printed(item.items)
        inside = "".join(f"  {line}\n" for line in body.splitlines())
        return f"{item.kind}{title} {{\n{inside}}}"
    prefix = f"{item.name}: "
    if isinstance(item.value, List):
        # opam breaks a list that holds lists or options in any case, and others where they do not fit.
        nested = any(isinstance(i, List) or (isinstance(i, Option) and i.options) for i in item.value.items)
        return _layout(_Box((prefix, *_bracketed(item.value.items, nested).parts), nested), 0)
    return prefix + _layout(_boxed(_value(item.value)), len(prefix))


def _boxed(part: Union[str, _Box]) -> _Box:
    return part if isinstance(part, _Box) else _Box((part,))


def _value(value: Value) -> Union[str, _Box]:
    if isinstance(value, String):
        return _string(value.text)
    if isinstance(value, Identifier):
        return value.name
    if isinstance(value, Integer):
        return str(value.value)
    if isinstance(value, Boolean):
        return "true" if value.value else "false"
    if isinstance(value, List):
        return _bracketed(value.items)
    if isinstance(value, Group):
        return _Box(("(", _spaced([_value(item) for item in value.items]), ")"))
    if isinstance(value, Option):
        options = _spaced([_value(option) for option in value.options])
        return _Box((_value(value.value), " {", options, "}"))
    if isinstance(value, Prefixed):
        space = "" if value.operator in "!?" else " "
        return _Box((f"{value.operator}{space}", _value(value.value)))
    if isinstance(value, Logical):
        return _logical(value)
    return _Box((_value(value.left), f" {value.operator} ", _value(value.right)))


def _logical(value: Logical) -> _Box:
    parts: list[Union[str, _Break, _Box]] = []
    for operand in value.operands:
        if parts:
            parts.extend((f" {value.operator}", _Break(" ")))
        parts.append(_value(operand))
    return _Box(tuple(parts))


def _string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "\\r")
    if "\n" not in text:
        return f'"{escaped}"'
    # The joined first line swallows blanks that follow it, so a text that begins with one does without.
    first = "" if text[0] in "\n\t " else "\\\n"
    return f'"""{first}{escaped}"""'
