# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan refuses two unikernels with one MAC on one bridge."""

from __future__ import annotations

from typing import Any, Optional

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.plan import plan
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.plan_entries import Declared, PlanAction


def declared(name: str, bridge: str = "br0", mac: Optional[str] = None, node: str = "dom0") -> Declared:
    network: dict[str, Any] = {"name": "service", "bridge": bridge}
    if mac is not None:
        network["mac"] = mac
    return Declared(host=name, name=name, node=node, lookup_key="b", configuration={"networks": [network]})


BUILD = {"verdict": "found", "build": {"sha256": "0" * 64}, "comparison_state": "not_asked"}


def reasons(*wanted: Declared) -> list[tuple[PlanAction, str]]:
    made = plan(wanted, {"b": BUILD}, {"dom0": {}, "dom1": {}}, {})
    return [(entry.action, entry.reason) for entry in made.entries]


def test_derived_macs_are_apart() -> None:
    assert [action for action, _unused in reasons(declared("one"), declared("two"))] == [PlanAction.DEPLOY] * 2


def test_one_mac_twice_on_a_bridge_is_refused_for_both() -> None:
    mac = "00:80:41:00:00:01"
    found = reasons(declared("one", mac=mac), declared("two", mac=mac.upper()), declared("three"))
    assert [action for action, _unused in found] == [PlanAction.UNKNOWN, PlanAction.UNKNOWN, PlanAction.DEPLOY]
    assert f"the MAC {mac} is declared for one and two" in found[0][1]


def test_a_declared_mac_may_be_the_derived_one_of_another() -> None:
    found = reasons(declared("hello"), declared("two", mac="00:80:41:cd:8a:eb"))
    assert [action for action, _unused in found] == [PlanAction.UNKNOWN] * 2


def test_another_bridge_or_node_is_no_clash() -> None:
    mac = "00:80:41:00:00:01"
    found = reasons(declared("one", mac=mac), declared("two", "br1", mac), declared("three", mac=mac, node="dom1"))
    assert [action for action, _unused in found] == [PlanAction.DEPLOY] * 3
