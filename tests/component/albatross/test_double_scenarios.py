# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The scenarios of the client against the double, so that those of tests/live are known to work."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.client import Client
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import Generation
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.unix_sockets import UnixSockets
from ansible_collections.unikernel.fleet.tests.support.albatross.double import Albatross
from ansible_collections.unikernel.fleet.tests.support.albatross_recording import V1, V2
from ansible_collections.unikernel.fleet.tests.support.albatross_scenarios import SCENARIOS, Place


@pytest.fixture(scope="module", params=list(Generation), ids=lambda generation: generation.value)
def double(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Albatross]:
    folder = tmp_path_factory.mktemp("albatross")
    with Albatross(folder, bridges=("br0",), generation=request.param, tls_port=0) as albatross:
        yield albatross
        assert albatross.lives


@pytest.mark.parametrize("way", ["sockets", "tls"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_the_double(scenario: Callable[[Place], None], way: str, double: Albatross) -> None:
    transport = UnixSockets(double.folder) if way == "sockets" else double.transport()
    scenario(Place(Client(transport, double.generation), "br0", V1, V2))
