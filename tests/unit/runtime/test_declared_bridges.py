# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is done about declared bridges: a pure plan. That iproute2 carries it out is tested on a booted node."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import InvalidDeclaration
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.declared_bridges import (
    OURS,
    DeclaredBridge,
    Link,
    Vlan,
    checked,
    plan,
)

SERVICE = DeclaredBridge("service", addresses=("192.0.2.1/24", "2001:db8::1/64"))
MADE = Link("service", "bridge", OURS, up=True, addresses=("192.0.2.1/24", "2001:db8::1/64"))


def links(*given: Link) -> dict[str, Link]:
    return {link.name: link for link in given}


def told(*declared: DeclaredBridge, there: tuple[Link, ...] = ()) -> list[str]:
    return [f"{step.bridge}: {step.what}" for step in plan(declared, links(*there))]


def test_a_missing_bridge_is_made_and_one_that_is_as_declared_is_not_touched() -> None:
    assert told(SERVICE) == ["service: made"]
    assert told(SERVICE, there=(MADE,)) == []


def test_a_bridge_that_somebody_else_made_is_left_alone_whatever_it_looks_like() -> None:
    assert told(SERVICE, there=(Link("service", "bridge", up=False),)) == []


def test_one_of_ours_is_corrected() -> None:
    assert told(SERVICE, there=(replace(MADE, up=False, addresses=("192.0.2.9/24",)),)) == [
        "service: given its addresses",
        "service: brought up",
    ]


def test_one_of_ours_that_is_not_declared_any_more_is_removed() -> None:
    assert told(there=(MADE, Link("br0", "bridge"))) == ["service: removed"]


def test_a_bridge_with_unikernels_in_it_is_not_removed() -> None:
    port = Link("ukt1", "tun", "unikernel.fleet/0/www/1/", master="service")
    with pytest.raises(InvalidDeclaration, match="unikernels are plugged into it"):
        told(there=(MADE, port))


def test_open_vswitch_is_refused_clearly() -> None:
    with pytest.raises(InvalidDeclaration, match="Open vSwitch, which is not supported"):
        told(SERVICE, there=(Link("service", "openvswitch"),))


def test_an_interface_that_is_no_bridge_is_not_made_one() -> None:
    with pytest.raises(InvalidDeclaration, match="no bridge"):
        told(SERVICE, there=(Link("service", "dummy"),))


def test_a_port_that_carries_the_machines_addresses_is_refused() -> None:
    bridge = DeclaredBridge("service", ports=("eth0",))
    with pytest.raises(InvalidDeclaration, match="the machine itself would lose its connection"):
        told(bridge, there=(Link("eth0", up=True, learned=("198.51.100.7/24",)),))
    assert told(bridge, there=(Link("eth0", up=True),)) == ["service: made"]


def test_the_network_of_another_interface_is_refused() -> None:
    with pytest.raises(InvalidDeclaration, match="is that of eth0"):
        told(SERVICE, there=(Link("eth0", up=True, addresses=("192.0.2.77/25",)),))


def test_a_vlan_is_made_on_the_interface_that_carries_it() -> None:
    bridge = DeclaredBridge("br20", vlans=(Vlan("eth1", 20),))
    (step,) = plan([bridge], links(Link("eth1")))
    assert ("link", "add", "link", "eth1", "name", "eth1.20", "type", "vlan", "id", "20") in step.commands
    assert ("link", "set", "dev", "eth1.20", "alias", OURS) in step.commands
    assert ("link", "set", "dev", "eth1.20", "master", "br20") in step.commands
    assert step.undone_by == (("link", "del", "dev", "eth1.20"), ("link", "del", "dev", "br20"))
    with pytest.raises(InvalidDeclaration, match="is not there"):
        plan([bridge], {})


@pytest.mark.parametrize(
    "bridge",
    [
        DeclaredBridge("a name"),
        DeclaredBridge("-x"),
        DeclaredBridge("sixteen-letters-"),
        DeclaredBridge("b", addresses=("192.0.2.1",)),
        DeclaredBridge("b", addresses=("300.0.2.1/24",)),
        DeclaredBridge("b", vlans=(Vlan("eth0", 0),)),
        DeclaredBridge("b", vlans=(Vlan("a-very-long-one", 4000),)),
        DeclaredBridge("b", mtu=100),
        DeclaredBridge("b", ports=("b",)),
    ],
)
def test_what_cannot_be_meant_is_refused(bridge: DeclaredBridge) -> None:
    with pytest.raises(InvalidDeclaration):
        checked([bridge])
