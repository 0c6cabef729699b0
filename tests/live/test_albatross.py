# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The scenarios of the client against a real albatross.

``ALBATROSS_SOCKETS`` names the folder of its sockets, ``ALBATROSS_TLS`` its endpoint: ``address:port,SERVER_CA,CA,KEY``
(files in PEM: the server's CA, ours with those above it, and its key), ``ALBATROSS_GENERATION`` its generation (2.7).
``SOLO5_IMAGES`` is the folder of the images ``v1`` and ``v2``, for ``ALBATROSS_TARGET`` (``hvt``, or ``spt``). The
unikernels are on ``ALBATROSS_BRIDGE``, or on the first bridge that the root's policy names, are called
``fleet-test-...``, and are destroyed in the end. No other unikernel is touched.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.authority import read_authority
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.client import Client
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import Generation
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.tls import Tls
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.unix_sockets import UnixSockets
from ansible_collections.unikernel.fleet.tests.support.albatross_scenarios import SCENARIOS, Place

SOCKETS, TLS = os.environ.get("ALBATROSS_SOCKETS"), os.environ.get("ALBATROSS_TLS")
IMAGES, TARGET = os.environ.get("SOLO5_IMAGES"), os.environ.get("ALBATROSS_TARGET", "hvt")
GENERATION = Generation(os.environ.get("ALBATROSS_GENERATION", "2.7"))
NO_IMAGES = pytest.mark.skipif(not IMAGES, reason="Solo5 images: SOLO5_IMAGES is not set")


def place_of(client: Client, path: tuple[str, ...] = ()) -> Place:
    policies = [entry.policy for entry in client.policies(Name(path)) if entry.name.path == path]
    bridge = os.environ.get("ALBATROSS_BRIDGE") or policies[0].bridges[0]
    first, second = ((Path(str(IMAGES)) / f"{variant}.{TARGET}").read_bytes() for variant in ("v1", "v2"))
    return Place(client, bridge, first, second, path)


@NO_IMAGES
@pytest.mark.skipif(not SOCKETS, reason="ALBATROSS_SOCKETS does not name the folder of a real albatross' sockets")
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_real_albatross_on_its_sockets(scenario: Callable[[Place], None]) -> None:
    scenario(place_of(Client(UnixSockets(Path(str(SOCKETS))), GENERATION)))


@NO_IMAGES
@pytest.mark.skipif(not TLS, reason="ALBATROSS_TLS does not name a real albatross' endpoint")
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_real_albatross_over_tls(scenario: Callable[[Place], None]) -> None:
    endpoint, server_ca, certificates, key = str(TLS).split(",")
    address, _colon, port = endpoint.rpartition(":")
    transport = Tls(address.strip("[]"), Path(server_ca), Path(certificates), Path(key), int(port))
    path = read_authority(transport.certificates, transport.key).path
    scenario(place_of(Client(transport, GENERATION), path))
