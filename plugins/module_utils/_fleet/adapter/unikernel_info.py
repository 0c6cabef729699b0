# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module ``unikernel_info``: what a node says, in one call for all of its unikernels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..layout import NodeLayout
from ..model import checked_name
from ..releases.node import local_node
from ..releases.report import node_report
from . import options
from .albatross import places_of

ARGUMENTS = (
    options.ROOT,
    options.Option("names", "list", elements="str"),
    options.Option("history", "int", default=0),
    options.Option("console", "int", default=0),
    options.Option("albatross", "dict"),
)


def inform(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The module's result."""
    node = local_node(NodeLayout(Path(parameters["root"])), places_of(parameters.get("albatross")), reports_only=True)
    names = parameters["names"]
    if names is not None:
        names = tuple(checked_name(name) for name in names)
    return {"changed": False, **node_report(node, names, parameters["history"], parameters["console"])}
