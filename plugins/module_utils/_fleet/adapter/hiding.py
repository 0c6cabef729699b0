# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must not be seen of a module's parameters, kept out of every log and result.

The list of checks as a whole cannot be ``no_log``: that would blank out every word of it in all output.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from .options import Option

_SECRET_KEYS = ("password", "authorization", "cookie", "token", "secret")


class HidesValues(Protocol):
    """As much of AnsibleModule as is needed to hide values."""

    params: dict[str, Any]
    no_log_values: set[str]


def hide_secrets_of_checks(module: HidesValues) -> None:
    """Register the passwords, credential headers and secret-looking values of all checks as values not to log."""
    module.no_log_values.update(secrets_within(module.params.get("checks") or []))


def secrets_of(parameters: Mapping[str, Any], options: Sequence[Option]) -> set[str]:
    """The values of secret options, as AnsibleModule knows them, and the credentials of checks."""
    return {*secrets_within(parameters.get("checks") or []), *_values_of_secret_options(parameters, options)}


def _values_of_secret_options(parameters: Mapping[str, Any], options: Sequence[Option]) -> Iterator[str]:
    for option in options:
        given = parameters.get(option.name)
        if option.secret:
            yield from secrets_within(given, secret=True)
        elif option.options:
            for item in given if isinstance(given, list) else [given]:
                if isinstance(item, Mapping):
                    yield from _values_of_secret_options(item, option.options)


def secrets_within(value: Any, secret: bool = False) -> Iterator[str]:
    """Every string and number below a key that names a credential."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from secrets_within(item, secret or any(word in str(key).lower() for word in _SECRET_KEYS))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from secrets_within(item, secret)
    elif secret and value not in (None, "") and not isinstance(value, bool):
        yield str(value)
