# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The opam file format, parsed: opam files and switch exports.

Follows the lexer and grammar of opam-file-format 2.x. Bounded in size and depth, so that a hostile file ends in
OpamSyntaxError and not in a full memory or stack.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Optional, Union

MAX_CHARACTERS = 16 * 1024 * 1024
MAX_DEPTH = 90
"""Real files stay below 20. Low enough that whatever walks a parsed file stays within Python's stack."""
MAX_OPTIONS = 2
"""Pairs of braces behind one value; real files have one."""


class OpamSyntaxError(ValueError):
    """Not an opam file; the message names the line."""


# --- what a file consists of ------------------------------------------------------------------


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


def parse(text: str) -> File:
    """The file that the text is, or OpamSyntaxError."""
    if len(text) > MAX_CHARACTERS:
        raise OpamSyntaxError(f"longer than {MAX_CHARACTERS} characters: not read")
    return _Parser(_tokens(text)).file()


def parse_value(text: str) -> Value:
    """A single value, or OpamSyntaxError."""
    if len(text) > MAX_CHARACTERS:
        raise OpamSyntaxError(f"longer than {MAX_CHARACTERS} characters: not read")
    return _Parser(_tokens(text)).only_value()


# --- tokens -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Token:
    kind: str
    """``string``, ``identifier``, ``integer``, ``boolean``, ``relation``, ``update``, ``end``, or the sign itself."""
    text: str
    line: int


_ID = r"[A-Za-z0-9_-]*[A-Za-z][A-Za-z0-9_-]*"
_IDENTIFIER = re.compile(rf"(?:{_ID}|_)(?:\+(?:{_ID}|_))*(?::{_ID})?", re.ASCII)
_INTEGER = re.compile(r"-?[0-9_]+", re.ASCII)
_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)+")
_OPERATOR = re.compile(r"=\+=|\+=|:=|=\+|=:|!=|<=|>=|[=<>~:{}\[\]()&|!?]")
_PLAIN = re.compile(r'[^"\\\r]+')
_COMMENT_SIGN = re.compile(r"\(\*|\*\)")
_ESCAPES = {"\\": "\\", '"': '"', "'": "'", "n": "\n", "r": "\r", "t": "\t", "b": "\b", " ": " "}
_ESCAPED_CODE = re.compile(r"[0-9]{3}|x[0-9A-Fa-f]{2}", re.ASCII)
_LINE_JOIN = re.compile(r"\r?\n[ \t]*")
_RELATIONS = ("=", "!=", ">=", ">", "<=", "<", "~")
_UPDATES = ("+=", "=+", "=+=", ":=", "=:")
_MAX_DIGITS = 20


def _tokens(text: str) -> Iterator[_Token]:
    at, line = 0, 1
    while True:
        if blank := _BLANK.match(text, at):
            line += text.count("\n", at, blank.end())
            at = blank.end()
        if at >= len(text):
            break
        start = at
        if text.startswith("(*", at):
            at = _comment_end(text, at, line)
        elif text.startswith('"', at):
            content, at = _string(text, at, line)
            yield _Token("string", content, line)
        else:
            token = _word(text, at, line) or _operator(text, at, line)
            at += len(token.text)
            yield token
        line += text.count("\n", start, at)
    yield _Token("end", "", line)


def _word(text: str, at: int, line: int) -> Optional[_Token]:
    """The longest of an identifier and an integer, as the lexer of opam decides."""
    identifier, integer = _IDENTIFIER.match(text, at), _INTEGER.match(text, at)
    if identifier and (not integer or identifier.end() >= integer.end()):
        word = identifier.group()
        return _Token("boolean" if word in ("true", "false") else "identifier", word, line)
    if integer and any(c.isdigit() for c in integer.group()):
        if len(integer.group()) > _MAX_DIGITS:
            raise OpamSyntaxError(f"line {line}: a number that is too long")
        return _Token("integer", integer.group(), line)
    return None


def _operator(text: str, at: int, line: int) -> _Token:
    found = _OPERATOR.match(text, at)
    if not found:
        raise OpamSyntaxError(f"line {line}: {text[at]!r} has no place here")
    sign = found.group()
    kind = "relation" if sign in _RELATIONS else "update" if sign in _UPDATES else sign
    return _Token(kind, sign, line)


