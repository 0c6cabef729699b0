# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the installed guard answers in the place of a module: ``guard.pyz answer MODULE PARAMETERS``.

It runs the very function that the module runs. Nothing is packed, sent or compiled for it, and that is most of what a
run of a module costs. With the result goes what tells the caller whether this is its own code.

A guard is installed from the files that a module brings along to the node. So whoever installs one does it through
here, and this file, with all that it needs to answer, is among them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from ..checks.model import CheckSpec
from ..layout import NodeLayout
from ..releases.guard_sources import own_checksums
from .failing import failing

ANSWERED = ("unikernel_info", "liveliness", "release")


def main(argv: Sequence[str]) -> int:
    """Exit status 0: one line of JSON was printed, a failed result included; anything else: no answer."""
    _unused, module, text = argv
    asked = json.loads(text)
    said = {"result": answer(module, asked["parameters"], asked["check_mode"]), "sources": own_checksums()}
    sys.stdout.write(json.dumps(said) + "\n")
    return 0


def answer(module: str, parameters: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The module's result for parameters that are complete and of the right types."""
    try:
        with failing(_Failing()):
            if module == "unikernel_info":
                from .unikernel_info import inform

                return inform(parameters)
            if module == "liveliness":
                from .liveliness import judge

                return judge(parameters)
            if module == "release":
                from .release import change_release

                return change_release(parameters, check_mode)
    except _Failed as failed:
        return failed.result
    raise ValueError(f"the guard does not answer for {module}")


def arm(layout: NodeLayout, name: str, trial: str, checks: Sequence[CheckSpec]) -> None:
    """See :func:`guard_install.arm`."""
    from ..releases import guard_install

    guard_install.arm(layout, name, trial, checks)


def set_up(layout: NodeLayout) -> None:
    """See :func:`guard_setup.set_up`."""
    from ..releases import guard_setup

    guard_setup.set_up(layout)


class _Failed(Exception):
    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__(result["msg"])
        self.result = result


class _Failing:
    """As much of AnsibleModule as is needed to fail."""

    def fail_json(self, msg: str, **kwargs: Any) -> NoReturn:
        raise _Failed({"failed": True, "changed": False, "msg": msg, **kwargs})
