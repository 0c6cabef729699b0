# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A quarantine that somebody declared: a bridge with nothing on it, where another program puts its guests.

Nobody's machine or uplink is on it. A pair's end for each of the guest's networks is put there, and the other ends lie
in a namespace with the addresses that the guest's neighbours have in production. What is asked from inside there
reaches what is on this bridge, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

from .bridge import Bridge, bridge, looking_addresses, why_no_bridge
from .interface_names import LABEL, interface_name, label_of
from .ip_command import Command, IpError, ask, run_batch
from .namespace import set_kernel_parameters
from .network import remove
from .ports import Port, quarantine_namespace_of
from .quarantine import looking, make_secluded

GUESTS_ENDS = ("tun", "tap", "veth")
"""What a guest is plugged in by. A veth may lead anywhere, and where to cannot be known from here."""


def why_no_quarantine(name: str) -> list[str]:
    """What forbids this bridge, in clauses; none when a guest on it reaches nobody."""
    try:
        link = ask("-d", "link", "show", "dev", name)[0]
    except (IpError, IndexError):
        return [f"its quarantine bridge {name} does not exist on this node"]
    if link.get("linkinfo", {}).get("info_kind") != "bridge":
        return [f"its quarantine bridge {name} {why_no_bridge(name) or 'is no bridge'}"]
    reasons = []
    if bridge(name).addresses:
        reasons.append(f"its quarantine bridge {name} has addresses of this node, and so leads to it")
    ways_out = sorted(
        str(port["ifname"])
        for port in ask("-d", "link", "show", "master", name)
        if port.get("linkinfo", {}).get("info_kind") not in GUESTS_ENDS
    )
    if ways_out:
        reasons.append(f"its quarantine bridge {name} has the port {', '.join(ways_out)}, and so leads somewhere")
    return reasons


def guests_on(name: str) -> list[str]:
    """The ports of the bridge that are not ours."""
    ports = ask("link", "show", "master", name)
    return [str(port["ifname"]) for port in ports if not str(port.get("ifalias", "")).startswith(LABEL)]


def can_be_seen(ports: Sequence[Port]) -> bool:
    """Whether there is an address from which to look at any of them. IpError when a bridge of theirs is not here."""
    return any(looking_addresses(port.addresses, bridge(port.bridge).addresses) for port in ports)


def look_onto(root: str, name: str, label: str, on: str, ports: Sequence[Port]) -> str:
    """The namespace from which guests on the bridge ``on`` are seen, with the devices of these ports, which are the
    guest's in production. Removed by :func:`look_away`."""
    look_away(root, name, label)
    namespace = quarantine_namespace_of(root, name, label)
    make_secluded(namespace)
    # Each address is of one end alone, though all of them hear every request for it.
    answering = {"ipv4/conf/all/arp_ignore": "1", "ipv4/conf/all/rp_filter": "0", "ipv4/conf/default/rp_filter": "0"}
    set_kernel_parameters(answering, namespace)
    # The machine answers for all of its addresses on all of its interfaces; here, only the far ends shall.
    set_kernel_parameters({f"ipv6/conf/{on}/disable_ipv6": "1"})
    run_batch([("link", "set", "dev", on, "arp", "off", "up")])
    for index, port in enumerate(ports):
        neighbours = bridge(port.bridge)
        near, far = interface_name("w", root, name, label, port.device), f"look{index}"
        alias = label_of(root, name, label, f"{port.device}-quarantine")
        run_batch(_pair(neighbours, near, far, namespace, on, alias))
        set_kernel_parameters({f"ipv6/conf/{near}/disable_ipv6": "1"})
        run_batch([("link", "set", "dev", near, "up")])
        run_batch(looking(port, neighbours, far, port.gateway), namespace)
    return namespace


def look_away(root: str, name: str, label: str) -> None:
    """Remove what was made to look; the bridge stays."""
    remove(root, name, label)


def _pair(neighbours: Bridge, near: str, far: str, namespace: str, on: str, alias: str) -> list[Command]:
    mtu = ("mtu", str(neighbours.mtu))
    # The guest remembers whom it saw: under the machine's own address it shall see the machine's own MAC.
    far_mac: Command = ("address", neighbours.mac) if neighbours.addresses else ()
    return [
        ("link", "add", "dev", near, *mtu, "type", "veth", "peer", "name", far, *far_mac, *mtu, "netns", namespace),
        ("link", "set", "dev", near, "alias", alias, "master", on),
    ]
