# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The driver's cut-over on a real albatross: ``ALBATROSS_SOCKETS``, ``ALBATROSS_TLS`` (in the name of the root's CA),
``SOLO5_IMAGES``, ``ALBATROSS_TARGET`` and ``ALBATROSS_BRIDGE`` as for ``test_albatross``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.client import Client
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import ROOT
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.albatross import AlbatrossDriver
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.albatross_labels import labels_of
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.albatross_place import Place, Places
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import DriverError
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.images.store import ImageStore
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import (
    Configuration,
    Network,
    Release,
    SwapMethod,
)

SOCKETS, TLS = os.environ.get("ALBATROSS_SOCKETS"), os.environ.get("ALBATROSS_TLS")
IMAGES = os.environ.get("SOLO5_IMAGES")
TARGET = os.environ.get("ALBATROSS_TARGET", "hvt")
NAME = f"fleet-test-{os.getpid()}-cut"
FIRST, SECOND = labels_of(NAME)

pytestmark = pytest.mark.skipif(not IMAGES, reason="Solo5 images: SOLO5_IMAGES is not set")


def over_tls(told: str) -> Place:
    endpoint, server_ca, certificates, key = told.split(",")
    address, _colon, port = endpoint.rpartition(":")
    return Place(address=address.strip("[]"), port=int(port), server_ca=server_ca, certificates=certificates, key=key)


class Node:
    def __init__(self, root: Path, place: Place) -> None:
        self.place = place
        self.layout = NodeLayout(root)
        self.store = ImageStore(self.layout)
        self.driver = AlbatrossDriver(self.layout, self.store, Places(self.layout, {NAME: self.place}))
        policies = [entry.policy for entry in self.place.client().policies(ROOT) if entry.name == ROOT]
        self.bridge = os.environ.get("ALBATROSS_BRIDGE") or policies[0].bridges[0]

    def release(self, number: int, image: str, ready: str = "ready", within_s: float = 10.0) -> Release:
        configuration = Configuration(
            driver="albatross",
            networks=(Network("service", self.bridge),),
            arguments=("--ipv4=192.0.2.78/24",),
            swap=SwapMethod.CUT_OVER,
            ready={"console": ready, "within": within_s},
        )
        return Release(number, self.store.add_file(Path(str(IMAGES)) / f"{image}.{TARGET}"), configuration)

    def running(self) -> dict[str, str]:
        client = self.place.client()
        asked = {label: client.unikernel(self.place.name(label)) for label in (FIRST, SECOND)}
        return {label: info.digest.hex() for label, info in asked.items() if info is not None}


@pytest.fixture(params=["sockets", "tls"])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    told = SOCKETS if request.param == "sockets" else TLS
    if not told:
        pytest.skip(f"a real albatross: ALBATROSS_{request.param.upper()} is not set")
    made = Node(tmp_path, Place(sockets=told) if request.param == "sockets" else over_tls(told))
    try:
        yield made
    finally:
        for label in (FIRST, SECOND):
            made.place.client().destroy(made.place.name(label))


def test_it_comes_up_under_the_other_label_and_the_old_one_goes(node: Node) -> None:
    releases = [node.release(number, f"v{2 - number % 2}") for number in (1, 2, 3)]
    labels = []
    for old, new in zip([None, *releases], releases):
        node.driver.validate(NAME, new)
        instance = node.driver.swap(NAME, old, new)
        assert instance is not None and instance.works and instance.release == new.number
        (label,) = node.running()
        assert node.running()[label] == new.image.sha256
        labels.append(label)
    assert labels == [FIRST, SECOND, FIRST]


def test_what_does_not_come_up_leaves_the_old_one_as_it_was(node: Node) -> None:
    first = node.release(1, "v1")
    before = node.driver.swap(NAME, None, first)
    with pytest.raises(DriverError, match="did not come up beside what runs, which was left running"):
        node.driver.swap(NAME, first, node.release(2, "v2", ready="is never said", within_s=1.0))
    assert node.running() == {FIRST: first.image.sha256}
    after = node.driver.swap(NAME, node.release(2, "v2"), first)
    assert before is not None and after is not None and after.identity == before.identity


@pytest.mark.parametrize("direction", ["on", "back"])
def test_a_death_between_creation_and_destroy_ends_with_one(
    node: Node, monkeypatch: pytest.MonkeyPatch, direction: str
) -> None:
    class Death(Exception):
        """Of who works on it."""

    def dies(*_arguments: Any) -> bool:
        raise Death

    first, second = node.release(1, "v1"), node.release(2, "v2")
    node.driver.swap(NAME, None, first)
    with monkeypatch.context() as patched:
        patched.setattr(Client, "destroy", dies)
        with pytest.raises(Death):
            node.driver.swap(NAME, first, second)
    assert len(node.running()) == 2
    old, new, label = (first, second, SECOND) if direction == "on" else (second, first, FIRST)
    node.driver.swap(NAME, old, new)
    assert node.running() == {label: new.image.sha256}
    assert [one.release for one in node.driver.inspect([NAME])[NAME] if one.alive] == [new.number]
