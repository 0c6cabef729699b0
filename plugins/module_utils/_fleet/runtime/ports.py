# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The network ports of an instance as data: pure functions from what is declared to names, addresses and batches."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import Optional, Union

from ..model import Configuration, Network, Release
from .interface_names import interface_name, label_of
from .mac import derived_mac, why_no_mac

BRIDGE_PATTERN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}", re.ASCII)
DEVICE_PATTERN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,66}", re.ASCII)
"""Solo5 takes up to 67 letters and digits."""
LONGEST_INTERFACE = 15


class PortKind(str, Enum):
    """What the guest's end of a port is."""

    TAP = "tap"
    """A file of frames, which a tender or an emulator opens by the interface's name."""
    VETH = "veth"
    """The other end of a pair, in a network namespace of the instance."""


@dataclass(frozen=True)
class Port:
    """One network device of one instance, on this machine."""

    interface: str
    """The end that goes onto the bridge."""
    label: str
    """Its alias, by which it is known as ours."""
    kind: PortKind
    device: str
    """The guest's name for it."""
    bridge: str
    mac: str
    addresses: tuple[str, ...] = ()
    gateway: Optional[str] = None
    namespace: Optional[str] = None
    """Of the guest's end; None for a tap."""
    owner: Optional[int] = None
    """The number of the only user who may attach to a tap; None: root (and whoever may open /dev/net/tun)."""


def mac_of(name: str, network: Network) -> str:
    """The MAC address that a unikernel's device has."""
    return (network.mac or derived_mac(network.name, name)).lower()


def namespace_of(root: str, name: str, release: Union[int, str]) -> str:
    """The network namespace of an instance with veth ports."""
    return interface_name("n", root, name, release)


def quarantine_namespace_of(root: str, name: str, release: Union[int, str]) -> str:
    """The network namespace from which an instance is looked at that is off its bridges."""
    return interface_name("x", root, name, release)


def ports_of(
    root: str, name: str, release: Release, kind: PortKind, label: Union[int, str, None] = None
) -> tuple[Port, ...]:
    """The ports of a release's instance, in the order of its networks; named by its number, or by another label."""
    number = release.number if label is None else label
    return tuple(
        Port(
            interface=interface_name("p", root, name, number, network.name),
            label=label_of(root, name, number, network.name),
            kind=kind,
            device=network.name,
            bridge=network.bridge,
            mac=mac_of(name, network),
            addresses=network.addresses,
            gateway=network.gateway,
            namespace=namespace_of(root, name, number) if kind is PortKind.VETH else None,
        )
        for network in release.configuration.networks
    )


def faults_of_networks(configuration: Configuration, kind: PortKind) -> list[str]:
    """What is wrong with the declared networks, whatever the machine has."""
    faults = []
    for network in configuration.networks:
        faults += [f"its network {network.name!r} {fault}" for fault in _faults(network, kind)]
    doubled = [device for device, count in Counter(n.name for n in configuration.networks).items() if count > 1]
    faults += [f"its network {device!r} is declared more than once" for device in doubled]
    return faults


def _faults(network: Network, kind: PortKind) -> list[str]:
    faults = []
    if not DEVICE_PATTERN.fullmatch(network.name) or (kind is PortKind.VETH and network.name == "lo"):
        faults.append("has a name that no device can have")
    elif kind is PortKind.VETH and len(network.name) > LONGEST_INTERFACE:
        faults.append(f"has a name of more than {LONGEST_INTERFACE} characters, which no interface can have")
    if not BRIDGE_PATTERN.fullmatch(network.bridge):
        faults.append(f"is to be on {network.bridge!r}, which is no name of a bridge")
    if network.mac is not None and why_no_mac(network.mac):
        faults.append(f"has the MAC {network.mac!r}, which {why_no_mac(network.mac)}")
    versions = set()
    for address in network.addresses:
        try:
            interface = ipaddress.ip_interface(address)
        except ValueError:
            faults.append(f"has the address {address!r}, which is none (192.0.2.10/24 or 2001:db8::10/64 is one)")
            continue
        versions.add(interface.version)
        if "/" not in address:
            faults.append(f"has the address {address!r} without the length of its prefix (/24, /64)")
    if network.gateway is not None:
        try:
            if ipaddress.ip_address(network.gateway).version not in versions:
                faults.append(f"has the gateway {network.gateway!r} and no address of that kind")
        except ValueError:
            faults.append(f"has the gateway {network.gateway!r}, which is no address")
    return faults
