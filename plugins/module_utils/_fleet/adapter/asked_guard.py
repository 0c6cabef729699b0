# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The node's guard as a shorter way to what a module would say, as seen from the controller.

The guard answers only where it is of the very code that asks. Where it does not, the module is run instead.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from ..errors import InvalidDeclaration
from ..layout import NodeLayout
from ..releases.guard_sources import library_sources, seals
from .by_guard import ANSWER, ANSWERED, BEGUN, STANDARD_INPUT
from .options import Option

LONGEST_COMMAND = 65536
"""Linux takes 128 KiB for one word of a command line."""
WITHOUT_SECRETS = frozenset({"unikernel_info", "liveliness", "release"})
"""Modules whose parameters hold none, but for those of checks."""


@dataclass(frozen=True)
class Question:
    """What a module would be run for."""

    module: str
    parameters: Mapping[str, Any]
    check_mode: bool

    def asked(self, by_input: bool) -> Optional[Asked]:
        """How the guard is asked, through its standard input where that is possible; None where it cannot be.

        A command line can be read by every user of the node, so what may hold a secret never goes that way.
        """
        if self.module not in ANSWERED or not (by_input or self._may_be_read_by_all):
            return None
        try:
            layout = NodeLayout(Path(self.parameters["root"]))
            text = json.dumps({"parameters": self.parameters, "check_mode": self.check_mode})
        except (InvalidDeclaration, TypeError, ValueError):
            return None  # Ansible has its own way to send what YAML knows and JSON does not, dates for instance
        given = STANDARD_INPUT if by_input else text
        command = shlex.join([str(layout.guard), "answer", self.module, given, ",".join(seals(library_sources()))])
        return Asked(command, text.encode("utf-8") if by_input else None) if len(command) <= LONGEST_COMMAND else None

    def result_from(self, status: int, output: str, complaint: str = "") -> Optional[dict[str, Any]]:
        """The module's result from what was printed; None where nothing was done, or all of it may be done again."""
        lines = output.splitlines()
        for line in reversed(lines):
            if line.startswith(ANSWER):
                said = _decoded(line[len(ANSWER) :])
                if said is not None:
                    return said
        begun = status == 0 or BEGUN in lines
        if not begun or self._may_be_done_twice:
            return None
        why = ": ".join((f"exit status {status}", *filter(None, [" ".join(complaint.split())[-500:]])))
        return {
            "failed": True,
            "changed": True,
            "msg": f"The guard on the node began, and its answer was lost ({why}). What was begun is settled by the "
            "guard and by the next run. See the state with unikernel.fleet.unikernel_info, then run this again.",
            "error": "AnswerLost",
        }

    @property
    def _may_be_read_by_all(self) -> bool:
        return self.module in WITHOUT_SECRETS and not self.parameters.get("checks")

    @property
    def _may_be_done_twice(self) -> bool:
        """Going back to "the release before" a second time goes back one more, and a trial that was begun hinders
        another one."""
        if self.check_mode:
            return True
        if self.module == "release" and self.parameters["state"] == "rolled_back":
            return self.parameters["trial"] is not None or self.parameters["to"] is not None
        return self.module != "unikernel"


@dataclass(frozen=True)
class Asked:
    """For a shell of the node."""

    command: str
    given: Optional[bytes]
    """On standard input."""


def means_home_or_variables(arguments: Mapping[str, Any], options: Sequence[Option]) -> bool:
    """Whether a path among them is only known on the node, as whoever runs the module there (``~``, ``$HOME``)."""
    return any(path.startswith("~") or "$" in path for path in _paths(arguments, options))


def _paths(arguments: Mapping[str, Any], options: Sequence[Option]) -> Iterator[str]:
    for option in options:
        given = arguments.get(option.name)
        for item in given if isinstance(given, (list, tuple)) else (given,):
            if isinstance(item, Mapping):
                yield from _paths(item, option.options)
            elif isinstance(item, str) and "path" in (option.type, option.elements):
                yield item


def _decoded(text: str) -> Optional[dict[str, Any]]:
    try:
        said = json.loads(text)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None
