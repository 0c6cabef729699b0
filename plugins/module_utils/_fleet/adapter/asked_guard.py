# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The node's guard as a shorter way to what a module would say, as seen from the controller.

The guard answers only where it is of the very code that asks. Where it does not, the module is run instead; and since
an answer can also be lost on its way, the guard is only asked for what may be done twice.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from ..errors import InvalidDeclaration
from ..layout import NodeLayout
from ..releases.guard_sources import library_sources, seals
from .by_guard import ANSWER, ANSWERED

LONGEST_COMMAND = 65536
"""Linux takes 128 KiB for one word of a command line."""


def command_for(module: str, parameters: Mapping[str, Any], check_mode: bool) -> Optional[str]:
    """The command line for a shell of the node; None where the module has to be run.

    It can be read by every user of the node, so what may hold a secret never goes this way.
    """
    if module not in ANSWERED or parameters.get("checks") or not _may_be_done_twice(module, parameters):
        return None
    try:
        layout = NodeLayout(Path(parameters["root"]))
    except InvalidDeclaration:
        return None
    asked = json.dumps({"parameters": parameters, "check_mode": check_mode})
    command = shlex.join([str(layout.guard), "answer", module, asked, ",".join(seals(library_sources()))])
    return command if len(command) <= LONGEST_COMMAND else None


def _may_be_done_twice(module: str, parameters: Mapping[str, Any]) -> bool:
    """Going back to "the release before" a second time goes back one more."""
    if module != "release" or parameters["state"] != "rolled_back":
        return True
    return parameters["trial"] is not None or parameters["to"] is not None


def result_from(output: str) -> Optional[dict[str, Any]]:
    """The module's result from what was printed; None when there is no answer in it."""
    for line in reversed(output.splitlines()):
        if line.startswith(ANSWER):
            try:
                said = json.loads(line[len(ANSWER) :])
            except ValueError:
                return None
            return said if isinstance(said, dict) else None
    return None
