# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A node on which programs are rehearsed on real networks: inside a :func:`network_lab`, as root."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.declaration import checks_from
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.model import Schedule
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.codec import encode
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import REHEARSAL
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import Network
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.node import Node
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.proposal import Declaration, Wanted
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import TrialOptions
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.interface_names import label_of
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.ports import (
    namespace_of,
    quarantine_namespace_of,
)
from ansible_collections.unikernel.fleet.tests.support.network_lab import (
    BRIDGE,
    GUEST_V4,
    GUEST_V6,
    Lab,
    links,
    namespaces,
)
from ansible_collections.unikernel.fleet.tests.support.web_program import web_program

GATEWAY = "192.0.2.254"
"""Of the guest's network, and not the node: nobody else has it in the lab."""
SERVICE = Network("service", BRIDGE, addresses=(f"{GUEST_V4}/24", f"{GUEST_V6}/64"), gateway=GATEWAY)
QUICK = Schedule(deadline_s=3.0, stable_for_s=0.05, consecutive=2, delays_s=(0.02,), interval_s=0.02)


def declared(node: Node, version: str, behaviour: str = "well", **configuration: Any) -> Declaration:
    """A program with a port of its own that answers HTTP with its version, as ``behaviour`` says."""
    image = node.store.add_stream([web_program(version, behaviour).encode("utf-8")])
    given = {"networks": [encode(SERVICE)], "stop_grace_s": 1.0, **configuration}
    return Declaration(wanted=Wanted.RUNNING, image=image, configuration=given)


def rehearsing(timeout_s: float = 0.0, deadline_s: float = QUICK.deadline_s, **rest: Any) -> TrialOptions:
    """It must answer ``/health`` over both protocols, and its process must live."""
    checks = checks_from(
        [
            {"process": {}},
            {"http": f"http://{GUEST_V4}/health", "timeout": 0.5},
            {"http": f"http://[{GUEST_V6}]/health", "timeout": 0.5},
        ],
        None,
    )
    return TrialOptions(timeout_s, checks, replace(QUICK, deadline_s=deadline_s), rehearse=True, **rest)


def traces(lab: Lab, node: Node, name: str) -> list[str]:
    """What a rehearsal made and did not remove."""
    root = str(node.layout.root)
    beginning = label_of(root, name, REHEARSAL)
    found = [link for link, data in links().items() if str(data.get("ifalias", "")).startswith(beginning)]
    ours = {namespace_of(root, name, REHEARSAL), quarantine_namespace_of(root, name, REHEARSAL)}
    folder = node.layout.rehearsal(name)
    return [*found, *sorted(ours & namespaces()), *([str(folder)] if folder.exists() else [])]
