# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""JMESPath expressions over an answer. The library is loaded only where one is used: nodes may do without it."""

from __future__ import annotations

from typing import Any

from ..errors import InvalidDeclaration, MissingLibrary


def checked_expression(expression: str) -> str:
    """The expression if it is JMESPath. InvalidDeclaration, MissingLibrary."""
    jmespath = _library()
    try:
        jmespath.compile(expression)
    except (jmespath.exceptions.JMESPathError, RecursionError) as error:
        raise InvalidDeclaration(f"json: {expression!r} is no JMESPath expression: {error}.") from None
    return expression


def evaluated(expression: str, document: Any) -> tuple[Any, bool]:
    """The value of the expression, and whether JMESPath takes it as true (0 is). ValueError, MissingLibrary."""
    jmespath = _library()
    try:
        value = jmespath.search(expression, document)
    except (jmespath.exceptions.JMESPathError, TypeError, RecursionError) as error:
        raise ValueError(str(error)) from None
    # JMESPath's own rule: what is empty, null or false is false; numbers, 0 among them, are true.
    return value, not (value is None or value is False or value == "" or value == [] or value == {})


def _library() -> Any:
    try:
        import jmespath
        import jmespath.exceptions
    except ImportError:
        raise MissingLibrary("jmespath", "checks with a JSON expression") from None
    return jmespath
