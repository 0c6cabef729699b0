# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether somebody is sure to end a trial, whoever is gone by then.

What runs on this machine ends with it, and whoever opens it after the next boot goes back. An albatross that is asked
over TLS runs on: so there it counts only whether a guard comes up again with this machine.
"""

from __future__ import annotations

from typing import Optional

from ..drivers.albatross_place import Places
from ..layout import NodeLayout
from .node import Node

GUARD_IS_OFF = "its guard was chosen off (guard: false): what is on trial stays until the next run, if this one ends"


def why_unguarded(node: Node, name: str) -> Optional[str]:
    """Why a trial of this unikernel would be ended by nobody if this machine went away, in a clause."""
    place = (node.places or Places(node.layout)).of(name)
    if place is None or place.address is None or comes_up_again(node.layout):
        return None
    return (
        f"its albatross is asked over TLS ({place.server}), and no guard is installed on the machine that asks (role "
        "node brings it): if that goes away in a trial, what is on trial stays until the next run"
    )


def comes_up_again(layout: NodeLayout) -> bool:
    """Whether this machine settles what is open after its next boot, and every minute."""
    from .guard_setup import found
    from .guard_units import boot_service, sweep_timer

    return {boot_service(layout.root), sweep_timer(layout.root)} <= set(found(layout).enabled)
