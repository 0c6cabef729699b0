# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module ``guard``: the guard and its units on a node, for good."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import DriverError, FleetError
from ..layout import NodeLayout
from ..releases.guard_setup import Setup, found, is_current, remains, stop_everything, take_away, wanted
from ..releases.node import local_node
from ..runtime.choice import this_machine, uses_systemd
from . import options
from .by_guard import set_up

ARGUMENTS = (
    options.ROOT,
    options.Option("state", default="present", choices=("present", "absent")),
    options.Option("force", "bool", default=False),
)


def set_guard(parameters: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The module's result."""
    layout = NodeLayout(Path(parameters["root"]))
    if not uses_systemd(this_machine()):
        raise DriverError(
            "The guard's units need systemd as process 1, and root. Nothing was changed. Without them each trial is "
            "still guarded, by a process of its own; but nothing is started at boot."
        )
    if parameters["state"] == "absent":
        return _absent(layout, parameters["force"], check_mode)
    before, after = found(layout), wanted(layout)
    changed = before != after or not is_current(layout)
    if changed and not check_mode:
        set_up(layout)
    return _result(changed, before, after)


def _absent(layout: NodeLayout, force: bool, check_mode: bool) -> dict[str, Any]:
    before = found(layout)
    node = local_node(layout)
    still = remains(node)
    if still and not force:
        raise FleetError(
            f"This node still has unikernels: {', '.join(still)}. Nothing was changed. Remove them first "
            "(unikernel.fleet.unikernel with state absent), or say force: true, which stops them all."
        )
    changed = bool(before.units or before.version or before.enabled or still)
    if changed and not check_mode:
        stop_everything(node)
        take_away(layout)
    return _result(changed, before, Setup("", {}, ()))


def _result(changed: bool, before: Setup, after: Setup) -> dict[str, Any]:
    names = sorted({*before.units, *after.units})
    differing = [name for name in names if before.units.get(name) != after.units.get(name)]
    return {
        "changed": changed,
        "version": after.version,
        "units": sorted(after.units),
        "enabled": list(after.enabled),
        "diff": [
            {
                "before_header": name,
                "after_header": name,
                "before": before.units.get(name, ""),
                "after": after.units.get(name, ""),
            }
            for name in differing
        ]
        + [{"before": _line(before), "after": _line(after)}],
    }


def _line(setup: Setup) -> str:
    return f"guard {setup.version or 'absent'}; enabled: {', '.join(setup.enabled) or 'nothing'}\n"