def _comment_end(text: str, at: int, line: int) -> int:
    depth = 0
    for sign in _COMMENT_SIGN.finditer(text, at):
        depth += 1 if sign.group() == "(*" else -1
        if depth == 0:
            return sign.end()
    raise OpamSyntaxError(f"line {line}: a comment that never ends")


def _string(text: str, at: int, line: int) -> tuple[str, int]:
    quote = '"""' if text.startswith('"""', at) else '"'
    at += len(quote)
    parts = []
    while True:
        if plain := _PLAIN.match(text, at):
            parts.append(plain.group())
            at = plain.end()
        if at >= len(text):
            raise OpamSyntaxError(f"line {line}: a string that never ends")
        if text.startswith(quote, at):
            return "".join(parts), at + len(quote)
        if text[at] == "\\":
            content, at = _escape(text, at + 1, line)
            parts.append(content)
        else:
            # A line that ends with CR LF counts as one that ends with LF; any other CR or quote is itself.
            parts.append("" if text.startswith("\r\n", at) else text[at])
            at += 1


def _escape(text: str, at: int, line: int) -> tuple[str, int]:
    if join := _LINE_JOIN.match(text, at):
        return "", join.end()
    if at < len(text) and text[at] in _ESCAPES:
        return _ESCAPES[text[at]], at + 1
    if code := _ESCAPED_CODE.match(text, at):
        digits = code.group()
        value = int(digits[1:], 16) if digits[0] == "x" else int(digits)
        if value <= 255:
            return chr(value), code.end()
    raise OpamSyntaxError(f"line {line}: an escape sequence that does not exist")


# --- grammar ----------------------------------------------------------------------------------

_CLOSING = {"[": "]", "(": ")", "{": "}"}


class _Parser:
    """Recursive descent with one token of look-ahead."""

    def __init__(self, tokens: Iterator[_Token]) -> None:
        self._rest = tokens
        self._next = next(tokens)
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

    def _take(self) -> _Token:
        token = self._next
        if token.kind != "end":
            self._next = next(self._rest)
        return token

    def _expect(self, kind: str) -> _Token:
        token = self._take()
        if token.kind != kind:
            found = token.text[:40] or "the end"
            raise OpamSyntaxError(f"line {token.line}: {kind!r} is needed, not {found!r}")
        return token

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise OpamSyntaxError(f"line {self._next.line}: nested too deeply")


# --- switch exports ---------------------------------------------------------------------------


@dataclass(frozen=True)
class SwitchExport:
    """What ``opam switch export`` wrote: which versions are installed, and how each package is defined."""

    installed: dict[str, str]
    """Version by name."""
    roots: tuple[str, ...]
    """Names of the packages that were asked for."""
    definitions: dict[str, tuple[Item, ...]]
    """The opam file of each package, by name."""


def parse_switch_export(text: str) -> SwitchExport:
    """The export that the text is, or OpamSyntaxError."""
    file = parse(text)
    installed = _packages(file.variable("installed"), "installed")
    roots = _packages(file.variable("roots"), "roots")
    definitions = {}
    for section in file.sections("package"):
        if section.name is None:
            raise OpamSyntaxError("a package section without a name")
        definitions[section.name] = section.items
    return SwitchExport(dict(installed), tuple(name for name, _unused in roots), definitions)


def strings(value: Optional[Value]) -> tuple[str, ...]:
    """The texts of a list of strings; a lone string counts as a list of one."""
    items: Sequence[Value] = () if value is None else value.items if isinstance(value, List) else (value,)
    return tuple(item.text for item in items if isinstance(item, String))


def _packages(value: Optional[Value], where: str) -> tuple[tuple[str, str], ...]:
    packages = []
    for text in strings(value):
        # Names of opam packages hold no dot; versions do.
        name, dot, version = text.partition(".")
        if not name or not dot or not version:
            raise OpamSyntaxError(f"{text[:80]!r} in {where!r} is no package with a version")
        packages.append((name, version))
    return tuple(packages)
