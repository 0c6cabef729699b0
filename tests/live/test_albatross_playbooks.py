# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The molecule scenario ``albatross``, which CI plays on the double, on a real albatross: deployment, update, broken
builds rolled back, another configuration, adoption, drift and a policy that forbids, each by playbook.

``ALBATROSS_SOCKETS``, ``ALBATROSS_TLS`` (with the root's CA), ``ALBATROSS_BRIDGE``, ``ALBATROSS_TARGET`` and
``SOLO5_IMAGES`` as in test_albatross.py; ``ALBATROSS_GENERATION`` is the server's (2.7). The unikernels get the last
three addresses of ``ALBATROSS_NETWORK`` (192.0.2.0/24), which this machine has to reach through the bridge. Rehearsals
are played where ``ALBATROSS_QUARANTINE`` names another bridge, with nothing on it. The unikernels are called
``fleet-test-...``; the policy of the path ``fleet-test`` is removed in the end. No other unikernel is touched.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.client import Client
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.errors import Refused
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import Generation
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.unix_sockets import UnixSockets

PROJECT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(sys.executable).parent
NEEDED = ("ALBATROSS_SOCKETS", "ALBATROSS_TLS", "SOLO5_IMAGES")
MISSING = [variable for variable in NEEDED if not os.environ.get(variable)]
LIMIT_S = 1_800.0


@pytest.mark.skipif(bool(MISSING), reason=f"playbooks on a real albatross: {', '.join(MISSING)} not set")
def test_the_scenario_by_playbook_on_a_real_albatross() -> None:
    environment = {**os.environ, "FLEET_ALBATROSS": "live", "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"}
    command = [str(PROGRAMS / "molecule"), "test", "--scenario-name", "albatross"]
    try:
        done = subprocess.run(
            command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    finally:
        left = made_away_with()
    assert done.returncode == 0, f"{done.stdout[-40_000:]}\n{done.stderr[-8_000:]}"
    assert left == []


def made_away_with() -> list[Name]:
    """What the scenario left on the server, which is no more there; its tenant's policy is not counted."""
    generation = Generation(os.environ.get("ALBATROSS_GENERATION", "2.7"))
    client = Client(UnixSockets(Path(os.environ["ALBATROSS_SOCKETS"])), generation)
    left = [one.name for one in client.unikernels() if (one.name.label or "").startswith("fleet-test-")]
    for name in left:
        client.destroy(name)
    # There is none when the scenario ended before its tenant had one.
    with suppress(Refused):
        client.remove_policy(Name(("fleet-test",)))
    return left
