# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ports on the node: made for an instance, put onto their bridges and taken off, and removed with all they had."""

from __future__ import annotations

import ipaddress
import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Union

from ..errors import DriverError
from .bridge import Bridge, bridge
from .interface_names import LABEL, label_of, port_mac
from .ip_command import Command, IpError, ask, run, run_batch
from .namespace import FOLDER, set_kernel_parameters
from .ports import Port, PortKind, namespace_of, quarantine_namespace_of

FORWARDING = "3"
"""State of a bridge's port in sysfs."""
IFF_UP = 1
"""Among an interface's flags in sysfs: somebody set it up."""
LOOK_S = 0.001


@dataclass(frozen=True)
class PortStanding:
    """How a port is."""

    exists: bool
    master: Optional[str] = None
    """The bridge that it is on."""
    forwarding: bool = False
    bridge_down: bool = False
    """Its bridge forwards nothing, whatever the port does."""


def make(ports: Sequence[Port]) -> None:
    """Make the ports, on no bridge yet. What is there under their names and is ours is made afresh; of others, nothing
    is touched. When it fails, nothing of them is left behind."""
    _refuse_foreign(ports)
    _remove_links([port.interface for port in ports if exists(port.interface)])
    try:
        for namespace in {port.namespace: None for port in ports}:
            if namespace is not None:
                _make_namespace(namespace, [port for port in ports if port.namespace == namespace])
        commands: list[Command] = []
        for port in ports:
            on = bridge(port.bridge)
            commands += [*pinning(on), *making(port, on.mtu)]
        run_batch(commands)
        for port in ports:
            # A bridge's port has no business with IP: no address of its own, no duplicate address detection on it.
            set_kernel_parameters({f"ipv6/conf/{port.interface}/disable_ipv6": "1"})
            # For cut_over. Here and not there, because to add it stops the interface's traffic for a while; what has
            # no tc, or no kernel for it, swaps without.
            with suppress(IpError):
                run_batch([("qdisc", "add", "dev", port.interface, "clsact")], tool="tc")
        run_batch([("link", "set", "dev", port.interface, "up") for port in ports])
        for port in ports:
            if port.namespace is not None:
                run_batch(equipping(port), port.namespace)
    except BaseException:
        with suppress(DriverError):
            _remove_links([port.interface for port in ports if exists(port.interface)])
        for namespace in {port.namespace: None for port in ports}:
            if namespace is not None:
                with suppress(DriverError):
                    remove_namespace(namespace)
        raise


def pinning(on: Bridge) -> list[Command]:
    """The lines that keep a bridge's MAC as it is. One that nobody has set is that of a port; where all ports are
    guests', it would change as they come and go, and guests that remember the machine by it would lose it."""
    ours = all(alias.startswith(LABEL) for alias in on.port_aliases)
    # One that lost its last port has none at all, and takes that of its next one; pinned, it would never answer again.
    has_one = on.mac != "00:00:00:00:00:00"
    return [("link", "set", "dev", on.name, "address", on.mac)] if on.addresses and ours and has_one else []


def making(port: Port, mtu: int) -> list[Command]:
    """The lines that make a port."""
    name = port.interface
    if port.kind is PortKind.TAP:
        owner = ("user", str(port.owner)) if port.owner is not None else ()
        made: list[Command] = [("tuntap", "add", "dev", name, "mode", "tap", *owner)]
    else:
        if port.namespace is None:
            raise AssertionError(f"{name}: a pair has its other end in a namespace")
        peer: Command = ("peer", "name", port.device, "address", port.mac, "mtu", str(mtu), "netns", port.namespace)
        made = [("link", "add", "dev", name, "type", "veth", *peer)]
    return [*made, ("link", "set", "dev", name, "alias", port.label, "mtu", str(mtu), "address", port_mac(name))]


def equipping(port: Port) -> list[Command]:
    """The lines that give the guest's end of a pair its addresses; done once the other end is there."""
    lines: list[Command] = [("link", "set", "dev", "lo", "up"), ("link", "set", "dev", port.device, "up")]
    for address in port.addresses:
        version = ipaddress.ip_interface(address).version
        # The old instance has the same address until the moment of the swap, and it is no duplicate.
        lines.append(("addr", "add", address, "dev", port.device, *(("nodad",) if version == 6 else ())))
    if port.gateway is not None:
        lines.append(("route", "add", "default", "via", port.gateway, "dev", port.device))
    return lines


def _make_namespace(namespace: str, ports: Sequence[Port]) -> None:
    if (FOLDER / namespace).exists():
        remove_namespace(namespace)
    run("netns", "add", namespace)
    declared = any(port.addresses for port in ports)
    set_kernel_parameters(
        {
            "ipv6/conf/default/accept_dad": "0",
            **({"ipv6/conf/default/accept_ra": "0", "ipv6/conf/default/autoconf": "0"} if declared else {}),
        },
        namespace,
    )


def remove_namespace(namespace: str) -> None:
    """Also what an interrupted creation left: a file that nothing is mounted on."""
    path = FOLDER / namespace
    if not path.exists():
        return
    try:
        run("netns", "delete", namespace)
    except IpError:
        if os.path.ismount(path):
            raise
        with suppress(OSError):
            path.unlink()


def attach(ports: Iterable[Port]) -> list[Command]:
    """The lines that put ports onto their bridges."""
    return [("link", "set", "dev", port.interface, "master", port.bridge) for port in ports]


def detach(ports: Iterable[Port]) -> list[Command]:
    """The lines that take ports off whatever they are on."""
    return [("link", "set", "dev", port.interface, "nomaster") for port in ports]


