# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs on real bridges: where the bridges that a unikernel asks for are there, and we are root, the double gives it
a network namespace with a port on each of them, with its MAC and the addresses that its arguments name.

A guest of Solo5 reads ``--ipv4=``, ``--ipv4-gateway=`` and ``--ipv6=`` itself; for a program the double reads them.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import NetworkUse
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime import namespace
from ansible_collections.unikernel.fleet.tests.support.albatross.faults import Fault

T = TypeVar("T")


@dataclass(frozen=True)
class Wires:
    """What one unikernel has; without a namespace, nothing."""

    namespace: str = ""
    ports: tuple[str, ...] = ()

    def inside(self, work: Callable[[], T]) -> T:
        return namespace.inside(self.namespace, work) if self.namespace else work()

    def remove(self) -> None:
        for port in self.ports:
            _try("link", "delete", "dev", port)
        if self.namespace:
            _try("netns", "delete", self.namespace)


def plug(uses: Sequence[NetworkUse], macs: Sequence[str], arguments: Sequence[str]) -> Wires:
    """Ports on the bridges, if they are real."""
    bridges = [use.bridge or use.guest_device for use in uses]
    if not bridges or os.geteuid() != 0 or not all(_is_bridge(bridge) for bridge in bridges):
        return Wires()
    token = secrets.token_hex(4)
    wires = Wires(f"alb{token}", tuple(f"alb{token}{number}" for number in range(len(bridges))))
    try:
        _ip("netns", "add", wires.namespace)
        _ip("-n", wires.namespace, "link", "set", "lo", "up")
        for use, mac, bridge, port in zip(uses, macs, bridges, wires.ports):
            peer = ("peer", "name", use.guest_device, "address", mac, "netns", wires.namespace)
            _ip("link", "add", "dev", port, "type", "veth", *peer)
            _ip("link", "set", "dev", port, "master", bridge, "up")
        _give_addresses(wires.namespace, uses[0].guest_device, dict(word.partition("=")[::2] for word in arguments))
    except Fault:
        wires.remove()
        raise
    return wires


def _give_addresses(where: str, device: str, given: dict[str, str]) -> None:
    _ip("-n", where, "link", "set", "dev", device, "up")
    if "--ipv4" in given:
        _ip("-n", where, "addr", "add", given["--ipv4"], "dev", device)
    if "--ipv6" in given:
        _ip("-n", where, "addr", "add", given["--ipv6"], "dev", device, "nodad")
    if "--ipv4-gateway" in given:
        _ip("-n", where, "route", "add", "default", "via", given["--ipv4-gateway"])


def _is_bridge(name: str) -> bool:
    shown = subprocess.run(
        ["ip", "-j", "-d", "link", "show", "dev", name], capture_output=True, timeout=20, check=False
    )
    found = json.loads(shown.stdout or b"[]") if shown.returncode == 0 else []
    return any(link.get("linkinfo", {}).get("info_kind") == "bridge" for link in found)


def _try(*words: str) -> bool:
    with suppress(Fault):
        _ip(*words)
        return True
    return False


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=20, check=False)
    if done.returncode:
        raise Fault(f"ip {' '.join(words)}: {done.stderr.strip()}")
