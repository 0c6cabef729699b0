# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Frozen dataclasses to JSON and back, strictly: what does not fit is an error, never a guess.

Only the shapes that the model uses: dataclasses, enums of strings, ``Optional``, ``tuple[X, ...]``,
``dict[str, X]``, ``str``, ``int``, ``float``, ``bool`` and ``Any``.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import math
import typing
from typing import Any, TypeVar, Union

T = TypeVar("T")

REDACTED = "VALUE_HIDDEN"

_NOTHING = type(None)


class Mismatch(ValueError):
    """Data that does not have the shape of the type; the message says where."""


def encode(value: Any, redact: bool = False) -> Any:
    """JSON data of a value; with ``redact``, fields marked secret become a count of hidden values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        encoded = {}
        for f in dataclasses.fields(value):
            item = getattr(value, f.name)
            if redact and f.metadata.get("secret"):
                encoded[f.name] = hidden(item)
            else:
                encoded[f.name] = encode(item, redact)
        return encoded
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (list, tuple)):
        return [encode(item, redact) for item in value]
    if isinstance(value, dict):
        return {key: encode(item, redact) for key, item in value.items()}
    return value


def hidden(value: Any) -> Any:
    """The shape of a secret without its content: names of environment variables stay readable, values do not."""
    if isinstance(value, dict):
        return {key: REDACTED for key in value}
    if isinstance(value, (list, tuple)):
        return [REDACTED for _unused in value]
    return None if value is None else REDACTED


def decode(cls: type[T], data: Any) -> T:
    """A value of the type from JSON data; Mismatch names the place that does not fit."""
    return typing.cast(T, _decode(cls, data, cls.__name__))


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _decode(kind: Any, data: Any, where: str) -> Any:
    if kind is Any:
        return data
    origin = typing.get_origin(kind)
    if origin is Union:
        if data is None:
            return None
        (inner,) = (arm for arm in typing.get_args(kind) if arm is not _NOTHING)
        return _decode(inner, data, where)
    if origin is tuple:
        if not isinstance(data, (list, tuple)):
            raise Mismatch(f"{where}: a list is needed, not {_shape(data)}")
        item_kind = typing.get_args(kind)[0]
        return tuple(_decode(item_kind, item, f"{where}[{i}]") for i, item in enumerate(data))
    if origin is dict:
        if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
            raise Mismatch(f"{where}: a mapping is needed, not {_shape(data)}")
        item_kind = typing.get_args(kind)[1]
        return {key: _decode(item_kind, item, f"{where}.{key}") for key, item in data.items()}
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(typing.cast(type, kind), data, where)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        try:
            return kind(data)
        except ValueError:
            allowed = ", ".join(str(member.value) for member in kind)
            raise Mismatch(f"{where}: {data!r} is none of {allowed}") from None
    if kind is float and isinstance(data, (int, float)) and not isinstance(data, bool):
        return _decode_float(data, where)
    if not isinstance(data, kind) or (isinstance(data, bool) and kind is not bool):
        raise Mismatch(f"{where}: {kind.__name__} is needed, not {_shape(data)}")
    return data


def _decode_float(data: Union[int, float], where: str) -> float:
    """Python's JSON knows NaN and Infinity: a deadline of either would never be reached."""
    try:
        number = float(data)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Mismatch(f"{where}: a finite number is needed")
    return number


def _decode_dataclass(cls: type, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise Mismatch(f"{where}: a mapping is needed, not {_shape(data)}")
    hints = _hints(cls)
    known = {f.name: f for f in dataclasses.fields(cls)}
    surplus = sorted(set(data) - set(known), key=str)
    if surplus:
        raise Mismatch(f"{where}: unknown {', '.join(map(repr, surplus))}")
    values = {}
    for name, f in known.items():
        if name in data:
            values[name] = _decode(hints[name], data[name], f"{where}.{name}")
        elif f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise Mismatch(f"{where}: {name!r} is missing")
    return cls(**values)


def _shape(data: Any) -> str:
    return "nothing" if data is None else type(data).__name__
