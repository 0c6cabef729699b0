# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import InvalidDeclaration
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import (
    Abi,
    BuildReference,
    Configuration,
    Image,
    Limits,
    Release,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.fingerprint import fingerprint
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.proposal import (
    Declaration,
    Wanted,
    merged,
    propose,
)
from ansible_collections.unikernel.fleet.tests.support.values import values_of

ONE, TWO = Image("1" * 64, 10), Image("2" * 64, 20)
CURRENT = Release(
    4,
    ONE,
    Configuration(memory_mib=32, arguments=("--a",), limits=Limits(open_files=5)),
    build=BuildReference(job="www", id="b1"),
    abi=Abi("spt", 1),
)


def proposed(**declaration: Any) -> Release:
    candidate = propose(CURRENT, Declaration(**declaration), 5).candidate
    assert candidate is not None
    return candidate


def test_an_empty_declaration_means_what_runs() -> None:
    assert proposed() == replace(CURRENT, number=5)


def test_another_image_takes_the_configuration_over_and_nothing_that_is_of_the_old_image() -> None:
    candidate = proposed(image=TWO)
    assert candidate.configuration == CURRENT.configuration
    assert (candidate.build, candidate.abi) == (BuildReference(), None)


def test_a_given_option_replaces_and_an_empty_one_empties() -> None:
    candidate = proposed(configuration={"arguments": [], "limits": {"processes": 7}})
    assert candidate.configuration == Configuration(memory_mib=32, limits=Limits(processes=7))


def test_absent_is_no_release() -> None:
    assert propose(CURRENT, Declaration(wanted=Wanted.ABSENT), 5).candidate is None


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"colour": "red"}, "no option colour"),
        ({"cpus": [-1]}, "cpus holds -1"),
        ({"memory_mib": "32"}, "memory_mib: int is needed"),
        ({"stop_grace_s": 601.0}, "stop_grace_s is 601"),
        ({"stop_grace_s": float("nan")}, "finite"),
        ({"arguments": ["a\0b"]}, "NUL"),
        ({"secret_environment": {"": "hunter2"}}, "environment variable"),
    ],
    ids=str,
)
def test_what_makes_no_configuration_is_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidDeclaration, match=why) as refused:
        merged(None, given)
    assert "hunter" not in str(refused.value)


@given(values_of(Configuration))
def test_equal_configurations_have_equal_fingerprints_and_each_salt_its_own(configuration: Configuration) -> None:
    release = Release(1, ONE, configuration)
    assert fingerprint("5a", release) == fingerprint("5a", replace(release, number=2, build=BuildReference("x")))
    assert fingerprint("5a", release) != fingerprint("5b", release)
    assert fingerprint("5a", release) != fingerprint("5a", replace(release, running=False))
    assert fingerprint("5a", release) != fingerprint("5a", None)
