# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's side of the modules for which the guard on the node can answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Optional

from ansible.module_utils.common.parameters import remove_values
from ansible.plugins.action import ActionBase

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.asked_guard import (
    Question,
    means_home_or_variables,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.hiding import secrets_of
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.options import Option, specs
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import MissingLibrary


class GuardFirstAction(ActionBase):
    """Asks the guard; where there is none, or one of other code, or no way to ask this, it runs the module."""

    _supports_check_mode = True
    _supports_async = True

    module: ClassVar[str]
    arguments: ClassVar[tuple[Option, ...]]
    required_if: ClassVar[Optional[Sequence[Sequence[Any]]]] = None

    def run(self, tmp: Optional[str] = None, task_vars: Optional[dict[str, Any]] = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        self._task.args = without_vault(self._task.args)
        _unused, parameters = self.validate_argument_spec(specs(self.arguments), required_if=self.required_if)
        return self.carried_out(parameters, task_vars)

    def carried_out(self, parameters: Mapping[str, Any], task_vars: Optional[dict[str, Any]]) -> dict[str, Any]:
        """The result of the task, whose parameters are complete and of the right types."""
        return self.answer(parameters, self._task.args, task_vars)

    def answer(
        self, parameters: Mapping[str, Any], arguments: Mapping[str, Any], task_vars: Optional[dict[str, Any]]
    ) -> dict[str, Any]:
        """The module's result for these parameters, of which the arguments are those that were given."""
        asks = not self._task.async_val and not means_home_or_variables(arguments, self.arguments)
        found = self._by_guard(parameters) if asks else None
        if found is not None:
            return found
        result: dict[str, Any] = self._execute_module(
            module_name=f"unikernel.fleet.{self.module}",
            module_args=dict(arguments),
            task_vars=task_vars,
            wrap_async=self._task.async_val,
        )
        return result

    def _by_guard(self, parameters: Mapping[str, Any]) -> Optional[dict[str, Any]]:
        question = Question(self.module, parameters, bool(self._task.check_mode))
        # A module is sent by standard input where pipelining is on, so a question can be too.
        asked = question.asked(by_input=self._is_pipelining_enabled("new"))
        if asked is None:
            return None
        command = f"{self._compute_environment_string()} {asked.command}".strip()
        said = self._low_level_execute_command(command, in_data=asked.given)
        result = question.result_from(said["rc"], said["stdout"], said.get("stderr", ""))
        # Its Python is that of who installed it; the one that this task names may have what is missing.
        if result is None or result.get("error") == MissingLibrary.__name__:
            return None
        return dict(remove_values(result, secrets_of(parameters, self.arguments)))


def without_vault(value: Any) -> Any:
    """The same with what a vault hides as plain text: before ansible-core 2.19 it comes as objects, which no option is
    a type of."""
    if getattr(value, "__ENCRYPTED__", False):
        return str(value)
    if isinstance(value, dict):
        return {key: without_vault(item) for key, item in value.items()}
    return [without_vault(item) for item in value] if isinstance(value, list) else value
