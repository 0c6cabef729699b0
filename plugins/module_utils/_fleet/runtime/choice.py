# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which supervisor keeps the instances of this machine."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..layout import NodeLayout
from .supervisor import Supervisor


@dataclass(frozen=True)
class Machine:
    """What the choice rests on."""

    root: bool
    """We are: only root's units may bind, tap and sandbox as ours do."""
    first_process: str
    """Name of process 1."""
    reachable: bool
    """systemctl is there, and what it speaks to."""


def this_machine() -> Machine:
    try:
        first = Path("/proc/1/comm").read_text(encoding="utf-8").strip()
    except OSError:
        first = ""
    reachable = shutil.which("systemctl") is not None and os.path.exists("/run/systemd/private")
    return Machine(root=os.geteuid() == 0, first_process=first, reachable=reachable)


def uses_systemd(machine: Machine) -> bool:
    """A folder /run/systemd alone says nothing: containers made from a full system have it, and another process 1."""
    return machine.root and machine.first_process == "systemd" and machine.reachable


def choose(layout: NodeLayout, kind: str) -> Supervisor:
    """The supervisor for a driver's instances: systemd where it runs the machine and we are root, else detached."""
    # Imported when chosen: whoever only looks, as the plan does on every node, pays for what it compiles.
    if kind and uses_systemd(this_machine()):
        from .systemd import SystemdSupervisor

        return SystemdSupervisor(layout, kind)
    from .detached import DetachedSupervisor

    return DetachedSupervisor()
