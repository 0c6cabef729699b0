# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One machine for all tests: it boots once, and is prepared anew only once its role was taken away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ansible_collections.unikernel.fleet.tests.support.nspawn.base import why_not
from ansible_collections.unikernel.fleet.tests.support.nspawn.bed import create
from ansible_collections.unikernel.fleet.tests.support.nspawn.machine import Machine


@pytest.fixture(scope="session")
def untouched() -> Iterator[Machine]:
    reason = why_not()
    if reason is not None:
        pytest.skip(f"no machine with systemd can be booted here: {reason}")
    with create(1) as bed:
        yield Machine(bed)


@pytest.fixture
def machine(untouched: Machine) -> Machine:
    untouched.prepare()
    return untouched
