# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a rollout proceeds. A play's ``serial`` cannot see variables of the inventory; a fact of localhost it can."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

SERIAL = "unikernel_fleet_serial"
MAX_FAIL_PERCENTAGE = "unikernel_fleet_max_fail_percentage"
ROLLOUT_VARIABLES = (SERIAL, MAX_FAIL_PERCENTAGE)


def rollout(hosts: Sequence[str], variables_of: Callable[[str], Mapping[str, Any]]) -> dict[str, Any]:
    """``serial`` and ``max_fail_percentage``, as the first host has them: they are meant for the whole fleet."""
    variables = variables_of(hosts[0]) if hosts else {}
    return {
        "serial": variables.get(SERIAL, "100%"),
        "max_fail_percentage": variables.get(MAX_FAIL_PERCENTAGE, 0),
    }
