# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bridges that a node was declared to have: made where they are missing, left alone where somebody else made them.

A bridge of ours is known by its alias. Nothing else of the machine's network is touched: a port that carries addresses
of the machine itself is refused, because taking it would cut the machine off.
"""

from __future__ import annotations

import ipaddress
import json
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional, Union

from .. import codec
from ..errors import DriverError, FleetError, InvalidDeclaration
from .interface_names import LABEL
from .ip_command import Command, IpError, ask, run_batch

OURS = f"{LABEL}:node"
"""Alias of the interfaces that we made; those of instances have another."""
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}", re.ASCII)
PORTS_PATIENCE_S = 30.0
"""At boot, the machine's own interfaces may not be there yet."""


Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]


@dataclass(frozen=True)
class Vlan:
    """A VLAN of an interface of the machine, as a port of the bridge."""

    interface: str
    id: int

    @property
    def name(self) -> str:
        return f"{self.interface}.{self.id}"


@dataclass(frozen=True)
class DeclaredBridge:
    """A bridge as it was declared."""

    name: str
    addresses: tuple[str, ...] = ()
    """The machine's own on it, with their prefix lengths."""
    ports: tuple[str, ...] = ()
    """Interfaces of the machine that become ports of it."""
    vlans: tuple[Vlan, ...] = ()
    mtu: Optional[int] = None
    stp: bool = False
    """The spanning tree protocol. With it, a new port takes some seconds until it forwards."""


@dataclass(frozen=True)
class Link:
    """As much of an interface of the machine as decides."""

    name: str
    kind: str = ""
    alias: str = ""
    up: bool = False
    mtu: int = 1500
    master: str = ""
    stp: bool = False
    addresses: tuple[str, ...] = ()
    """Those that were given to it (of global scope), with their prefix lengths."""
    learned: tuple[str, ...] = ()
    """Those that it got by itself, by DHCP or from a router."""


@dataclass(frozen=True)
class Step:
    """What is done to one bridge, and in which words it is told."""

    bridge: str
    what: str
    commands: tuple[Command, ...] = field(default=())
    undone_by: tuple[Command, ...] = field(default=())
    """When one of the commands fails: nothing is left half made."""


def checked(bridges: Sequence[DeclaredBridge]) -> tuple[DeclaredBridge, ...]:
    """The bridges, if they can be meant; else InvalidDeclaration."""
    taken: dict[str, str] = {}
    for bridge in bridges:
        words = [
            bridge.name,
            *bridge.ports,
            *(vlan.interface for vlan in bridge.vlans),
            *(v.name for v in bridge.vlans),
        ]
        for word in words:
            if not NAME.fullmatch(word):
                raise InvalidDeclaration(
                    f"Bridge {bridge.name!r}: {word!r} is no name of an interface (1 to 15 characters)."
                )
        for vlan in bridge.vlans:
            if not 1 <= vlan.id <= 4094:
                raise InvalidDeclaration(f"Bridge {bridge.name}: {vlan.id} is no VLAN; 1 to 4094 are.")
        for address in bridge.addresses:
            _checked_address(bridge.name, address)
        if bridge.mtu is not None and not 1280 <= bridge.mtu <= 65535:
            raise InvalidDeclaration(f"Bridge {bridge.name}: an MTU is from 1280 (IPv6 needs that much) to 65535.")
        for word in (bridge.name, *bridge.ports, *(vlan.name for vlan in bridge.vlans)):
            if word in taken:
                raise InvalidDeclaration(f"The interface {word} is declared twice, by {taken[word]} and {bridge.name}.")
            taken[word] = bridge.name
    return tuple(bridges)


def _checked_address(bridge: str, address: str) -> None:
    try:
        if "/" not in address:
            raise ValueError("the prefix length is missing")
        ipaddress.ip_interface(address)
    except ValueError as error:
        raise InvalidDeclaration(f"Bridge {bridge}: {address!r} is no address with a prefix length: {error}.") from None


def plan(declared: Sequence[DeclaredBridge], links: Mapping[str, Link], keep_others: bool = False) -> tuple[Step, ...]:
    """What is to be done, in order. InvalidDeclaration when something declared cannot be; nothing is done then."""
    steps: list[Step] = []
    # A VLAN may be one of a bridge that is declared before.
    known = {*links, *(bridge.name for bridge in declared)}
    for bridge in declared:
        for vlan in bridge.vlans:
            if vlan.interface not in known:
                raise InvalidDeclaration(
                    f"Bridge {bridge.name}: the interface {vlan.interface} of its VLAN is not there. Nothing was done."
                )
        steps.extend(_steps_to(bridge, links))
    if not keep_others:
        names = {word for bridge in declared for word in (bridge.name, *(vlan.name for vlan in bridge.vlans))}
        steps.extend(_removals(names, links))
    return tuple(steps)


