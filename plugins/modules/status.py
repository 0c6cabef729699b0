#!/usr/bin/python
# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: status
short_description: Show what runs
version_added: 0.1.0
description:
  - Shows in the terminal what the nodes reported of every unikernel, with its history, and fails when something that is
    declared is not there, does not run, could not be asked for, or has drifted from its recorded release.
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
      - The unikernels to show, as M(unikernel.fleet.declared_info) returned them.
    type: list
    elements: str
    required: true
  asked:
    description:
      - The hosts through which nodes were asked, as M(unikernel.fleet.declared_info) returned them.
    type: dict
    required: true
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
seealso:
  - module: unikernel.fleet.unikernel_info
"""

EXAMPLES = r"""
- name: Show what runs
  unikernel.fleet.status:
    hosts: "{{ hostvars.localhost.ansible_facts.unikernel_fleet_declared.hosts }}"
    asked: "{{ hostvars.localhost.ansible_facts.unikernel_fleet_declared.asked }}"
  run_once: true
  delegate_to: localhost
"""

RETURN = r"""
unikernels:
  description: One entry for each unikernel.
  type: list
  elements: dict
  returned: always
  sample: [{"name": "www", "node": "node1", "trouble": null}]
frozen:
  description: The nodes on which all changes are frozen, and the reason that each of them gives.
  type: dict
  returned: always
  sample: {}
"""
