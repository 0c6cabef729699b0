# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Exchanging ports on a bridge without losing a request: the new one on first, then the old one off.

Both have the same MAC, and the bridge sends what is for it to the port where it was last seen. So for a short while
both are on the bridge: the new port is given all that comes in, and the old one, from which the bridge learns no more,
may still finish its answers. What is for it of TCP connections that are under way is copied to it; since each of the
two then sees segments of connections that it does not know, their resets are held back for that while. After it, the
old port is taken off, and connections that are still open are reset by the new one: they cannot be carried over.

The copying needs ``tc`` and the kernel's u32 and mirred; where these are missing, connections are cut at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from .ip_command import Command, IpError, run_batch
from .network import attach, detach, introduce, standing, wait_until_forwarding
from .ports import Port

LINGER_S = 0.15
"""How long the old instance may finish what it has begun."""

_TCP = {"ip": (9, 33), "ipv6": (6, 53)}
"""Where a packet says that it is TCP, and where then the segment's flags are: behind an IPv4 header without options,
and behind an IPv6 one without extensions."""
_SYN, _RST = "0x02", "0x04"


def cut_over(new: Sequence[Port], old: Sequence[Port], goes_on: Callable[[], bool], linger_s: float = LINGER_S) -> bool:
    """Put the new ports in the place of the old ones. False when ``goes_on`` said so before: then nothing changed.

    The old ports are on no bridge afterwards. Ports of either side without a counterpart come and go as they are.
    """
    coming = [port for port in new if standing(port.interface).master != port.bridge]
    run_batch([line for port in coming for line in (*attach([port]), _learning("ip", port, False))])
    if not wait_until_forwarding(new, goes_on):
        run_batch(detach(coming))
        return False
    pairs = [(port, other) for port in new for other in old if other.bridge == port.bridge and other.mac == port.mac]
    copied = _copying(pairs)
    lines = [_learning("bridge", other, False) for other in old if standing(other.interface).master is not None]
    for port in new:
        lines.append(_learning("bridge", port, True))
        lines.append(("fdb", "replace", port.mac, "dev", port.interface, "master", "dynamic"))
    _tell_bridges(lines)
    if pairs:
        time.sleep(linger_s)
    run_batch(detach([port for port in old if standing(port.interface).master is not None]))
    _stop_copying(copied)
    introduce(new)
    return True


def _learning(tool: str, port: Port, on: bool) -> Command:
    kind: Command = ("type", "bridge_slave") if tool == "ip" else ()
    return ("link", "set", "dev", port.interface, *kind, "learning", "on" if on else "off")


def _tell_bridges(lines: Sequence[Command]) -> None:
    """Where a bridge keeps one table per VLAN it may refuse: taking the old port off then clears its entries."""
    try:
        run_batch(lines, tool="bridge")
    except IpError:
        for line in lines:
            with suppress(IpError):
                run_batch([line], tool="bridge")


def _copying(pairs: Sequence[tuple[Port, Port]]) -> list[str]:
    """Begin to copy; the interfaces where it must be ended."""
    begun: list[str] = []
    for new, old in pairs:
        links = [new.interface, old.interface]
        try:
            _stop_copying(links)  # an interrupted cut-over may have left some of it
            run_batch(copying(*links), tool="tc")
            begun += links
        except IpError:
            _stop_copying(links)
    return begun


def copying(new: str, old: str) -> list[Command]:
    """The lines for ``tc``: resets of either side go nowhere, and what is no beginning of a connection goes to both."""
    lines: list[Command] = []
    for preference, (protocol, (kind, flags)) in enumerate(_TCP.items(), 1):
        match: Command = ("u32", "match", "u8", "0x06", "0xff", "at", str(kind))
        common: Command = ("protocol", protocol, "pref", str(preference))
        for link in (new, old):
            where: Command = ("filter", "add", "dev", link, "ingress", *common)
            # Out of the other port, to a guest that has no such connection either: nobody minds it there.
            sink: Command = ("action", "mirred", "egress", "redirect", "dev", old if link == new else new)
            lines.append((*where, *match, "match", "u8", _RST, _RST, "at", str(flags), *sink))
        copy: Command = ("action", "mirred", "egress", "mirror", "dev", old)
        begins: Command = ("match", "u8", "0x00", _SYN, "at", str(flags))
        lines.append(("filter", "add", "dev", new, "egress", *common, *match, *begins, *copy))
    return lines


def _stop_copying(links: Sequence[str]) -> None:
    for link in links:
        for direction in ("ingress", "egress"):
            with suppress(IpError):
                run_batch([("filter", "del", "dev", link, direction)], tool="tc")