def wait_until_forwarding(ports: Sequence[Port], goes_on: Callable[[], bool]) -> bool:
    """Wait until every port forwards: what a guest says before that is lost, its gratuitous ARP first of all.

    False when ``goes_on`` said so before; DriverError when a port does not come up in time.
    """
    patience_s = max((bridge(port.bridge).settling_s for port in ports), default=0.0)
    give_up = time.monotonic() + patience_s
    pending = list(ports)
    looked_at = 0.0
    while pending:
        pending = [port for port in pending if not standing(port.interface).forwarding]
        now = time.monotonic()
        if pending and now - looked_at > 0.02:
            looked_at = now
            if not goes_on():
                return False
        if pending and now > give_up:
            port = pending[0]
            raise DriverError(
                f"The port {port.interface} (device {port.device}) on the bridge {port.bridge} does not forward after "
                f"{patience_s:g} s. Is the bridge up, and did the guest open its device?"
            )
        if pending:
            time.sleep(LOOK_S)
    return True


def introduce(ports: Sequence[Port]) -> None:
    """Spare the machine the second until its next ARP request: who asked for an address before its guest was up,
    has a failed or unfinished entry for it. Known addresses are entered as if they had just been seen."""
    for port in ports:
        on = bridge(port.bridge)
        commands = introducing(port, on)
        known = {str(ipaddress.ip_interface(address).ip) for address in port.addresses}
        if on.addresses:
            for entry in ask("neigh", "show", "dev", port.bridge):
                if {"FAILED", "INCOMPLETE"}.intersection(entry.get("state", ())) and entry["dst"] not in known:
                    commands.append(("neigh", "del", str(entry["dst"]), "dev", port.bridge))
        for command in commands:
            with suppress(IpError):  # the kernel may forget an entry by itself in the meantime
                run_batch([command])


def ask_after(ports: Sequence[Port]) -> None:
    """Have the machine ask guests for their addresses, which it goes on using meanwhile. A guest that was off its
    bridge may know the machine by the MAC of a bridge that was made anew since; from the question it learns the
    present one, which else takes it half a minute."""
    for port in ports:
        for command in introducing(port, bridge(port.bridge), "probe"):
            with suppress(IpError):
                run_batch([command])


def introducing(port: Port, on: Bridge, known: str = "reachable") -> list[Command]:
    """The lines that enter a port's addresses among the machine's neighbours on the bridge."""
    nearby = [ipaddress.ip_interface(address).network for address in on.addresses]
    found: list[Command] = []
    for address in port.addresses:
        ip = ipaddress.ip_interface(address).ip
        if any(ip in network for network in nearby if network.version == ip.version):
            entry: Command = ("neigh", "replace", str(ip), "lladdr", port.mac, "dev", port.bridge, "nud", known)
            found.append(entry)
    return found


def remove(root: str, name: str, release: Union[int, str]) -> None:
    """Everything that instance has: its ports, its namespace, and what was made to look at it off its bridge."""
    beginning = label_of(root, name, release)
    links = [link for link in ask("link", "show") if str(link.get("ifalias", "")).startswith(beginning)]
    _remove_links([str(link["ifname"]) for link in links])
    remove_namespace(namespace_of(root, name, release))
    remove_namespace(quarantine_namespace_of(root, name, release))


def _remove_links(names: Sequence[str]) -> None:
    for name in names:
        if not exists(name):
            continue  # an end of a pair goes with the other
        try:
            run_batch([("link", "delete", "dev", name)])
        except IpError:
            if exists(name):
                raise


def _refuse_foreign(ports: Sequence[Port]) -> None:
    present = {port.interface: port for port in ports if exists(port.interface)}
    for name, port in present.items():
        alias = str(ask("link", "show", "dev", name)[0].get("ifalias", ""))
        if alias != port.label:
            raise DriverError(
                f"There is an interface {name} on this node that is not ours (its alias is {alias!r}), where the port "
                f"for the device {port.device} would be made. It was left alone. Rename or remove it."
            )


# --- looking, without a process of its own ----------------------------------------------------------


def exists(name: str) -> bool:
    """Whether this network namespace has an interface of that name."""
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True


def standing(name: str) -> PortStanding:
    """How a port is. From sysfs where that shows this network namespace (after ``nsenter`` it does not)."""
    try:
        index = socket.if_nametoindex(name)
    except OSError:
        return PortStanding(False)
    folder = Path("/sys/class/net", name)
    try:
        if int((folder / "ifindex").read_text(encoding="ascii")) == index:
            return _standing_in_sysfs(folder)
    except (OSError, ValueError):
        pass
    return _standing_by_ip(name)


def _standing_in_sysfs(folder: Path) -> PortStanding:
    try:
        master = os.path.basename(os.readlink(folder / "master"))
    except OSError:
        return PortStanding(True)
    state = ""
    with suppress(OSError):
        state = (folder / "brport" / "state").read_text(encoding="ascii").strip()
    up = True
    with suppress(OSError, ValueError):
        up = bool(int((folder / "master" / "flags").read_text(encoding="ascii"), 16) & IFF_UP)
    return PortStanding(True, master, state == FORWARDING, bridge_down=not up)


def _standing_by_ip(name: str) -> PortStanding:
    try:
        link = ask("-d", "link", "show", "dev", name)[0]
    except (IpError, IndexError):
        return PortStanding(False)
    state = link.get("linkinfo", {}).get("info_slave_data", {}).get("state")
    master, forwarding = link.get("master"), state == "forwarding"
    down = master is not None and not forwarding and _is_down(master)
    return PortStanding(True, master, forwarding, bridge_down=down)


def _is_down(name: str) -> bool:
    try:
        return "UP" not in ask("link", "show", "dev", name)[0].get("flags", ())
    except (IpError, IndexError):
        return False  # it went just now, and then the port is on none
