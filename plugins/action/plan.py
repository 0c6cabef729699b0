# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action ``plan``: one comparison of everything that is declared, built and running."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.build_info import (
    argument_spec,
    look_up_builds,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.declared import (
    Lookups,
    lookups_of,
    read_declarations,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.declared_trial import (
    TRIAL_VARIABLES,
    faulty_trials,
    unguarded_by_choice,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.host_variables import variables_reader
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.node_answers import (
    read_answers,
    with_answers_from_elsewhere,
    without,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.options import PLAN_VARIABLES
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.plan_result import (
    plan_data,
    plan_for_plays,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.plan_text import plan_text
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.rollout import (
    ROLLOUT_VARIABLES,
    rollout,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.this_run import this_run
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.durable import write_durably
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import FleetError
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.plan import plan, with_faults, with_frozen

FACT = "unikernel_fleet_plan"

ARGUMENTS = {
    "asked": {"type": "dict", "required": True},
    "roots": {"type": "dict", "default": {}},
    "others": {"type": "dict", "default": {}},
    "hosts": {"type": "list", "elements": "str", "required": True},
    "answers": {"type": "str", "default": "unikernel_fleet_running"},
    "elsewhere": {"type": "str", "default": "unikernel_fleet_elsewhere"},
    "compare": {"type": "bool", "default": True},
    "remove": {"type": "bool", "default": False},
    "ignore_silent": {"type": "bool", "default": False},
    "show": {"type": "str", "choices": ["changes", "all", "nothing"], "default": "changes"},
    "json_path": {"type": "path"},
}


class ActionModule(ActionBase):
    """Reads the inventory and the nodes' answers, looks all builds up at once, and compares."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: Optional[str] = None, task_vars: Optional[dict[str, Any]] = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables: dict[str, Any] = task_vars or {}
        _unused, arguments = self.validate_argument_spec(ARGUMENTS)
        if arguments["remove"] and "ansible_limit" in variables:
            raise AnsibleActionFail(
                "What is not declared any more cannot be removed under --limit: a limited run does not see the whole "
                "inventory. Nothing was changed. Run without --limit, or without removal."
            )
        hostvars = variables["hostvars"]
        declarations = read_declarations(arguments["hosts"], variables_reader(hostvars, self._templar, PLAN_VARIABLES))
        answers = read_answers(arguments["asked"], arguments["answers"], hostvars.raw_get, arguments["roots"])
        answers = with_answers_from_elsewhere(answers, arguments["asked"], arguments["elsewhere"], hostvars.raw_get)
        answers = without(answers, arguments["others"])
        for node, why in answers.silent_elsewhere.items():
            Display().warning(f"Whether what is to be deployed runs on {node} already is not known: {why}")
        lookups = lookups_of(declarations, answers.running_sha256)
        builds = _look_up(lookups, arguments["compare"])
        silent = {**answers.silent_elsewhere, **answers.silent}
        made = plan(lookups.declared, builds, answers.reports, silent, arguments["remove"], arguments["ignore_silent"])
        trials = variables_reader(hostvars, self._templar, TRIAL_VARIABLES)
        made = unguarded_by_choice(with_faults(made, faulty_trials(made, trials)), trials)
        made = with_frozen(made, answers.frozen)
        if arguments["json_path"]:
            _write_json(Path(arguments["json_path"]).expanduser(), plan_data(made))
        if arguments["show"] != "nothing":
            Display().display("\n" + plan_text(made, verbose=arguments["show"] == "all"))
        proceeding = rollout(arguments["hosts"], variables_reader(hostvars, self._templar, ROLLOUT_VARIABLES))
        fact = {**plan_for_plays(made, answers.roots), **proceeding, "run": this_run()}
        result.update(changed=False, summary=made.summary, frozen=dict(made.frozen), ansible_facts={FACT: fact})
        return result


def _look_up(lookups: Lookups, compare: bool) -> Mapping[str, Any]:
    """All builds at once, here: a run of the module ``build_info`` would say the same half a second later."""
    if not lookups.builds:
        return {}
    parameters = {"sources": list(lookups.sources), "builds": list(lookups.builds), "compare": compare}
    checked = ArgumentSpecValidator(argument_spec()).validate(parameters)
    if checked.error_messages:
        raise AnsibleActionFail(f"unikernel_sources: {'; '.join(checked.error_messages)}. Nothing was changed.")
    try:
        builds: Mapping[str, Any] = look_up_builds(checked.validated_parameters)["builds"]
    except FleetError as error:
        raise AnsibleActionFail(str(error)) from error
    return builds


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
    try:
        write_durably(path, (json.dumps(data, indent=2, sort_keys=True) + "\n").encode("utf-8"), 0o644)
    except OSError as error:
        raise AnsibleActionFail(
            f"The plan cannot be written to {path}: {error.strerror}. Nothing was changed."
        ) from error
