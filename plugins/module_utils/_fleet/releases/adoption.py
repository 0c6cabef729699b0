# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Adoption: what runs without a release of ours becomes one, the one that is gone back to from then on."""

from __future__ import annotations

from collections.abc import Sequence

from ..drivers.protocol import Driver
from . import steps
from .state import Phase
from .unikernel import Unikernel


def adopt(unikernel: Unikernel) -> None:
    """What runs of a unikernel that has no state yet."""
    _adopt_from(unikernel, unikernel.node.drivers_of(unikernel.state))


def adopt_from_others(unikernel: Unikernel) -> None:
    """Where others start things as well, there may be something although we know that nothing of ours is there."""
    state = unikernel.state
    if state.current is None and state.phase is Phase.STABLE:
        drivers = unikernel.node.drivers_of(state)
        _adopt_from(unikernel, [driver for driver in drivers if driver.capabilities.shared])


def _adopt_from(unikernel: Unikernel, drivers: Sequence[Driver]) -> None:
    node = unikernel.node
    for driver in drivers:
        release = unikernel.discovered(driver)
        if release is not None:
            boot_id = node.now().boot_id
            unikernel.write(steps.adopted(unikernel.state, release, node.clock.wall(), boot_id, unikernel.holder))
            return