def _steps_to(bridge: DeclaredBridge, links: Mapping[str, Link]) -> list[Step]:
    there = links.get(bridge.name)
    if there is not None:
        _refuse_what_is_no_bridge(there)
        if there.alias != OURS:
            return []  # somebody else's: left alone, whatever it looks like
    for port in bridge.ports:
        _refuse_port(bridge, links.get(port), port)
    for address in bridge.addresses:
        _refuse_overlap(bridge, ipaddress.ip_interface(address).network, links)
    if there is None:
        return [_making(bridge, links)]
    return _corrections(bridge, there, links)


def _refuse_what_is_no_bridge(link: Link) -> None:
    if link.kind == "openvswitch":
        raise InvalidDeclaration(
            f"{link.name} is a bridge of Open vSwitch, which is not supported. Nothing was changed. Declare a bridge "
            "of Linux itself under another name."
        )
    if link.kind != "bridge":
        kind = f", of the kind {link.kind}" if link.kind else ""
        raise InvalidDeclaration(
            f"{link.name} is an interface of this machine and no bridge{kind}. Nothing was changed."
        )


def _refuse_port(bridge: DeclaredBridge, link: Optional[Link], name: str) -> None:
    if link is None:
        raise InvalidDeclaration(f"Bridge {bridge.name}: its port {name} is no interface here. Nothing was changed.")
    if link.master not in ("", bridge.name):
        raise InvalidDeclaration(
            f"Bridge {bridge.name}: {name} is a port of {link.master} already. Nothing was changed."
        )
    if (link.addresses or link.learned) and link.master != bridge.name:
        raise InvalidDeclaration(
            f"Bridge {bridge.name}: {name} carries {', '.join(link.addresses + link.learned)}, so the machine itself "
            "would lose its connection there. Nothing was changed. Move the addresses to a bridge of the machine's own "
            "configuration."
        )


def _refuse_overlap(bridge: DeclaredBridge, network: Network, links: Mapping[str, Link]) -> None:
    """Seen: a bridge with the network of the interface by which the machine is reached, and it was reached no more."""
    for link in links.values():
        for address in (*link.addresses, *link.learned):
            other = ipaddress.ip_interface(address).network
            if link.name != bridge.name and other.version == network.version and other.overlaps(network):
                raise InvalidDeclaration(
                    f"Bridge {bridge.name}: its network {network} is that of {link.name} ({address}) too, so this "
                    "machine would look for its neighbours there on the bridge. Nothing was changed. Choose another."
                )


def _making(bridge: DeclaredBridge, links: Mapping[str, Link]) -> Step:
    commands: list[Command] = [
        ("link", "add", "name", bridge.name, "type", "bridge", "stp_state", str(int(bridge.stp))),
        _marking(bridge.name),
        *_mtu(bridge, None),
        *(("addr", "add", address, "dev", bridge.name) for address in bridge.addresses),
        *(command for port in bridge.ports for command in _joining(bridge, port)),
        *(command for vlan in bridge.vlans for command in _vlan(bridge, vlan, links)),
        ("link", "set", "dev", bridge.name, "up"),
    ]
    added = [vlan.name for vlan in bridge.vlans if vlan.name not in links]
    undo = tuple(("link", "del", "dev", name) for name in (*added, bridge.name))
    return Step(bridge.name, "made", tuple(commands), undo)


def _corrections(bridge: DeclaredBridge, there: Link, links: Mapping[str, Link]) -> list[Step]:
    steps = []
    wanted = {str(ipaddress.ip_interface(address)): address for address in bridge.addresses}
    present = {str(ipaddress.ip_interface(address)) for address in there.addresses}
    commands: list[Command] = [("addr", "add", wanted[key], "dev", bridge.name) for key in wanted if key not in present]
    commands += [("addr", "del", key, "dev", bridge.name) for key in sorted(present - set(wanted))]
    if commands:
        steps.append(Step(bridge.name, "given its addresses", tuple(commands)))
    if there.stp != bridge.stp:
        stp = ("link", "set", "dev", bridge.name, "type", "bridge", "stp_state", str(int(bridge.stp)))
        steps.append(Step(bridge.name, "given its spanning tree", (stp,)))
    if _mtu(bridge, there):
        steps.append(Step(bridge.name, "given its MTU", tuple(_mtu(bridge, there))))
    joining = [c for port in bridge.ports if links[port].master != bridge.name for c in _joining(bridge, port)]
    for vlan in bridge.vlans:
        found = links.get(vlan.name)
        if found is None or found.master != bridge.name:
            joining += _vlan(bridge, vlan, links)
    if joining:
        steps.append(Step(bridge.name, "given its ports", tuple(joining)))
    if not there.up:
        steps.append(Step(bridge.name, "brought up", (("link", "set", "dev", bridge.name, "up"),)))
    return steps


