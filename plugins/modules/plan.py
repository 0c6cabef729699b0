#!/usr/bin/python
# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: plan
short_description: Compare what is declared with the builds there are and with what runs
version_added: 0.1.0
description:
  - Decides for every unikernel what is to be done about it, shows it in the terminal, and leaves it in the fact
    C(unikernel_fleet_plan) for the plays that follow.
  - All builds are looked up at once, as M(unikernel.fleet.build_info) does it, and nothing is run per unikernel.
  - What a source or a node did not answer is V(unknown), and never taken for unchanged.
  - It has nothing to do with changes; the playbook C(unikernel.fleet.deploy) carries a plan out.
author:
  - The unikernel.fleet authors (@unikernel-fleet)
extends_documentation_fragment:
  - unikernel.fleet.attributes
  - unikernel.fleet.attributes.info_module
  - unikernel.fleet.attributes.actiongroup_fleet
attributes:
  action:
    description: Runs on the controller; there is no module on the node.
    support: full
options:
  hosts:
    description:
      - The unikernels to plan for, as M(unikernel.fleet.declared_info) returned them.
    type: list
    elements: str
    required: true
  asked:
    description:
      - The hosts through which nodes were asked, as M(unikernel.fleet.declared_info) returned them.
    type: dict
    required: true
  roots:
    description:
      - The state folder that each of these hosts was asked about, as M(unikernel.fleet.declared_info) returned it. What
        is to be moved or removed is looked for there.
    type: dict
    default: {}
  others:
    description:
      - What is declared outside of this run, because C(--limit) leaves it out, by node; as
        M(unikernel.fleet.declared_info) returned it. It is neither shown nor touched.
    type: dict
    default: {}
  answers:
    description:
      - The name under which these hosts have registered the result of M(unikernel.fleet.unikernel_info).
    type: str
    default: unikernel_fleet_running
  elsewhere:
    description:
      - The name under which these hosts have registered what other nodes answered, in a loop over the C(elsewhere) of
        M(unikernel.fleet.declared_info), about what is declared and not there.
    type: str
    default: unikernel_fleet_elsewhere
  compare:
    description:
      - Whether to ask the sources what lies between the running and the new build.
    type: bool
    default: true
  remove:
    description:
      - Plan the removal of what runs on the nodes and is not declared any more. Refused under C(--limit).
    type: bool
    default: false
  ignore_silent:
    description:
      - Deploy what is not on its node even if it may still run on another node that did not answer. Otherwise it is
        V(unknown), because two copies of one service are worse than none.
    type: bool
    default: false
  show:
    description:
      - What to show in the terminal.
    type: str
    choices: [changes, all, nothing]
    default: changes
  json_path:
    description:
      - Write the plan to this file on the controller, as JSON.
    type: path
seealso:
  - module: unikernel.fleet.declared_info
  - module: unikernel.fleet.build_info
  - module: unikernel.fleet.unikernel_info
"""

EXAMPLES = r"""
- name: Compare
  unikernel.fleet.plan:
    hosts: "{{ hostvars.localhost.ansible_facts.unikernel_fleet_declared.hosts }}"
    asked: "{{ hostvars.localhost.ansible_facts.unikernel_fleet_declared.asked }}"
    roots: "{{ hostvars.localhost.ansible_facts.unikernel_fleet_declared.roots }}"
    json_path: plan.json
  run_once: true
  delegate_to: localhost
  delegate_facts: true
"""

RETURN = r"""
summary:
  description: How many unikernels there are of each planned action.
  type: dict
  returned: success
  sample: {"unchanged": 3, "update": 1, "unknown": 1}
frozen:
  description: The nodes on which all changes are frozen, and the reason that each of them gives.
  type: dict
  returned: success
  sample: {}
ansible_facts:
  description:
    - The fact C(unikernel_fleet_plan), with C(summary), C(changing) (the inventory names for the deployment play),
      C(by_host) (their entries), C(remove), C(unsatisfied) and C(run).
  type: dict
  returned: success
  sample: {"unikernel_fleet_plan": {"changing": ["www"], "summary": {"update": 1}}}
"""
