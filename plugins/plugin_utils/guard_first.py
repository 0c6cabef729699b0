# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's side of the modules for which the guard on the node can answer."""

from __future__ import annotations

from typing import Any, ClassVar, Optional

from ansible.plugins.action import ActionBase

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.asked_guard import (
    command_for,
    result_from,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.options import Option, specs


class GuardFirstAction(ActionBase):
    """Asks the guard; where there is none, or one of other code, or no short question, it runs the module."""

    _supports_check_mode = True
    _supports_async = True

    module: ClassVar[str]
    arguments: ClassVar[tuple[Option, ...]]

    def run(self, tmp: Optional[str] = None, task_vars: Optional[dict[str, Any]] = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _unused, parameters = self.validate_argument_spec(specs(self.arguments))
        result = None if self._task.async_val else self._answer(parameters)
        if result is not None:
            return result
        answer: dict[str, Any] = self._execute_module(
            module_name=f"unikernel.fleet.{self.module}", task_vars=task_vars, wrap_async=self._task.async_val
        )
        return answer

    def _answer(self, parameters: dict[str, Any]) -> Optional[dict[str, Any]]:
        command = command_for(self.module, parameters, self._task.check_mode)
        if command is None:
            return None
        said = self._low_level_execute_command(command)
        return result_from(said["stdout"]) if said["rc"] == 0 else None
