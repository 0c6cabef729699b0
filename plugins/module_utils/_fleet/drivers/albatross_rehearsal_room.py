# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether an albatross has room for a rehearsal, and what forbids one: pure, from what it told.

The driver asks itself before anything is begun; a plan, which is made elsewhere, is told what the node found out, and
says the same in the same words.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Optional

from ..albatross.client import Client
from ..albatross.names import ROOT
from ..albatross.records import Policy
from ..model import Release
from ..runtime.declared_quarantine import why_no_quarantine
from ..runtime.ip_command import program
from .albatross_interfaces import sees_others
from .albatross_place import Place
from .albatross_refusals import refusals_of_two_policies
from .albatross_running import Running, wanted

ELSEWHERE = "its albatross is asked over TLS, and the quarantine bridge is on that machine"
"""Why nothing can be asked over the network of what is rehearsed there."""


@dataclass(frozen=True)
class Room:
    """What one path of an albatross has left beside what runs, and what its quarantine bridge is like."""

    own: Optional[Policy] = None
    """The policy of the path."""
    machine: Optional[Policy] = None
    """The root's: what the machine has. A tenant is not told it."""
    others: int = 0
    """Unikernels in and below the path; what is to be replaced among them, since it goes on running."""
    used_mib: int = 0
    """Memory of those."""
    faults: tuple[str, ...] = ()
    """What is wrong with the quarantine bridge, in clauses."""
    blind: Optional[str] = None
    """Why nothing can be asked over the network of what is rehearsed there; None: it can."""


def room_of(place: Place, client: Client) -> Room:
    """What there is now. DriverError when albatross cannot be asked."""
    path = place.name(None)
    # Over TLS only what lies below the certificate's path may be asked for.
    policies = {entry.name.path: entry.policy for entry in client.policies(path if place.address is not None else ROOT)}
    running = client.unikernels(path)
    blind = _why_blind(place)
    faults: tuple[str, ...] = ()
    if blind is None and place.quarantine_bridge is not None:
        faults = tuple(why_no_quarantine(place.quarantine_bridge))
    return Room(
        own=policies.get(place.labels),
        machine=policies.get(()),
        others=len(running),
        used_mib=sum(one.info.memory_mib for one in running),
        faults=faults,
        blind=blind,
    )


def _why_blind(place: Place) -> Optional[str]:
    if place.address is not None:
        return ELSEWHERE
    if program("ip") is None:
        return "the program ip of iproute2, by which its quarantine bridge would be reached, is not on this machine"
    if not may_make_interfaces():
        return "only root can reach what is on its quarantine bridge"
    if sees_others(place):
        return "its albatross is in another network namespace, and its quarantine bridge with it"
    return None


def may_make_interfaces() -> bool:
    """CAP_NET_ADMIN and what else it takes: root, who has not given it away."""
    with suppress(OSError, ValueError), open("/proc/thread-self/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith("CapEff:"):
                effective = int(line.split()[1], 16)
                return bool(effective >> _NET_ADMIN & 1) and bool(effective >> _SYS_ADMIN & 1)
    return False


_NET_ADMIN, _SYS_ADMIN = 12, 21
"""Bits of capabilities(7)."""


def rehearsed(name: str, place: Place, release: Release) -> Running:
    """What it runs as in its rehearsal: as in production, but for its bridge. It is never started again by itself."""
    running = wanted(name, place, release)
    on = place.quarantine_bridge
    networks = running.networks if on is None else tuple(replace(one, bridge=on) for one in running.networks)
    return replace(running, networks=networks, restart=False, restart_codes=())


def refusals_of_rehearsal(name: str, place: Place, release: Release, room: Room) -> list[str]:
    """What forbids it, in clauses. The release may otherwise run there."""
    configuration = release.configuration
    if configuration.networks and place.quarantine_bridge is None:
        return [
            "no quarantine bridge is declared for it (albatross: quarantine_bridge), and albatross puts nothing on a "
            "bridge that is made for it later"
        ]
    reasons = []
    if place.quarantine_bridge in [network.bridge for network in configuration.networks]:
        reasons.append(f"its quarantine bridge {place.quarantine_bridge} is a bridge that it serves on")
    if configuration.block_devices:
        shared = ", ".join(device.name for device in configuration.block_devices)
        reasons.append(f"it would share its block devices ({shared}) with the one that runs: albatross copies none")
    if configuration.networks:
        reasons += room.faults
    running = rehearsed(name, place, release)
    return reasons + refusals_of_two_policies(running, place.labels, room.own, room.machine, room.others, room.used_mib)


def unseen(room: Room, networks: Sequence[object]) -> Optional[str]:
    """Why no check that needs the network can be made of it."""
    return room.blind if networks else "it has no network"
