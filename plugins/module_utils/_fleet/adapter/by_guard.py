# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the installed guard answers in the place of a module: ``guard.pyz answer``.

It runs the very function that the module runs. Nothing is packed, sent or compiled for it, and that is most of what a
run of a module costs. It answers only to a controller that has the very same code, and does nothing for another.

A guard is installed from the files that a module brings along to the node. So whoever installs one does it through
here, and this file, with all that it needs to answer, is among them.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from ..checks.model import CheckSpec
from ..layout import NodeLayout
from ..releases.guard_sources import is_of
from .failing import failing

BEGUN = "unikernel.fleet begins"
"""Printed before anything is done: where it is missing, nothing was."""

ANSWER = "unikernel.fleet answers: "
"""Before the answer, for a shell may print other things to the same place."""

STANDARD_INPUT = "-"
"""In the place of the question: it comes from there."""

OTHER_CODE = 3
"""Exit status of a guard that is not of the code of whoever asks. Nothing was done then."""


def main(argv: Sequence[str]) -> int:
    """``answer MODULE QUESTION SEALS``. Exit status 0: one line with the result was printed, be it a refusal."""
    _unused, module, given, asked_by = argv
    if not is_of(asked_by.split(",")):
        return OTHER_CODE
    # A question that was cut off is no JSON.
    asked = json.loads(sys.stdin.read() if given == STANDARD_INPUT else given)
    sys.stdout.write(f"{BEGUN}\n")
    sys.stdout.flush()
    said = answer(module, asked["parameters"], asked["check_mode"])
    sys.stdout.write(f"{ANSWER}{json.dumps(said)}\n")
    return 0


def answer(module: str, parameters: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The module's result for parameters that are complete and of the right types."""
    try:
        with failing(_Failing()):
            return ANSWERED[module](parameters, check_mode)
    except _Failed as failed:
        return failed.result
    except Exception as error:  # as a module that ends so
        msg = f"The guard met an error that nobody foresaw: {type(error).__name__}: {error}. What was begun is settled "
        msg += "by the next run. Please report this."
        return {"failed": True, "msg": msg, "error": type(error).__name__, "exception": traceback.format_exc()}


def _unikernel_info(parameters: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    from .unikernel_info import inform

    return inform(parameters)


def _liveliness(parameters: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    from .liveliness import judge

    return judge(parameters)


def _release(parameters: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    from .release import change_release

    return change_release(parameters, check_mode)


def _unikernel(parameters: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    from .unikernel import declare, warnings_of

    result = declare(parameters, check_mode)
    return {**result, "warnings": warnings_of(result)}


def _image(parameters: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    from .image import bring_or_prune

    return bring_or_prune(parameters, check_mode)


ANSWERED: Mapping[str, Callable[[Mapping[str, Any], bool], dict[str, Any]]] = {
    "unikernel_info": _unikernel_info,
    "liveliness": _liveliness,
    "release": _release,
    "unikernel": _unikernel,
    "image": _image,
}


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
