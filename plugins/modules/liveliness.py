#!/usr/bin/python
# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: liveliness
short_description: Find out whether a unikernel lives
version_added: 0.1.0
description:
  - With O(trial), waits until the node has come to a verdict about that trial, or has ended it.
  - Without O(trial), makes the O(checks) itself, all at once, from wherever the module runs, until all required ones
    have passed for O(stable_for), or until the O(deadline).
  - Whatever goes wrong while checking is a verdict (V(inconclusive)) and never a failure of this module, so that a
    handler can decide what follows.
author:
  - The unikernel.fleet authors (@unikernel-fleet)
requirements:
  - dnspython for V(dns) checks and jmespath for JSON expressions, on the machine where they are made.
extends_documentation_fragment:
  - unikernel.fleet.attributes
  - unikernel.fleet.attributes.info_module
  - unikernel.fleet.attributes.actiongroup_fleet
  - unikernel.fleet.node
  - unikernel.fleet.checks
  - unikernel.fleet.holder
options:
  name:
    description:
      - Name of the unikernel on its node. Needed with O(trial), and for V(process) and V(console) checks.
    type: str
  trial:
    description:
      - The trial to wait for, as M(unikernel.fleet.unikernel) returned it.
    type: str
  vantage:
    description:
      - Which of the O(checks) to make, those C(from) the V(node) or those from the V(controller). Delegate the task
        accordingly.
    type: str
    choices: [node, controller]
    default: node
seealso:
  - module: unikernel.fleet.unikernel
  - module: unikernel.fleet.release
"""

EXAMPLES = r"""
- name: Wait for the verdict of the node
  unikernel.fleet.liveliness:
    name: www
    trial: "{{ declared.trial.id }}"
  register: liveliness

- name: See from here whether the name servers answer
  unikernel.fleet.liveliness:
    vantage: controller
    address: 192.0.2.53
    checks:
      - dns:
          name: example.org
          type: A
          answers: [192.0.2.80]
        from: controller
      - tcp: 53
        from: controller
        wanted: true
    stable_for: 5
  delegate_to: localhost
"""

RETURN = r"""
alive:
  description: Whether the verdict is V(pass) and, with O(trial), the trial has not been rolled back.
  type: bool
  returned: success
  sample: true
verdict:
  description: V(pass), V(fail) or V(inconclusive).
  type: str
  returned: success
  sample: pass
reason:
  description: A sentence that names the checks which decided.
  type: str
  returned: success
  sample: all required checks passed
standing:
  description: With O(trial), how the trial stands; otherwise null.
  type: str
  returned: success
  sample: passed
evidence:
  description: The folder on the node where the evidence of a failed trial lies.
  type: str
  returned: success
  sample: /var/lib/unikernel-fleet/unikernels/www/evidence/20261122050312-5be0c1fa
duration:
  description: How long the checks took, in seconds.
  type: float
  returned: success
  sample: 3.218
results:
  description: Every check with every attempt.
  type: list
  elements: dict
  returned: success
  sample:
    - name: http http://127.0.0.1:8080/health
      kind: http
      required: true
      outcome: pass
      attempts:
        - {at_s: 0.002, outcome: fail, latency_s: 0.001, detail: "connection refused"}
        - {at_s: 1.004, outcome: pass, latency_s: 0.003, detail: "status 200"}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.failing import failing
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.hiding import hide_secrets_of_checks
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.liveliness import ARGUMENTS, judge
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.options import specs


def main() -> None:
    module = AnsibleModule(argument_spec=specs(ARGUMENTS), supports_check_mode=True)
    hide_secrets_of_checks(module)
    with failing(module):
        module.exit_json(**judge(module.params))


if __name__ == "__main__":
    main()
