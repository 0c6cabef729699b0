# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A wire of its own for an instance that is not on its bridge yet, and a place from which to look at it.

Each of its ports is put on a small bridge that nothing else is on but one end of a pair; the other end lies in a
network namespace and has an address in the guest's network. What is asked from inside that namespace reaches this
instance and no other, though the one that serves has the same addresses and the same MAC.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Optional, Union

from .bridge import Bridge, bridge, looking_addresses
from .interface_names import interface_name, label_of
from .ip_command import Command, run, run_batch
from .namespace import set_kernel_parameters
from .network import remove_namespace
from .ports import Port, quarantine_namespace_of


def quarantine(root: str, name: str, release: Union[int, str], ports: Sequence[Port], as_gateway: bool = False) -> str:
    """Put the ports, which are on no bridge, on wires of their own; the namespace from which to look at them.

    With ``as_gateway`` that namespace has the addresses of the gateways too, for a guest that stays here.
    It is removed with the instance's other interfaces (``network.remove``), or by :func:`lift`.
    """
    namespace = quarantine_namespace_of(root, name, release)
    make_secluded(namespace)
    for index, port in enumerate(ports):
        on = bridge(port.bridge)
        wire, near = _names(root, name, release, port)
        label = label_of(root, name, release, f"{port.device}-quarantine")
        run_batch(_wiring(port, on, wire, near, f"look{index}", namespace, label))
        set_kernel_parameters({f"ipv6/conf/{link}/disable_ipv6": "1" for link in (wire, near)})
        run_batch([("link", "set", "dev", link, "up") for link in (wire, near)])
        run_batch(looking(port, on, f"look{index}", port.gateway if as_gateway else None), namespace)
    return namespace


def make_secluded(namespace: str) -> None:
    """An empty network namespace from which nothing is forwarded, made afresh."""
    remove_namespace(namespace)
    run("netns", "add", namespace)
    set_kernel_parameters({"ipv6/conf/default/accept_dad": "0", "ipv6/conf/default/accept_ra": "0"}, namespace)
    # It is nobody's way to anywhere; a new namespace may have inherited the machine's forwarding.
    set_kernel_parameters({"ipv4/ip_forward": "0", "ipv6/conf/all/forwarding": "0"}, namespace)


def lift(root: str, name: str, release: int, ports: Sequence[Port]) -> None:
    """Remove the wires and the namespace; the ports stay, on whatever bridge they are by now."""
    remove_namespace(quarantine_namespace_of(root, name, release))
    # The pairs went with the namespace.
    run_batch([("link", "delete", "dev", _names(root, name, release, port)[0]) for port in ports])


def _names(root: str, name: str, release: Union[int, str], port: Port) -> tuple[str, str]:
    return (
        interface_name("q", root, name, release, port.device),
        interface_name("w", root, name, release, port.device),
    )


def _wiring(port: Port, on: Bridge, wire: str, near: str, far: str, namespace: str, label: str) -> list[Command]:
    mtu = ("mtu", str(on.mtu))
    # The guest remembers whom it saw: under the machine's own address it shall see the machine's own MAC.
    far_mac: Command = ("address", on.mac) if on.addresses else ()
    pair: Command = ("type", "veth", "peer", "name", far, *far_mac, *mtu, "netns", namespace)
    return [
        ("link", "add", "dev", wire, *mtu, "type", "bridge", "stp_state", "0", "forward_delay", "0"),
        # The machine answers for all of its addresses on all of its interfaces; here, only the far end shall.
        ("link", "set", "dev", wire, "alias", label, "arp", "off"),
        ("link", "add", "dev", near, *mtu, *pair),
        ("link", "set", "dev", near, "alias", label, "master", wire),
        ("link", "set", "dev", port.interface, "master", wire),
    ]


def looking(port: Port, on: Bridge, far: str, gateway: Optional[str]) -> list[Command]:
    """The lines that make the far end a neighbour of the guest, in the namespace that it lies in."""
    lines: list[Command] = [("link", "set", "dev", "lo", "up"), ("link", "set", "dev", far, "up")]
    for address in looking_addresses(port.addresses, on.addresses, gateway):
        version = ipaddress.ip_interface(address).version
        lines.append(("addr", "add", address, "dev", far, *(("nodad",) if version == 6 else ())))
    for address in port.addresses:
        # An ARP request before the guest is up would be lost, and the next one comes a second later.
        ip = str(ipaddress.ip_interface(address).ip)
        lines.append(("neigh", "replace", ip, "lladdr", port.mac, "dev", far, "nud", "permanent"))
    return lines
