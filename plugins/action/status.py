# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action ``status``: what runs, as a person reads it in a terminal."""

from __future__ import annotations

from typing import Any, Optional

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.declared import read_declarations
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.host_variables import variables_reader
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.node_answers import (
    read_answers,
    without,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.options import PLACE_VARIABLES
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.status_text import status_of, status_text

ARGUMENTS = {
    "asked": {"type": "dict", "required": True},
    "hosts": {"type": "list", "elements": "str", "required": True},
    "others": {"type": "dict", "default": {}},
    "answers": {"type": "str", "default": "unikernel_fleet_running"},
}


class ActionModule(ActionBase):
    """Collects what the nodes answered, shows it, and fails when something declared does not run as recorded."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: Optional[str] = None, task_vars: Optional[dict[str, Any]] = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables: dict[str, Any] = task_vars or {}
        _unused, arguments = self.validate_argument_spec(ARGUMENTS)
        hostvars = variables["hostvars"]
        declarations = read_declarations(arguments["hosts"], variables_reader(hostvars, self._templar, PLACE_VARIABLES))
        answers = without(read_answers(arguments["asked"], arguments["answers"], hostvars.raw_get), arguments["others"])
        status = status_of([one.declared for one in declarations], answers)
        Display().display("\n" + status_text(status, answers.frozen))
        troubled = [one for one in status if one.trouble]
        result.update(changed=False, unikernels=[one.as_data() for one in status], frozen=answers.frozen)
        if troubled:
            result.update(failed=True, msg="; ".join(f"{one.name} on {one.node}: {one.trouble}" for one in troubled))
        return result
