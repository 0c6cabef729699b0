# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bridges: looked at, never made or changed. Only Linux' own can be used."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Optional

from .ip_command import IpError, ask

FORWARDING_S = 5.0
"""A tender brings its port's carrier up in 2 to 60 ms; an emulator may take longer."""


@dataclass(frozen=True)
class Bridge:
    """A bridge of this machine."""

    name: str
    mac: str
    mtu: int
    addresses: tuple[str, ...]
    """The machine's own on it, with their prefix lengths."""
    settling_s: float
    """How long a port of it may take until it forwards: with spanning tree, twice its forward delay."""
    port_aliases: tuple[str, ...] = ()
    """The aliases of its ports, empty for those without."""


def why_no_bridge(name: str) -> Optional[str]:
    """What forbids this bridge, in words that follow its name; None when it can be used."""
    try:
        link = ask("-d", "link", "show", "dev", name)[0]
    except (IpError, IndexError):
        return "does not exist on this node (make it, or let role node make it)"
    kind = link.get("linkinfo", {}).get("info_kind")
    if kind == "openvswitch":
        return "is a bridge of Open vSwitch, which is not supported: declare a bridge of Linux itself"
    if kind != "bridge":
        return f"is no bridge{f' (it is of the kind {kind})' if kind else ''}"
    if "UP" not in link.get("flags", ()):
        return "is down, so nobody would be reached through it (ip link set it up)"
    return None


def missing_bridges(names: Iterable[str]) -> list[str]:
    """Which of these bridges cannot be used, and why, in clauses."""
    reasons = {name: why_no_bridge(name) for name in dict.fromkeys(names)}
    return [f"the bridge {name} {reason}" for name, reason in reasons.items() if reason is not None]


def bridge(name: str) -> Bridge:
    """The bridge of that name; IpError when there is none."""
    link = ask("-d", "link", "show", "dev", name)[0]
    data = link.get("linkinfo", {}).get("info_data", {})
    delay_s = float(data.get("forward_delay", 0)) / 100 if data.get("stp_state") else 0.0
    addresses = [
        f"{entry['local']}/{entry['prefixlen']}"
        for answer in ask("addr", "show", "dev", name)
        for entry in answer.get("addr_info", ())
        if entry.get("scope") == "global"
    ]
    return Bridge(
        name=name,
        mac=str(link["address"]),
        mtu=int(link.get("mtu", 1500)),
        addresses=tuple(addresses),
        settling_s=FORWARDING_S + 2 * delay_s,
        port_aliases=tuple(str(port.get("ifalias", "")) for port in ask("link", "show", "master", name)),
    )


def looking_addresses(guest: Sequence[str], own: Sequence[str], gateway: Optional[str] = None) -> tuple[str, ...]:
    """Addresses, with prefix lengths, from which a guest on a wire of its own can be looked at.

    The machine's own on the bridge where they share a network with the guest's: so what the guest learns of its
    neighbour there stays true on the bridge. Else the last address of the guest's network that is free. With a gateway,
    that one too: not for a guest that is put on its bridge afterwards, since it remembers the gateway by its MAC.
    """
    chosen = [*own, *_gateway_address(guest, own, gateway)]
    interfaces = [ipaddress.ip_interface(address) for address in chosen]
    for address in guest:
        of_guest = ipaddress.ip_interface(address)
        if any(of_guest.ip in i.network for i in interfaces if i.version == of_guest.version):
            continue
        network = of_guest.network
        for distance in (2, 3, 1, 4):
            with suppress(IndexError, ValueError):
                candidate = network[-distance]
                if candidate != of_guest.ip and candidate != network.network_address:
                    chosen.append(f"{candidate}/{network.prefixlen}")
                    interfaces.append(ipaddress.ip_interface(chosen[-1]))
                    break
    return tuple(chosen)


def _gateway_address(guest: Sequence[str], own: Sequence[str], gateway: Optional[str]) -> tuple[str, ...]:
    """The gateway with its prefix length, unless the machine itself has it."""
    if gateway is None:
        return ()
    ip = ipaddress.ip_address(gateway)
    if any(ipaddress.ip_interface(address).ip == ip for address in own):
        return ()
    networks = [ipaddress.ip_interface(address).network for address in guest]
    lengths = [network.prefixlen for network in networks if network.version == ip.version and ip in network]
    # A gateway may lie outside of the guest's network: fe80::1, for instance.
    return (f"{ip}/{max(lengths, default=64 if ip.version == 6 else 32)}",)
