# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action ``declared_info``: what the inventory declares, and through which hosts the nodes are to be asked."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Optional

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.declared import (
    names_asked_for,
    names_by_node,
    places_to_ask,
    read_declarations,
    representatives,
    the_usual_root,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.declared_remarks import (
    ROOT_VARIABLES,
    ignored_roots,
    root_named_by,
    why_nothing_is_declared,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.host_variables import variables_reader
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.options import PLACE_VARIABLES, PREFIX
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.rollout import (
    ROLLOUT_VARIABLES,
    rollout,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.this_run import this_run
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import InvalidDeclaration

FACT = "unikernel_fleet_declared"

ARGUMENTS = {
    "group": {"type": "str", "default": "unikernels"},
    "nodes_group": {"type": "str", "default": "unikernel_nodes"},
}


class ActionModule(ActionBase):
    """Reads the inventory on the controller; no host is contacted."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: Optional[str] = None, task_vars: Optional[dict[str, Any]] = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables: dict[str, Any] = task_vars or {}
        _unused, arguments = self.validate_argument_spec(ARGUMENTS)
        groups = variables["groups"]
        members = set(groups.get(arguments["group"], ()))
        hosts = [host for host in variables["ansible_play_hosts_all"] if host in members]
        variables_of = variables_reader(variables["hostvars"], self._templar, PLACE_VARIABLES)
        declarations = read_declarations(hosts, variables_of)
        chosen = representatives(declarations)
        asked = {host: node for host, (node, _unused) in chosen.items()}
        roots = {host: root for host, (_unused, root) in chosen.items()}
        nodes = [node for node in groups.get(arguments["nodes_group"], ()) if node not in asked.values()]
        usual = the_usual_root(declarations)
        elsewhere = {node: str(variables_of(node).get(PREFIX + "root") or usual) for node in nodes}
        if "ansible_limit" not in variables:
            # Nodes on which nothing is declared may still run what was declared once. Under --limit they are no
            # hosts of the play; they are asked only about what is to be there and is not.
            asked.update({node: node for node in elsewhere})
            roots.update(elsewhere)
            elsewhere = {}
        nothing = why_nothing_is_declared(groups, arguments["group"])
        roots_named = variables_reader(variables["hostvars"], self._templar, ROOT_VARIABLES)

        def root_of(node: str) -> Optional[str]:
            # It need not be a host of the inventory, and its variables may be none that can be used before it is asked.
            with suppress(InvalidDeclaration):
                return root_named_by(roots_named(node)) if node in variables["hostvars"] else None
            return None

        for remark in (*([nothing] if nothing else []), *ignored_roots(declarations, root_of)):
            Display().warning(remark)
        declared = {
            "hosts": hosts,
            "asked": asked,
            "roots": roots,
            "names": names_asked_for(declarations),
            "albatross": places_to_ask(declarations),
            "others": names_by_node(read_declarations(sorted(members.difference(hosts)), variables_of)),
            "elsewhere": [{"node": node, "root": root} for node, root in elsewhere.items()],
            "run": this_run(),
            **rollout(hosts, variables_reader(variables["hostvars"], self._templar, ROLLOUT_VARIABLES)),
        }
        result.update(changed=False, ansible_facts={FACT: declared}, **declared)
        return result
