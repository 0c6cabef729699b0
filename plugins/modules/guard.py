#!/usr/bin/python
# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: guard
short_description: Installs the guard of a node under systemd, or takes it away
version_added: 0.1.0
description:
  - The guard runs trials, ends overdue ones, and starts at boot what should run. This installs it for good, with a
    unit that starts unikernels at boot in their declared order, a timer that sweeps every minute, and the templates of
    the units in which unikernels run.
  - Role P(unikernel.fleet.node#role) uses it. Without it, M(unikernel.fleet.unikernel) brings a guard for each trial by
    itself, but nothing starts unikernels at boot.
  - A guard of a newer version of the collection is left in place.
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
  state:
    description:
      - V(present) installs and enables it.
      - V(absent) removes it with all its units. States, images and histories stay.
    type: str
    choices: [present, absent]
    default: present
  force:
    description:
      - With O(state=absent), stop the unikernels that the node still has. Otherwise the module refuses while there are
        any.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Install the guard
  unikernel.fleet.guard:

- name: Take it away, and stop whatever still runs
  unikernel.fleet.guard:
    state: absent
    force: true
"""

RETURN = r"""
version:
  description: The version of the collection that the guard is of, empty when there is none.
  type: str
  returned: success
  sample: 0.1.0
units:
  description: Its unit files.
  type: list
  elements: str
  returned: success
  sample: [unikernel-fleet-guard-boot.service, unikernel-fleet-unix@.service]
enabled:
  description: Those of them that start by themselves.
  type: list
  elements: str
  returned: success
  sample: [unikernel-fleet-guard-boot.service]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.failing import failing
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.guard import ARGUMENTS, set_guard
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.options import specs


def main() -> None:
    module = AnsibleModule(argument_spec=specs(ARGUMENTS), supports_check_mode=True)
    with failing(module):
        module.exit_json(**set_guard(module.params, module.check_mode))


if __name__ == "__main__":
    main()
