# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What forbids a release as a process of this node, beside what it is and what it has: its networks, the memory that is
free, and the way in which it is to take over."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from ..layout import NodeLayout
from ..model import Release, SwapMethod
from ..runtime.bridge import missing_bridges
from ..runtime.ip_command import program
from ..runtime.ports import PortKind, faults_of_networks
from . import equipment
from .guest import Guest
from .process_disks import refusals_of_disks
from .process_instances import Instances
from .process_refusals import refusals_of_process
from .readiness import why_no_ready_check
from .swap_method import obstacles_to_cut_over, remarks_on_method


class Validation:
    """Of one release that is to run on this node."""

    def __init__(self, guest: Guest, layout: NodeLayout, instances: Instances, name: str, release: Release) -> None:
        self._guest = guest
        self._layout = layout
        self._instances = instances
        self._name = name
        self._release = release

    def reasons(self, image: Path) -> list[str]:
        """Against it, in clauses."""
        return [
            *refusals_of_process(self._release.configuration),
            *self._of_networks(),
            *refusals_of_disks(self._layout, self._name, self._release),
            *self._guest.refusals(self._release, image),
            *self._of_memory(),
            *self._of_method(),
        ]

    def remarks(self) -> tuple[str, ...]:
        """What forbids nothing and is good to know."""
        running = self._instances.of(self._name)
        if not any(i.alive and i.serving and i.release != self._release.number for i in running):
            return ()
        return remarks_on_method(self._release.configuration, self.obstacles())

    def obstacles(self) -> list[str]:
        """To its coming up beside what runs."""
        running = [self._instances.record_of(self._name, i.release) for i in self._instances.of(self._name) if i.alive]
        others = [other for other in running if other is not None and other.number != self._release.number]
        return obstacles_to_cut_over(
            equipment.located(self._layout, self._name, self._release).configuration,
            [equipment.located(self._layout, self._name, other).configuration for other in others],
            self._guest.memory_mib(self._release),
            self._instances.room(),
        )

    def _of_networks(self) -> list[str]:
        if not self._release.configuration.networks:
            return []
        if program("ip") is None or program("bridge") is None:
            return ["networks were declared, and iproute2 is not on this node (install the package iproute2)"]
        if os.geteuid() != 0:
            return ["networks were declared, and only root may make their ports (become: true)"]
        faults = faults_of_networks(self._release.configuration, self._guest.port_kind)
        if not faults:
            faults += missing_bridges(network.bridge for network in self._release.configuration.networks)
        if self._guest.port_kind is PortKind.TAP and not os.path.exists("/dev/net/tun"):
            faults.append("networks were declared, and there is no /dev/net/tun on this node (modprobe tun)")
        return faults

    def _of_memory(self) -> list[str]:
        wanted = self._guest.memory_mib(self._release)
        if wanted is None or wanted < 1:
            return []
        freed = sum(instance.memory_mib or 0.0 for instance in self._instances.of(self._name) if instance.alive)
        room = self._instances.room()
        if room is None or wanted <= room.free_mib + freed:
            return []
        return [f"it needs {wanted} MiB of memory, and only {replace(room, free_mib=room.free_mib + freed)}"]

    def _of_method(self) -> list[str]:
        configuration = self._release.configuration
        reason = None if configuration.ready is None else why_no_ready_check(configuration)
        if reason is not None:
            return [reason]
        if configuration.swap is not SwapMethod.CUT_OVER:
            return []
        return [f"swap: cut_over is not possible, {reason}" for reason in self.obstacles()]
