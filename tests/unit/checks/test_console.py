# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The check ``console``."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.model import CheckSpec, Outcome
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.protocol import Sighting, Surroundings
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.registry import CHECKS
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import InvalidDeclaration

CONSOLE = CHECKS["console"]
PRINTED = ("booting", "listening on port 80", "ready")


def seen(printed: tuple[str, ...] = PRINTED, timeout_s: float = 5.0, **options: Any) -> Sighting:
    validated = json.loads(json.dumps(CONSOLE.validated(options, None)))
    surroundings = Surroundings(console=lambda lines: printed[-lines:])
    return CONSOLE.bind(CheckSpec("console", "c", options=validated), surroundings).attempt(timeout_s)


@pytest.mark.parametrize(
    ("options", "outcome"),
    [
        ({"must_match": "^ready$"}, Outcome.PASS),
        ({"must_match": ["booting", r"port \d+"], "must_not_match": "panic"}, Outcome.PASS),
        ({"must_match": ["booting", "serving"]}, Outcome.FAIL),
        ({"must_not_match": ["panic", "listening"]}, Outcome.FAIL),
        ({"must_match": "booting", "lines": 2}, Outcome.FAIL),
        ({"must_not_match": "booting", "lines": 2}, Outcome.PASS),
    ],
)
def test_the_last_lines_are_held_against_patterns(options: dict[str, Any], outcome: Outcome) -> None:
    assert seen(**options).outcome is outcome


def test_what_must_not_be_printed_and_is_printed_cannot_be_unprinted() -> None:
    assert seen(must_not_match="listening").final
    assert not seen(must_match="serving").final


def test_an_empty_console_is_no_crash() -> None:
    assert seen((), must_match="ready").outcome is Outcome.FAIL
    assert seen((), must_not_match="panic").outcome is Outcome.PASS


def test_a_pattern_that_never_ends_is_inconclusive() -> None:
    assert seen(("a" * 100 + "b",), must_match="(a+)+$", timeout_s=0.15).outcome is Outcome.INCONCLUSIVE


def test_from_the_controller_it_is_inconclusive() -> None:
    validated = CONSOLE.validated({"must_match": "x"}, None)
    check = CONSOLE.bind(CheckSpec("console", "c", options=validated), Surroundings())
    assert check.attempt(5).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    "options", [{}, {"must_match": []}, {"must_match": "("}, {"must_match": "x", "lines": 0}, {"must": "x"}]
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidDeclaration):
        CONSOLE.validated(options, None)
