#!/usr/bin/python
# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Confirm a trial, or go back to an earlier release
version_added: 0.1.0
description:
  - Ends a trial that M(unikernel.fleet.unikernel) began, or goes back to a release that was confirmed before.
  - A confirmation counts only for the trial that it names, only before the deadline, only after the node's checks
    passed, and only while the very process that was checked still runs. Otherwise this module fails and says why.
  - A rollback restores the whole release, image and configuration, and needs nothing but the node's own disk.
author:
  - The unikernel.fleet authors (@unikernel-fleet)
extends_documentation_fragment:
  - unikernel.fleet.attributes
  - unikernel.fleet.attributes.actiongroup_fleet
  - unikernel.fleet.node
  - unikernel.fleet.holder
  - unikernel.fleet.holder.lock
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: partial
    details:
      - Confirming or rolling back the same trial twice, and going back to the same O(to) twice, changes nothing the
        second time.
      - O(state=rolled_back) without O(trial) and without O(to) goes back one release further each time.
options:
  name:
    description:
      - Name of the unikernel on its node.
    type: str
    required: true
  state:
    description:
      - V(confirmed) makes the release on trial the current one.
      - V(rolled_back) ends an open trial, whoever began it; without one, it goes back to the release O(to), or to the
        newest one that is older than the current one.
      - V(taken_over) makes this run the holder of an open trial and gives it its full time again.
    type: str
    choices: [confirmed, rolled_back, taken_over]
    required: true
  trial:
    description:
      - The trial that is meant, as M(unikernel.fleet.unikernel) returned it. Needed to confirm.
    type: str
  to:
    description:
      - Number of the kept release to go back to. Only with O(state=rolled_back) and without O(trial).
    type: int
  reason:
    description:
      - Why a trial is rolled back, for the history.
    type: str
  hold:
    description:
      - Whether the release that is left counts as failed, so that it is not tried again by itself. That is the one on
        trial, or the current one when it goes back without a trial.
    type: bool
    default: true
  data_compatible:
    description:
      - When it goes back to another image, that one understands what the current one wrote to its disks. Without this,
        going back by hand to another image of a unikernel with disks is refused. A rollback of an open trial does not
        need it; it restores the snapshot if one was taken.
    type: bool
    default: false
seealso:
  - module: unikernel.fleet.unikernel
  - module: unikernel.fleet.liveliness
"""

EXAMPLES = r"""
- name: Confirm a trial
  unikernel.fleet.release:
    name: www
    state: confirmed
    trial: "{{ declared.trial.id }}"

- name: Go back one release
  unikernel.fleet.release:
    name: www
    state: rolled_back

- name: Go back to release 7
  unikernel.fleet.release:
    name: www
    state: rolled_back
    to: 7

- name: Cancel the trial that another run left open
  unikernel.fleet.release:
    name: www
    state: rolled_back
    reason: its pipeline was cancelled
    hold: false
"""

RETURN = r"""
name:
  description: The unikernel.
  type: str
  returned: success
  sample: www
release:
  description: The confirmed release, read back at the end, without secrets; null when it is absent.
  type: dict
  returned: success
  sample: {"number": 3, "image": {"sha256": "3774...", "size": 131544}, "running": true}
trial:
  description: How the trial that was named stands, as M(unikernel.fleet.unikernel) returns it; null when none was.
  type: dict
  returned: success
  sample: {"id": "20261122050312-5be0c1fa", "standing": "confirmed", "reason": "all required checks passed"}
phase:
  description: The phase that the unikernel is in.
  type: str
  returned: success
  sample: stable
error:
  description: What kind of refusal it was, for instance V(TrialRefused).
  type: str
  returned: failure
  sample: TrialRefused
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.failing import failing
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.options import specs
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.release import ARGUMENTS, change_release


def main() -> None:
    module = AnsibleModule(argument_spec=specs(ARGUMENTS), supports_check_mode=True)
    with failing(module):
        module.exit_json(**change_release(module.params, module.check_mode))


if __name__ == "__main__":
    main()
