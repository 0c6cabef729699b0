# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A double for each test that wants one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.client import Client
from ansible_collections.unikernel.fleet.tests.support.albatross.double import Albatross
from ansible_collections.unikernel.fleet.tests.support.albatross_asking import client_of


@pytest.fixture
def double(tmp_path: Path) -> Iterator[Albatross]:
    with Albatross(tmp_path / "s", bridges=("br0", "br1"), tls_port=0) as albatross:
        yield albatross


@pytest.fixture
def client(double: Albatross) -> Client:
    return client_of(double)
