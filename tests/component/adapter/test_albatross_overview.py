# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A report on many unikernels of one albatross: what runs is asked once, also of one that does not answer."""

from __future__ import annotations

import dataclasses
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.unikernel_info import inform
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross import client as client_module
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.messages import ListUnikernels
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.albatross_place import Place
from ansible_collections.unikernel.fleet.tests.support.albatross.double import Albatross
from ansible_collections.unikernel.fleet.tests.support.albatross_asking import config
from ansible_collections.unikernel.fleet.tests.support.albatross_node import over_sockets, over_tls

NAMES = ("one", "two", "three")


@pytest.fixture
def albatross(tmp_path: Path) -> Iterator[Albatross]:
    with Albatross(tmp_path / "albatross", bridges=("br0",), tls_port=0) as double:
        yield double


@pytest.fixture
def listings(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every question for what runs."""
    asked: list[Any] = []
    opened = client_module.Client._open

    def noted(self: Any, name: Any, command: Any, upload: Any = None) -> Any:
        if isinstance(command, ListUnikernels):
            asked.append(name)
        return opened(self, name, command, upload)

    monkeypatch.setattr(client_module.Client, "_open", noted)
    return asked


def told(root: Path, place: Place) -> dict[str, Any]:
    given = {key: value for key, value in dataclasses.asdict(place).items() if value is not None}
    given["timeout"] = given.pop("timeout_s")
    given["generation"] = place.generation.value
    parameters = {"root": str(root), "names": NAMES, "history": 0, "console": 0}
    found: dict[str, Any] = inform({**parameters, "albatross": dict.fromkeys(NAMES, given)})["unikernels"]
    return found


@pytest.mark.parametrize("asked", [over_sockets, over_tls])
def test_one_question_is_enough(asked: Any, albatross: Albatross, listings: list[Any], tmp_path: Path) -> None:
    place = asked(albatross)
    client = place.client()
    for name in ("one", "three"):
        client.create(place.name(name), config())
    listings.clear()
    found = told(tmp_path / "node", place)
    assert len(listings) == 1
    assert {name: bool(entry["adoptable"]) for name, entry in found.items()} == {
        "one": True,
        "two": False,
        "three": True,
    }


def test_one_that_never_answers_is_waited_for_once(listings: list[Any], tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:
        silent.bind(str(tmp_path / "vmmd.sock"))
        silent.listen(8)
        began = time.monotonic()
        found = told(tmp_path / "node", Place(sockets=str(tmp_path), timeout_s=0.5))
    assert len(listings) == 1
    assert time.monotonic() - began < 1.4
    assert all(not entry["known"] and entry["error"] for entry in found.values())
