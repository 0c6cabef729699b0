#!/usr/bin/python
# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: declared_info
short_description: Read which unikernels the inventory declares
version_added: 0.1.0
description:
  - Reads, on the controller and in one pass, which unikernels of this play are declared, and chooses for every node
    one of them through which the node can be asked what runs there.
  - This is the first step of a plan. Templates are evaluated only where a variable holds one, so that a thousand
    unikernels take about a second.
  - Warns where the group is empty or not there, and where a node names a state folder (C(unikernel_root) or
    C(node_root)) and unikernels on it name none, since it does not count for them.
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
  group:
    description:
      - The inventory group whose hosts are unikernels.
    type: str
    default: unikernels
  nodes_group:
    description:
      - The inventory group of nodes. Those on which nothing is declared are asked too, unless the run is limited.
    type: str
    default: unikernel_nodes
seealso:
  - module: unikernel.fleet.plan
"""

EXAMPLES = r"""
- name: Read what is declared
  unikernel.fleet.declared_info:
  run_once: true
  delegate_to: localhost
  delegate_facts: true
"""

RETURN = r"""
hosts:
  description: The unikernels of this play, by their names in the inventory.
  type: list
  elements: str
  returned: success
  sample: [www, dns]
asked:
  description: The hosts through which nodes are to be asked, and the nodes.
  type: dict
  returned: success
  sample: {"www": "node1"}
roots:
  description: The state folder that each of these is to be asked about.
  type: dict
  returned: success
  sample: {"www": "/var/lib/unikernel-fleet"}
names:
  description: For each of these, the names of what should be there.
  type: dict
  returned: success
  sample: {"www": ["www"]}
elsewhere:
  description:
    - Under C(--limit), the nodes that nothing of this run is declared for. They are to be asked only about what is not
      where it should be, because it may be moved.
  type: list
  elements: dict
  returned: success
  sample: [{"node": "node2", "root": "/var/lib/unikernel-fleet"}]
others:
  description: Under C(--limit), what is declared outside of this run, by node.
  type: dict
  returned: success
  sample: {"node1": ["dns"]}
run:
  description: Who runs this, and an identifier of the run, for the histories on the nodes.
  type: dict
  returned: success
  sample: {"who": "hannes@desk", "id": "1b7a5a0f2c44"}
serial:
  description: How many unikernels are changed at once, from the variable C(unikernel_fleet_serial).
  type: raw
  returned: success
  sample: [1, "25%", "100%"]
max_fail_percentage:
  description: How many of a batch may fail before the rollout stops, from C(unikernel_fleet_max_fail_percentage).
  type: raw
  returned: success
  sample: 0
ansible_facts:
  description: The same as the fact C(unikernel_fleet_declared).
  type: dict
  returned: success
  sample: {"unikernel_fleet_declared": {"hosts": ["www"], "asked": {"www": "node1"}}}
"""
