# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module ``unikernel_info``: what a node says, in one call for all of its unikernels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import Inhibited
from ..layout import NodeLayout
from ..model import checked_name
from ..releases.node import Node, local_node
from ..releases.report import known_names, report
from . import options

ARGUMENTS = (
    options.ROOT,
    options.Option("names", "list", elements="str"),
    options.Option("history", "int", default=0),
    options.Option("console", "int", default=0),
)


def inform(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The module's result."""
    node = local_node(NodeLayout(Path(parameters["root"])))
    names = parameters["names"]
    names = known_names(node) if names is None else tuple(checked_name(name) for name in names)
    unikernels = {name: report(node, name, parameters["history"], parameters["console"]) for name in names}
    return {
        "changed": False,
        "unikernels": unikernels,
        "node": {"inhibited": _inhibited(node), "boot_id": node.clock.boot_id()},
    }


def _inhibited(node: Node) -> Any:
    try:
        node.refuse_if_inhibited()
    except Inhibited as refusal:
        return str(refusal)
    return None
