# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A node whose unikernels the double of albatross runs: folders, journal, store, driver and programs are all real."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.client import Client
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import (
    NetworkUse,
    UnikernelConfig,
    UnikernelInfo,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.model import Verdict
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.albatross import AlbatrossDriver
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.albatross_labels import labels_of
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.albatross_place import Place, Places
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.images.store import ImageStore
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import Configuration, Image, Network, Release
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.node import Node, local_node
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.proposal import Declaration, Wanted
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import Holder
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import (
    Change,
    TrialOptions,
    locked,
)
from ansible_collections.unikernel.fleet.tests.support.albatross.double import Albatross
from ansible_collections.unikernel.fleet.tests.support.albatross.images import image
from ansible_collections.unikernel.fleet.tests.support.albatross_certificates import Files

ME = Holder(who="the test")
NAME = "web"
BRIDGE = "br-alb"
NETWORKS = (Network("service", BRIDGE),)

LIVES = "#!/bin/sh\necho version {version} is up\nexec sleep 300\n"
ENDS = "#!/bin/sh\necho version {version} has no configuration\nexit 2\n"
RESTARTS = "#!/bin/sh\necho version {version} is up\nsleep 0.3\nexit 3\n"


def program(version: int, text: str = LIVES) -> bytes:
    return image(text.format(version=version))


def over_sockets(albatross: Albatross, path: str = "") -> Place:
    return Place(path=path, sockets=str(albatross.folder))


def over_tls(albatross: Albatross, path: str = "", who: Optional[Files] = None) -> Place:
    asking = who or albatross.root
    return Place(
        path=path,
        address="127.0.0.1",
        port=albatross.tls_port or 0,
        certificates=str(asking.certificates),
        key=str(asking.key),
        server_ca=str(albatross.root.certificates),
    )


WAYS = {"sockets": over_sockets, "tls": over_tls}


class AlbatrossNode:
    """What a module has on such a node. Its trials have no guard: the tests say what one would."""

    def __init__(self, root: Path, place: Place) -> None:
        self.layout = NodeLayout(root)
        self.store = ImageStore(self.layout)
        self.place = place

    def node(self, reached: Callable[[str], None] = lambda step: None) -> Node:
        made = local_node(self.layout, {NAME: self.place})
        return Node(self.layout, self.store, made.open_driver, made.clock, reached, made.places)

    @property
    def driver(self) -> AlbatrossDriver:
        return AlbatrossDriver(self.layout, self.store, Places(self.layout, {NAME: self.place}))

    @property
    def full(self) -> Name:
        return self.place.name(NAME)

    def image(self, octets: bytes) -> Image:
        return self.store.add_stream([octets])

    def release(self, number: int, octets: Optional[bytes] = None, **configuration: Any) -> Release:
        configuration.setdefault("networks", NETWORKS)
        return Release(
            number, self.image(octets or program(number)), Configuration(driver="albatross", **configuration)
        )

    def declare(
        self,
        octets: Optional[bytes] = None,
        wanted: str = "running",
        trial_s: float = 60.0,
        reached: Callable[[str], None] = lambda step: None,
        options: Optional[TrialOptions] = None,
        **configuration: Any,
    ) -> Change:
        given = {"driver": "albatross", "networks": [{"name": "service", "bridge": BRIDGE}], **configuration}
        declaration = Declaration(
            wanted=Wanted(wanted), image=None if octets is None else self.image(octets), configuration=given
        )
        with locked(self.node(reached), NAME, ME) as transaction:
            return transaction.declare(declaration, options or TrialOptions(timeout_s=trial_s), arm=None)

    def create_by_hand(self, octets: bytes, label: str = NAME, **arguments: Any) -> None:
        """What somebody does with albatross-client."""
        config = UnikernelConfig(networks=(NetworkUse("service", BRIDGE),), image=octets)
        self.place.client().force_create(self.place.name(label), replace(config, **arguments))

    def end_trial(self, change: Change, verdict: Verdict) -> None:
        """As the guard and the controller do."""
        assert change.trial is not None
        with locked(self.node(), NAME, ME) as transaction:
            transaction.judge(change.trial, verdict)
            if transaction.state.trial is not None:
                transaction.confirm(change.trial)

    def info(self) -> Optional[UnikernelInfo]:
        """What runs, under either of its labels; AssertionError when two do."""
        client = self.place.client()
        asked = [client.unikernel(self.place.name(label)) for label in labels_of(NAME)]
        found = [info for info in asked if info is not None]
        assert len(found) < 2, "it runs twice"
        return found[0] if found else None

    def runs(self) -> Optional[str]:
        """The SHA-256 of what runs; None when nothing does."""
        info = self.info()
        return None if info is None else info.digest.hex()

    def written(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.layout.instance(NAME, number) / "created.json").read_bytes())
        return found


def readable_once_created(node: AlbatrossNode, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The key, which becomes readable for others in the middle of a change: once something was created."""
    key = Path(str(node.place.key))
    create = Client.create

    def created(*arguments: Any) -> str:
        said = create(*arguments)
        key.chmod(0o644)
        return said

    monkeypatch.setattr(Client, "create", created)
    return key
