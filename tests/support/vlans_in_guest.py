# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs in a virtual machine whose kernel has VLANs: declared bridges with them, made, used, made again and removed.

The cable is a pair of interfaces; its far end is in a network namespace, the other machine.
"""

from __future__ import annotations

import socket
import subprocess
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from _fleet.errors import FleetError  # type: ignore[import-not-found]
from _fleet.runtime.declared_bridges import (  # type: ignore[import-not-found]
    DeclaredBridge,
    Vlan,
    bring_up,
    carry_out,
    encoded,
    links_of_machine,
    plan,
)
from _fleet.runtime.ip_command import ask, run_batch  # type: ignore[import-not-found]

DECLARED = (
    DeclaredBridge("br20", addresses=("192.0.2.1/24", "2001:db8:20::1/64"), vlans=(Vlan("eth1", 20),)),
    DeclaredBridge("br30", addresses=("198.51.100.1/24",), vlans=(Vlan("eth1", 30),), mtu=1400),
)
PORT = 7
FAR = {20: "192.0.2.2/24", 30: "198.51.100.2/24"}


def lay_cable() -> None:
    run_batch(
        [
            ("link", "set", "dev", "lo", "up"),
            ("link", "add", "name", "eth1", "type", "veth", "peer", "name", "far"),
            ("netns", "add", "other"),
            ("link", "set", "dev", "far", "netns", "other", "up"),
        ]
    )
    for number, address in FAR.items():
        run_batch(
            [
                ("link", "add", "link", "far", "name", f"far.{number}", "type", "vlan", "id", str(number)),
                ("addr", "add", address, "dev", f"far.{number}"),
                ("link", "set", "dev", f"far.{number}", "up"),
            ],
            namespace="other",
        )


def shown() -> dict[str, Any]:
    found = {}
    for link in ask("-d", "link", "show"):
        if link["ifname"].startswith(("eth1.", "br")):
            info = link.get("linkinfo", {})
            data = info.get("info_data", {})
            found[link["ifname"]] = {
                "kind": info.get("info_kind"),
                "vlan": [data.get("protocol"), data.get("id")] if info.get("info_kind") == "vlan" else None,
                "on": link.get("link"),
                "master": link.get("master"),
                "port_of": info.get("info_slave_kind"),
                "state": info.get("info_slave_data", {}).get("state"),
                "up": "UP" in link["flags"],
                "mtu": link["mtu"],
                "alias": link.get("ifalias"),
            }
    return found


def reached(address: str) -> bool:
    """Whether the other machine gets an answer from that address, which is on one of our bridges."""
    asking = f"import socket; socket.create_connection(({address!r}, {PORT}), timeout=5).recv(1)"
    words = ["ip", "netns", "exec", "other", "/usr/bin/python3.11", "-c", asking]
    return subprocess.run(words, capture_output=True, timeout=60, check=False).returncode == 0


def answer_everybody() -> None:
    listening = socket.create_server(("", PORT), backlog=8)

    def serve() -> None:
        while True:
            connection, _unused = listening.accept()
            connection.sendall(b"!")
            connection.close()

    threading.Thread(target=serve, daemon=True).start()


def plan_of(*bridges: DeclaredBridge) -> list[str]:
    return [f"{step.bridge}: {step.what}" for step in plan(bridges, links_of_machine())]


def refused() -> str:
    """A VLAN of an interface that takes none: nothing of its bridge is left."""
    try:
        carry_out(plan((*DECLARED, DeclaredBridge("br40", vlans=(Vlan("lo", 40),))), links_of_machine()))
    except FleetError as error:
        return str(error)
    return ""


def main() -> dict[str, Any]:
    lay_cable()
    answer_everybody()
    record = Path("/run/bridges.json")
    record.write_bytes(encoded(DECLARED))
    result: dict[str, Any] = {"made": [f"{step.bridge}: {step.what}" for step in bring_up(record)]}
    result["shown"] = shown()
    result["reached"] = {address: reached(address) for address in ("192.0.2.1", "198.51.100.1")}
    result["again"] = plan_of(*DECLARED)
    run_batch([("link", "set", "dev", "eth1.20", "nomaster")])
    result["unplugged"] = plan_of(*DECLARED)
    result["reached_unplugged"] = reached("192.0.2.1")
    carry_out(plan(DECLARED, links_of_machine()))
    result["reached_mended"] = reached("192.0.2.1")
    result["refused"] = refused()
    result["after_refusal"] = sorted(shown())
    result["moved"] = plan_of(replace(DECLARED[0], vlans=()), DECLARED[1])
    carry_out(plan((), links_of_machine()))
    result["left"] = sorted(shown())
    return result
