# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Regular expressions against what a broken unikernel sent, within a time limit.

``re`` cannot be interrupted and keeps every thread of the process waiting, so one unlucky pattern against one
unlucky body would stop the guard for good. What may be costly is therefore matched in a child that can be killed.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence

from ..errors import InvalidDeclaration
from .deadline import Deadline, OutOfTime

_QUANTIFIER = re.compile(r"[*+?{]")
_CHEAP_CHARACTERS = 1500
"""One quantifier over so many characters takes at worst about their square in steps: milliseconds."""

_CHILD = """
import json, re, sys
patterns, text = json.load(sys.stdin)
json.dump([re.search(pattern, text, re.MULTILINE) is not None for pattern in patterns], sys.stdout)
"""


class CannotMatch(Exception):
    """The child that matches could not be run; nothing is known about the text."""


def checked_pattern(pattern: str, option: str) -> str:
    """The pattern if it is a regular expression, else InvalidDeclaration."""
    try:
        re.compile(pattern, re.MULTILINE)
    except (re.error, RecursionError, OverflowError) as error:
        raise InvalidDeclaration(f"{option}: {pattern!r} is no regular expression: {error}.") from None
    return pattern


def found(patterns: Sequence[str], text: str, deadline: Deadline) -> list[bool]:
    """Whether each pattern is found in the text ('^' and '$' match at every line). OutOfTime, CannotMatch."""
    if all(_is_cheap(pattern, text) for pattern in patterns):
        return [re.search(pattern, text, re.MULTILINE) is not None for pattern in patterns]
    if not sys.executable:
        raise CannotMatch("this Python does not know its own executable, which is needed to match patterns")
    try:
        child = subprocess.run(  # pylint: disable=ansible-bad-function # checks are made without Ansible too
            [sys.executable, "-I", "-S", "-c", _CHILD],
            input=json.dumps([list(patterns), text]).encode("ascii"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=deadline.left_s(),
            check=True,
        )
        answers = json.loads(child.stdout)
    except subprocess.TimeoutExpired:
        raise OutOfTime from None
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        raise CannotMatch(f"the program that matches patterns could not be run: {error}") from None
    return [answer is True for answer in answers]


def _is_cheap(pattern: str, text: str) -> bool:
    quantifiers = len(_QUANTIFIER.findall(pattern))
    return quantifiers == 0 or (quantifiers == 1 and len(text) <= _CHEAP_CHARACTERS)
