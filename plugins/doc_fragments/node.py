# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The option of every module that works on a node: where the fleet's state is kept there."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  root:
    description:
      - The folder on the node that holds images, states, histories and evidence.
      - It is made, readable for its owner only, when the first release is put there.
    type: path
    default: /var/lib/unikernel-fleet
"""
