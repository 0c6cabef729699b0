# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which way a release takes the place of another: pure, so that ``validate`` and ``swap`` say the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from ..model import Configuration, SwapMethod
from ..runtime.memory_room import Room


def obstacles_to_cut_over(
    configuration: Configuration,
    predecessors: Sequence[Configuration],
    memory_mib: Optional[int],
    room: Optional[Room],
) -> list[str]:
    """Why a release cannot come up beside those that run, in clauses; none: it can."""
    reasons = []
    if configuration.ready is None:
        reasons.append("no ready check is declared that would say when it may take over")
    if not configuration.networks:
        reasons.append("it has no networks of its own, and so no port that could be kept off its bridge")
    elif not any(network.addresses for network in configuration.networks):
        reasons.append("no network declares its addresses, so nobody knows from where to look at it off its bridge")
    disks = {device.path for other in predecessors for device in other.block_devices}
    shared = sorted(str(device.path) for device in configuration.block_devices if device.path in disks)
    if shared:
        reasons.append(f"the one that runs uses {', '.join(shared)} as well, and two at a time must not")
    if memory_mib is not None and room is not None and memory_mib > room.free_mib:
        reasons.append(f"beside the one that runs it needs {memory_mib} MiB, and only {room}")
    return reasons


def remarks_on_method(configuration: Configuration, obstacles: Sequence[str]) -> tuple[str, ...]:
    """Why it is not cut over to, where that was meant: else nobody declares a ready check."""
    if configuration.swap is not SwapMethod.AUTO or configuration.ready is None:
        return ()
    return tuple(f"it is swapped by stop_start and not by cut_over: {obstacle}" for obstacle in obstacles)


def cuts_over(configuration: Configuration, obstacles: Sequence[str]) -> bool:
    """Whether it is to be done so; ``auto`` takes the other way where there is an obstacle."""
    return configuration.swap is not SwapMethod.STOP_START and not obstacles
