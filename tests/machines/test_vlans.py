# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Declared bridges with VLANs, carried out by the library itself on a kernel that has them: in a virtual machine, since
the kernel of the machine that tests may have none."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.unikernel.fleet.tests.support.nspawn.base import why_not
from ansible_collections.unikernel.fleet.tests.support.nspawn.machine import COLLECTION
from ansible_collections.unikernel.fleet.tests.support.virtual_machine import guest
from ansible_collections.unikernel.fleet.tests.support.virtual_machine.python_guest import run_in_guest

REASON = why_not()
pytestmark = [
    pytest.mark.systemd,
    pytest.mark.skipif(REASON is not None, reason=f"VLANs, on the root file system of the nodes: {REASON}"),
]
MODULES = ("llc", "stp", "garp", "mrp", "8021q", "bridge", "veth")


def test_a_vlan_of_an_interface_is_a_port_of_its_declared_bridge_and_carries_its_frames(tmp_path: Path) -> None:
    reason = guest.why_not()
    if reason is not None:
        pytest.skip(reason)
    seen = run_in_guest(COLLECTION / "tests" / "support" / "vlans_in_guest.py", MODULES, tmp_path)
    assert "failed" not in seen, seen["failed"]
    assert seen["made"] == ["br20: made", "br30: made"]
    for number in (20, 30):
        port = seen["shown"][f"eth1.{number}"]
        assert port["kind"] == "vlan" and port["vlan"] == ["802.1Q", number] and port["on"] == "eth1"
        assert port["master"] == f"br{number}" and port["port_of"] == "bridge" and port["up"]
        assert port["state"] == "forwarding"
        assert port["alias"] == seen["shown"][f"br{number}"]["alias"] == "unikernel.fleet:node"
    assert seen["shown"]["br30"]["mtu"] == 1400
    assert seen["reached"] == {"192.0.2.1": True, "198.51.100.1": True}
    assert seen["again"] == [], "a second run changes nothing"
    assert seen["unplugged"] == ["br20: given its ports"]
    assert (seen["reached_unplugged"], seen["reached_mended"]) == (False, True)
    assert "Bridge br40 could not be made" in seen["refused"]
    assert seen["after_refusal"] == ["br20", "br30", "eth1.20", "eth1.30"]
    assert seen["moved"] == ["eth1.20: removed"]
    assert seen["left"] == []
