# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A node whose unikernels the double of albatross runs on real bridges: inside a :func:`network_lab`, as root."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.declaration import checks_from
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.codec import encode
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.albatross_rehearsal_label import (
    rehearsal_label,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import REHEARSAL
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import TrialOptions
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.interface_names import label_of
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.ports import quarantine_namespace_of
from ansible_collections.unikernel.fleet.tests.support.albatross.double import Albatross
from ansible_collections.unikernel.fleet.tests.support.albatross.images import image
from ansible_collections.unikernel.fleet.tests.support.albatross_node import NAME, AlbatrossNode, over_sockets
from ansible_collections.unikernel.fleet.tests.support.network_lab import BRIDGE, GUEST_V4, ip, links, namespaces
from ansible_collections.unikernel.fleet.tests.support.rehearsing import GATEWAY, QUICK, SERVICE
from ansible_collections.unikernel.fleet.tests.support.web_program import web_program

QUARANTINE = "br-quarantine"
NETWORK = replace(SERVICE, addresses=(f"{GUEST_V4}/24",))
ARGUMENTS = [f"--ipv4={GUEST_V4}/24", f"--ipv4-gateway={GATEWAY}"]
GIVEN: dict[str, Any] = {"networks": [encode(NETWORK)], "arguments": ARGUMENTS}


def web_image(version: str, behaviour: str = "well") -> bytes:
    return image(web_program(version, behaviour))


def rehearsing(timeout_s: float = 0.0, deadline_s: float = QUICK.deadline_s, **rest: Any) -> TrialOptions:
    """It must live and answer ``/health``."""
    checks = checks_from([{"process": {}}, {"http": f"http://{GUEST_V4}/health", "timeout": 0.5}], None)
    return TrialOptions(timeout_s, checks, replace(QUICK, deadline_s=deadline_s), rehearse=True, **rest)


@dataclass(frozen=True)
class Site:
    """An albatross and a node of its."""

    albatross: Albatross
    node: AlbatrossNode

    def traces(self) -> list[str]:
        """What a rehearsal made and did not remove."""
        root = str(self.node.layout.root)
        beginning = label_of(root, NAME, REHEARSAL)
        found = [link for link, data in links().items() if str(data.get("ifalias", "")).startswith(beginning)]
        found += sorted({quarantine_namespace_of(root, NAME, REHEARSAL)} & namespaces())
        folder = self.node.layout.rehearsal(NAME)
        found += [str(folder)] if folder.exists() else []
        running = self.node.place.client().unikernel(self.node.place.name(rehearsal_label(NAME)))
        return found + ([rehearsal_label(NAME)] if running is not None else [])


def make_quarantine(name: str = QUARANTINE) -> None:
    """As docs say: a bridge, and nothing on it."""
    ip("link", "add", name, "type", "bridge")


@contextmanager
def site(folder: Path, **double: Any) -> Iterator[Site]:
    """In the network namespace of this thread, which has the bridge to serve on."""
    make_quarantine()
    with Albatross(folder / "albatross", bridges=(BRIDGE, QUARANTINE), **double) as albatross:
        place = replace(over_sockets(albatross), quarantine_bridge=QUARANTINE)
        yield Site(albatross, AlbatrossNode(folder / "node", place))
