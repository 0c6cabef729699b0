# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action ``declared_info``: what the inventory declares, and through which hosts the nodes are to be asked."""

from __future__ import annotations

from typing import Any, Optional

from ansible.plugins.action import ActionBase

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.declared import (
    read_declarations,
    representatives,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.host_variables import variables_reader
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.options import PLACE_VARIABLES

FACT = "unikernel_fleet_declared"

ARGUMENTS = {
    "group": {"type": "str", "default": "unikernels"},
    "nodes_group": {"type": "str", "default": "unikernel_nodes"},
}


class ActionModule(ActionBase):  # type: ignore[misc]
    """Reads the inventory on the controller; no host is contacted."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: Optional[str] = None, task_vars: Optional[dict[str, Any]] = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables: dict[str, Any] = task_vars or {}
        _, arguments = self.validate_argument_spec(ARGUMENTS)
        groups = variables["groups"]
        members = set(groups.get(arguments["group"], ()))
        hosts = [host for host in variables["ansible_play_hosts_all"] if host in members]
        declarations = read_declarations(hosts, variables_reader(variables["hostvars"], self._templar, PLACE_VARIABLES))
        asked = representatives(declarations)
        if "ansible_limit" not in variables:
            # Nodes on which nothing is declared may still run what was declared once. Under --limit they are no
            # hosts of the play, and what is left on them is nobody's business.
            nodes = groups.get(arguments["nodes_group"], ())
            asked.update({node: node for node in nodes if node not in asked.values()})
        declared = {"hosts": hosts, "asked": asked}
        result.update(changed=False, ansible_facts={FACT: declared}, **declared)
        return result
