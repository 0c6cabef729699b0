# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The node's guard as a shorter way to what the module ``unikernel_info`` says.

Nothing is packed, sent or compiled for it, which is most of what a run of a module costs. Whatever is not exactly the
answer of the same code counts as none, and the module is run instead.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from ..codec import encode
from ..errors import InvalidDeclaration
from ..layout import NodeLayout
from ..releases.guard_sources import is_of_this_library
from .albatross import places_of


def report_command(parameters: Mapping[str, Any]) -> Optional[str]:
    """The command line for a shell of the node; None where the module has to say what is wrong with the parameters."""
    try:
        layout = NodeLayout(Path(parameters["root"]))
    except InvalidDeclaration:
        return None
    words = [str(layout.guard), "--root", str(layout.root), "report"]
    if parameters["names"] is not None:
        words += ["--names", json.dumps(parameters["names"])]
    if parameters.get("albatross"):
        try:
            places = places_of(parameters["albatross"])
        except InvalidDeclaration:
            return None
        words += ["--albatross", json.dumps({name: encode(place) for name, place in places.items()})]
    words += ["--history", str(parameters["history"]), "--console", str(parameters["console"])]
    return shlex.join(words)


def report_from(output: str) -> Optional[dict[str, Any]]:
    """The module's result from what the guard printed; None when it is not an answer of this library's code."""
    try:
        said = json.loads(output)
    except ValueError:
        return None
    if not isinstance(said, dict):
        return None
    sources = said.pop("sources", None)
    if not isinstance(sources, dict) or not is_of_this_library(sources):
        return None
    return {"changed": False, **said}
