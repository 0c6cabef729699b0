# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading what a user wrote as the options of a check: strictly, but with the strings that templates leave behind."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Optional

from ..errors import InvalidDeclaration
from .matching import checked_pattern

MAX_TEXT = 65536
_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
_HOST = re.compile(r"[^\s/?#@\[\]\x00-\x1f\x7f]{1,255}")


class Options:
    """Takes options out of a mapping one by one; what is left at the end is unknown. None means: not given."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        if not isinstance(given, Mapping):
            raise InvalidDeclaration(f"its options have to be a mapping, not {shape(given)}.")
        self._left = {str(key): value for key, value in given.items() if value is not None}
        self._known: list[str] = []

    def taken(self, name: str) -> Any:
        """The value as it was written, or None."""
        self._known.append(name)
        return self._left.pop(name, None)

    def done(self) -> None:
        if self._left:
            unknown = ", ".join(sorted(map(repr, self._left)))
            raise InvalidDeclaration(f"it has no option {unknown}; there are {', '.join(sorted(self._known))}.")

    def text(self, name: str) -> Optional[str]:
        value = self.taken(name)
        if value is None:
            return None
        if isinstance(value, (bool, list, tuple, Mapping)):
            raise InvalidDeclaration(f"{name}: text is needed, not {shape(value)}.")
        text = str(value)
        if len(text) > MAX_TEXT:
            raise InvalidDeclaration(f"{name}: at most {MAX_TEXT} characters, not {len(text)}.")
        # A plain string, whatever subclass of it a template engine handed over: it is going to be persisted.
        return "".join(text)

    def required_text(self, name: str) -> str:
        text = self.text(name)
        if not text:
            raise InvalidDeclaration(f"{name} is missing.")
        return text

    def flag(self, name: str, default: bool) -> bool:
        return as_flag(name, self.taken(name), default)

    def integer(self, name: str, default: int, lowest: int, highest: int) -> int:
        value = self.taken(name)
        return default if value is None else as_integer(name, value, lowest, highest)

    def seconds(self, name: str, highest: float = 3600.0) -> Optional[float]:
        value = self.taken(name)
        return None if value is None else as_number(name, value, highest)

    def number(self, name: str, highest: float) -> Optional[float]:
        value = self.taken(name)
        return None if value is None else as_number(name, value, highest)

    def pattern(self, name: str) -> Optional[str]:
        text = self.text(name)
        return None if text is None else checked_pattern(text, name)

    def patterns(self, name: str) -> tuple[str, ...]:
        return tuple(checked_pattern(text, name) for text in self.texts(name) or ())

    def texts(self, name: str) -> Optional[tuple[str, ...]]:
        """A list of texts; a single one stands for a list of one."""
        value = self.taken(name)
        if value is None:
            return None
        items = value if isinstance(value, (list, tuple)) else [value]
        if not all(isinstance(item, (str, int, float)) and not isinstance(item, bool) for item in items):
            raise InvalidDeclaration(f"{name}: a list of texts is needed.")
        return tuple("".join(str(item)) for item in items)

    def host(self, name: str, address: Optional[str]) -> str:
        """A name or an address, the default target unless one is given."""
        host = self.text(name)
        if host is None:
            if not address:
                raise InvalidDeclaration(f"{name} is missing, and the unikernel has no address to fall back on.")
            host = address
        return as_host(name, host)


def as_host(name: str, host: str) -> str:
    """A host without the brackets of an IPv6 address, else InvalidDeclaration."""
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not _HOST.fullmatch(bare):
        raise InvalidDeclaration(f"{name}: {host!r} is neither an address nor the name of a host.")
    return "".join(bare)


def as_flag(name: str, value: Any, default: bool) -> bool:
    if value is None:
        return default
    word = str(value).lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise InvalidDeclaration(f"{name}: true or false is needed, not {value!r}.")


def as_integer(name: str, value: Any, lowest: int, highest: int) -> int:
    try:
        number = int(str(value)) if isinstance(value, (int, str)) and not isinstance(value, bool) else None
    except ValueError:
        number = None
    if number is None or not lowest <= number <= highest:
        raise InvalidDeclaration(f"{name}: a whole number from {lowest} to {highest} is needed, not {value!r}.")
    return number


def as_number(name: str, value: Any, highest: float) -> float:
    """More than 0."""
    try:
        number = float(str(value)) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else 0.0
    except ValueError:
        number = 0.0
    if not math.isfinite(number) or not 0 < number <= highest:
        raise InvalidDeclaration(f"{name}: a number above 0 and up to {highest:g} is needed, not {value!r}.")
    return number


def as_json(name: str, value: Any) -> Any:
    """Plain JSON data, so that it can be persisted, else InvalidDeclaration."""
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError, RecursionError):
        raise InvalidDeclaration(f"{name}: plain data is needed (texts, numbers, lists, mappings).") from None


def shape(value: Any) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    return "nothing" if value is None else repr(value)
