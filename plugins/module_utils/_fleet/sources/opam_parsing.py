# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""opam files, parsed by the grammar of opam-file-format 2.x.

Bounded in size and depth, so that a hostile file ends in OpamSyntaxError and not in a full memory or stack.
"""

from __future__ import annotations

from collections.abc import Iterator

from .opam import (
    Binary,
    Boolean,
    File,
    Group,
    Identifier,
    Integer,
    Item,
    List,
    Logical,
    OpamSyntaxError,
    Option,
    Prefixed,
    Section,
    String,
    Value,
    Variable,
)
from .opam_tokens import Token, tokens

MAX_CHARACTERS = 16 * 1024 * 1024
MAX_DEPTH = 90
"""Real files stay below 20. Low enough that whatever walks a parsed file stays within Python's stack."""
MAX_OPTIONS = 2
"""Pairs of braces behind one value; real files have one."""

_CLOSING = {"[": "]", "(": ")", "{": "}"}


def parse(text: str) -> File:
    """The file that the text is, or OpamSyntaxError."""
    return _Parser(_bounded(text)).file()


def parse_value(text: str) -> Value:
    """A single value, or OpamSyntaxError."""
    return _Parser(_bounded(text)).only_value()


def _bounded(text: str) -> Iterator[Token]:
    if len(text) > MAX_CHARACTERS:
        raise OpamSyntaxError(f"longer than {MAX_CHARACTERS} characters: not read")
    return tokens(text)


class _Parser:
    """Recursive descent with one token of look-ahead."""

    def __init__(self, words: Iterator[Token]) -> None:
        self._rest = words
        self._next = next(words)
        self._depth = 0

    def file(self) -> File:
        items = self._items("end")
        return File(items)

    def only_value(self) -> Value:
        value = self._value()
        self._expect("end")
        return value

    def _items(self, end: str) -> tuple[Item, ...]:
        items: list[Item] = []
        while self._next.kind != end:
            items.append(self._item())
        return tuple(items)

    def _item(self) -> Item:
        name = self._expect("identifier").text
        if self._next.kind == ":":
            self._take()
            return Variable(name, self._value())
        title = self._take().text if self._next.kind == "string" else None
        self._expect("{")
        self._deeper()
        items = self._items("}")
        self._depth -= 1
        self._expect("}")
        return Section(name, title, items)

    def _values(self, opening: str) -> tuple[Value, ...]:
        self._expect(opening)
        self._deeper()
        values = []
        while self._next.kind != _CLOSING[opening]:
            values.append(self._value())
        self._depth -= 1
        self._expect(_CLOSING[opening])
        return tuple(values)

    def _value(self, operators: tuple[str, ...] = ("|", "&")) -> Value:
        """A chain of the first operator, whose operands are chains of the next one, which binds tighter."""
        self._deeper()
        tighter = operators[1:]
        operands = [self._value(tighter) if tighter else self._operand()]
        while self._next.kind == operators[0]:
            self._take()
            operands.append(self._value(tighter) if tighter else self._operand())
        self._depth -= 1
        return operands[0] if len(operands) == 1 else Logical(operators[0], tuple(operands))

    def _operand(self) -> Value:
        kind = self._next.kind
        value: Value
        if kind in ("!", "?"):
            operator = self._take().kind
            self._deeper()
            value = Prefixed(operator, self._operand())
            self._depth -= 1
            return value
        if kind == "relation":
            value = Prefixed(self._take().text, self._atom())
        elif kind == "[":
            value = List(self._values("["))
        elif kind == "(":
            value = Group(self._values("("))
        else:
            value = self._atom()
            if self._next.kind in ("relation", "update"):
                value = Binary(self._take().text, value, self._atom())
        levels = 0
        while self._next.kind == "{":
            levels += 1
            if levels > MAX_OPTIONS:
                raise OpamSyntaxError(f"line {self._next.line}: nested too deeply")
            value = Option(value, self._values("{"))
        return value

    def _atom(self) -> Value:
        token = self._take()
        if token.kind == "string":
            return String(token.text)
        if token.kind == "identifier":
            return Identifier(token.text)
        if token.kind == "boolean":
            return Boolean(token.text == "true")
        if token.kind == "integer":
            return Integer(int(token.text.replace("_", "")))
        raise OpamSyntaxError(f"line {token.line}: a value is needed, not {token.text or 'the end'!r}")

    def _take(self) -> Token:
        token = self._next
        if token.kind != "end":
            self._next = next(self._rest)
        return token

    def _expect(self, kind: str) -> Token:
        token = self._take()
        if token.kind != kind:
            found = token.text[:40] or "the end"
            raise OpamSyntaxError(f"line {token.line}: {kind!r} is needed, not {found!r}")
        return token

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise OpamSyntaxError(f"line {self._next.line}: nested too deeply")