def _marking(name: str) -> Command:
    """As a command of its own: the kernel takes no notice of an alias when it makes an interface."""
    return ("link", "set", "dev", name, "alias", OURS)


def _mtu(bridge: DeclaredBridge, there: Optional[Link]) -> list[Command]:
    if bridge.mtu is None or (there is not None and there.mtu == bridge.mtu):
        return []
    return [("link", "set", "dev", bridge.name, "mtu", str(bridge.mtu))]


def _joining(bridge: DeclaredBridge, port: str) -> list[Command]:
    return [("link", "set", "dev", port, "master", bridge.name), ("link", "set", "dev", port, "up")]


def _vlan(bridge: DeclaredBridge, vlan: Vlan, links: Mapping[str, Link]) -> list[Command]:
    commands: list[Command] = []
    if vlan.name not in links:
        kind = ("type", "vlan", "id", str(vlan.id))
        commands += [("link", "add", "link", vlan.interface, "name", vlan.name, *kind), _marking(vlan.name)]
    return [*commands, ("link", "set", "dev", vlan.interface, "up"), *_joining(bridge, vlan.name)]


def _removals(declared: set[str], links: Mapping[str, Link]) -> list[Step]:
    steps = []
    for link in links.values():
        if link.alias != OURS or link.name in declared or link.kind not in ("bridge", "vlan"):
            continue
        plugged = sorted(
            port.name for port in links.values() if port.master == link.name and port.alias.startswith(f"{LABEL}/")
        )
        if plugged:
            raise InvalidDeclaration(
                f"The bridge {link.name} is not declared any more, and unikernels are plugged into it "
                f"({', '.join(plugged)}). Nothing was changed. Move or remove them first."
            )
        steps.append(Step(link.name, "removed", (("link", "del", "dev", link.name),)))
    return steps


# --- the machine ----------------------------------------------------------------------------------------


def links_of_machine() -> dict[str, Link]:
    found = {}
    addresses = {entry.get("ifname"): entry.get("addr_info", ()) for entry in ask("addr", "show")}
    for entry in ask("-d", "link", "show"):
        info = entry.get("linkinfo", {})
        name = str(entry["ifname"])
        found[name] = Link(
            name=name,
            kind=str(info.get("info_kind", "")),
            alias=str(entry.get("ifalias", "")),
            up="UP" in entry.get("flags", ()),
            mtu=int(entry.get("mtu", 1500)),
            master=str(entry.get("master", "")),
            stp=bool(info.get("info_data", {}).get("stp_state")),
            addresses=_of(addresses.get(name, ()), learned=False),
            learned=_of(addresses.get(name, ()), learned=True),
        )
    return found


def _of(entries: Sequence[Mapping[str, Any]], learned: bool) -> tuple[str, ...]:
    """Without what the kernel made up by itself (link-local)."""
    return tuple(
        f"{entry['local']}/{entry['prefixlen']}"
        for entry in entries
        if entry.get("scope") == "global" and bool(entry.get("dynamic")) == learned
    )


def carry_out(steps: Sequence[Step]) -> None:
    for step in steps:
        try:
            run_batch(step.commands)
        except IpError as error:
            for command in step.undone_by:
                with suppress(IpError):  # it may not have come so far
                    run_batch((command,))
            raise IpError(f"Bridge {step.bridge} could not be {step.what}: {error}") from error
        if step.undone_by:
            _pin_address(step.bridge)


def _pin_address(bridge: str) -> None:
    """The MAC that the kernel chose is made its own: or it would follow its ports, and go with the last of them."""
    address = str(ask("link", "show", "dev", bridge)[0]["address"])
    run_batch((("link", "set", "dev", bridge, "address", address),))


def read_declared(path: Path) -> tuple[DeclaredBridge, ...]:
    """What was declared last; nothing when nothing was."""
    try:
        data = json.loads(path.read_bytes())
        return checked(tuple(codec.decode(DeclaredBridge, item) for item in data))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, TypeError) as error:
        raise DriverError(f"{path} cannot be read: {error}. No bridge was changed. Run role node again.") from error


def encoded(bridges: Sequence[DeclaredBridge]) -> bytes:
    return (json.dumps([codec.encode(bridge) for bridge in bridges], indent=2, sort_keys=True) + "\n").encode("ascii")


def bring_up(path: Path, patience_s: float = PORTS_PATIENCE_S) -> tuple[Step, ...]:
    """At boot: make what was declared, waiting for the interfaces that it is built on."""
    declared = read_declared(path)
    give_up = time.monotonic() + patience_s
    while True:
        try:
            steps = plan(declared, links_of_machine(), keep_others=True)
            carry_out(steps)
            return steps
        except FleetError:
            if time.monotonic() >= give_up:
                raise
        time.sleep(0.5)
