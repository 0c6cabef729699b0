# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a port is, as the kernel's files say it, and as ``ip`` does where those show another network namespace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime import network
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.ip_command import IpError
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.network import PortStanding

UP, DOWN = "0x1003", "0x1002"


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its folder below ``/sys/class/net``, on a bridge, in a namespace in which these files can be believed."""
    folder, bridge = tmp_path / "port", tmp_path / "br0"
    (folder / "brport").mkdir(parents=True)
    bridge.mkdir()
    (folder / "ifindex").write_text("7\n", encoding="ascii")
    (folder / "master").symlink_to("../br0")
    (folder / "brport" / "state").write_text("3\n", encoding="ascii")
    (bridge / "flags").write_text(f"{UP}\n", encoding="ascii")
    monkeypatch.setattr(network.socket, "if_nametoindex", lambda name: 7)
    monkeypatch.setattr(network, "Path", lambda *parts: folder)
    return folder


def test_one_on_its_bridge_forwards(port: Path) -> None:
    assert network.standing("port") == PortStanding(True, "br0", forwarding=True)


def test_a_bridge_that_is_down_forwards_nothing(port: Path) -> None:
    (port / "brport" / "state").write_text("0\n", encoding="ascii")
    assert network.standing("port") == PortStanding(True, "br0"), "the guest has not brought its side up"
    (port / "master" / "flags").write_text(f"{DOWN}\n", encoding="ascii")
    assert network.standing("port") == PortStanding(True, "br0", bridge_down=True)


def test_one_on_no_bridge_is_below_none_that_is_down(port: Path) -> None:
    (port / "master").unlink()
    assert network.standing("port") == PortStanding(True)


@pytest.mark.parametrize(
    ("state", "flags", "expected"),
    [
        ("forwarding", ["UP"], PortStanding(True, "br0", forwarding=True)),
        ("disabled", ["UP", "BROADCAST"], PortStanding(True, "br0")),
        ("disabled", ["BROADCAST"], PortStanding(True, "br0", bridge_down=True)),
        ("disabled", None, PortStanding(True, "br0")),
    ],
)
def test_ip_is_asked_where_the_files_are_of_another_namespace(
    port: Path, monkeypatch: pytest.MonkeyPatch, state: str, flags: Any, expected: PortStanding
) -> None:
    (port / "ifindex").write_text("8\n", encoding="ascii")

    def ask(*words: str) -> list[dict[str, Any]]:
        if words[-1] == "port":
            return [{"master": "br0", "linkinfo": {"info_slave_data": {"state": state}}}]
        if flags is None:
            raise IpError("it went just now")
        return [{"flags": flags}]

    monkeypatch.setattr(network, "ask", ask)
    assert network.standing("port") == expected
