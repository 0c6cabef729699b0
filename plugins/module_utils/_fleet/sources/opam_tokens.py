# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The words of an opam file, by the lexer of opam-file-format 2.x."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional

from .opam import OpamSyntaxError


@dataclass(frozen=True)
class Token:
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


def tokens(text: str) -> Iterator[Token]:
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
            yield Token("string", content, line)
        else:
            token = _word(text, at, line) or _operator(text, at, line)
            at += len(token.text)
            yield token
        line += text.count("\n", start, at)
    yield Token("end", "", line)


def _word(text: str, at: int, line: int) -> Optional[Token]:
    """The longest of an identifier and an integer, as the lexer of opam decides."""
    identifier, integer = _IDENTIFIER.match(text, at), _INTEGER.match(text, at)
    if identifier and (not integer or identifier.end() >= integer.end()):
        word = identifier.group()
        return Token("boolean" if word in ("true", "false") else "identifier", word, line)
    if integer and any(c.isdigit() for c in integer.group()):
        if len(integer.group()) > _MAX_DIGITS:
            raise OpamSyntaxError(f"line {line}: a number that is too long")
        return Token("integer", integer.group(), line)
    return None


def _operator(text: str, at: int, line: int) -> Token:
    found = _OPERATOR.match(text, at)
    if not found:
        raise OpamSyntaxError(f"line {line}: {text[at]!r} has no place here")
    sign = found.group()
    kind = "relation" if sign in _RELATIONS else "update" if sign in _UPDATES else sign
    return Token(kind, sign, line)


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
