#!/usr/bin/python
# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bridges
short_description: Makes the bridges of a node that unikernels are plugged into
version_added: 0.1.0
description:
  - Makes declared bridges that are missing, now, and with role P(unikernel.fleet.node#role) at every boot.
  - A bridge that somebody else made is left alone, whatever it looks like. One that this module made is brought to what
    is declared, and removed when it is not declared any more.
  - Nothing else of the node's network is touched. An interface that carries addresses of the node itself is refused as
    a port.
author:
  - The unikernel.fleet authors (@unikernel-fleet)
extends_documentation_fragment:
  - unikernel.fleet.attributes
  - unikernel.fleet.attributes.actiongroup_fleet
  - unikernel.fleet.node
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  bridges:
    description:
      - All bridges that this module shall keep on the node.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Its name, of 1 to 15 characters.
        type: str
        required: true
      addresses:
        description: The node's own addresses on it, each with its prefix length.
        type: list
        elements: str
        default: []
      ports:
        description: Interfaces of the node that become ports of it.
        type: list
        elements: str
        default: []
      vlans:
        description: VLANs of interfaces of the node that become ports of it.
        type: list
        elements: dict
        default: []
        suboptions:
          interface:
            description: The interface that carries the VLAN.
            type: str
            required: true
          id:
            description: The number of the VLAN, V(1) to V(4094).
            type: int
            required: true
      mtu:
        description: Its MTU. Left out, the kernel's choice.
        type: int
      stp:
        description:
          - Whether it takes part in the spanning tree protocol. Each new port then waits for some seconds before it
            forwards, so every swap takes that long.
        type: bool
        default: false
"""

EXAMPLES = r"""
- name: Make one bridge of the node's own, and one that is a VLAN of its network
  unikernel.fleet.bridges:
    bridges:
      - name: service
        addresses: [192.0.2.1/24, "2001:db8::1/64"]
      - name: br20
        vlans:
          - interface: eth1
            id: 20
"""

RETURN = r"""
steps:
  description: What was done, or would be.
  type: list
  elements: str
  returned: success
  sample: ["service: made"]
left_alone:
  description: Declared bridges that somebody else had made.
  type: list
  elements: str
  returned: success
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.bridges import ARGUMENTS, set_bridges
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.failing import failing
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.options import specs


def main() -> None:
    module = AnsibleModule(argument_spec=specs(ARGUMENTS), supports_check_mode=True)
    with failing(module):
        module.exit_json(**set_bridges(module.params, module.check_mode))


if __name__ == "__main__":
    main()
