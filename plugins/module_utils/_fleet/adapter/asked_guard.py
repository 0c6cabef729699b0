# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The node's guard as a shorter way to what a module would say, as seen from the controller.

Whatever is not exactly the answer of the same code counts as none, and the module is run instead. That is why only
modules that may be run twice are asked for this way.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from ..errors import InvalidDeclaration
from ..layout import NodeLayout
from ..releases.guard_sources import is_of_this_library
from .by_guard import ANSWERED

LONGEST_COMMAND = 65536
"""Linux takes 128 KiB for one word of a command line."""


def command_for(module: str, parameters: Mapping[str, Any], check_mode: bool) -> Optional[str]:
    """The command line for a shell of the node; None where the module has to be run.

    It can be read by every user of the node, so what may hold a secret never goes this way.
    """
    if module not in ANSWERED or parameters.get("checks"):
        return None
    try:
        layout = NodeLayout(Path(parameters["root"]))
    except InvalidDeclaration:
        return None
    asked = json.dumps({"parameters": parameters, "check_mode": check_mode})
    command = shlex.join([str(layout.guard), "answer", module, asked])
    return command if len(command) <= LONGEST_COMMAND else None


def result_from(output: str) -> Optional[dict[str, Any]]:
    """The module's result from what the guard printed; None when it is not an answer of this library's code."""
    try:
        said = json.loads(output)
    except ValueError:
        return None
    if not isinstance(said, dict):
        return None
    sources, result = said.get("sources"), said.get("result")
    if not isinstance(sources, dict) or not isinstance(result, dict) or not is_of_this_library(sources):
        return None
    return result
