#!/usr/bin/python
# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: unikernel_info
short_description: See what runs on a node
version_added: 0.1.0
description:
  - Reports, for all or for some unikernels of a node and in one call, their releases, instances, trials, what is held,
    and how the machine differs from what is recorded.
  - A state that cannot be read is reported as unknown, with the reason. It never fails the module.
  - Secrets are not returned. A keyed digest of them is, so that a plan can see whether they changed. Whoever may read
    the digest can check a guess against it, so secrets should not be guessable.
author:
  - The unikernel.fleet authors (@unikernel-fleet)
extends_documentation_fragment:
  - unikernel.fleet.attributes
  - unikernel.fleet.attributes.info_module
  - unikernel.fleet.attributes.actiongroup_fleet
  - unikernel.fleet.node
options:
  names:
    description:
      - The unikernels to report. Left out, all that the node has a folder for.
    type: list
    elements: str
  history:
    description:
      - How many of the last events of each unikernel's history to return.
    type: int
    default: 0
  console:
    description:
      - How many of the last lines of each unikernel's console to return.
    type: int
    default: 0
  albatross:
    description:
      - Where the albatross is of unikernels that one may run although nobody has deployed them yet, by their names, in
        the words of the option of the same name of M(unikernel.fleet.unikernel).
      - What runs there and is not recorded here is reported as C(adoptable).
    type: dict
"""

EXAMPLES = r"""
- name: See everything that runs on the node
  unikernel.fleet.unikernel_info:
  register: fleet

- name: See the last words of one unikernel, and its history
  unikernel.fleet.unikernel_info:
    names: [www]
    console: 50
    history: 20
  register: www
"""

RETURN = r"""
unikernels:
  description:
    - What the node says of each unikernel, by name.
    - C(drift) is in which ways the machine is not as the recorded release says. Where the process that keeps the
      unikernel was killed, C(unwatched) says so, and is among C(drift); no deployment acts on it.
  type: dict
  returned: success
  sample:
    www:
      known: true
      phase: stable
      alive: true
      release: {"number": 4, "image": {"sha256": "b1bf...", "size": 127448}, "running": true}
      drift: []
      unwatched: null
      held: []
      trial: null
node:
  description: About the node itself.
  type: dict
  returned: success
  contains:
    inhibited:
      description: Why all changes are frozen; null when they are not.
      type: str
      sample: null
    boot_id:
      description: Identity of the present boot.
      type: str
      sample: 5d7c0c2e-6b0f-4d0b-9f52-3b9f6c1f8f4e
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.failing import failing
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.options import specs
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.unikernel_info import ARGUMENTS, inform


def main() -> None:
    module = AnsibleModule(argument_spec=specs(ARGUMENTS), supports_check_mode=True)
    with failing(module):
        module.exit_json(**inform(module.params))


if __name__ == "__main__":
    main()
