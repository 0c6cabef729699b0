# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options that say on whose behalf something is changed."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  who:
    description:
      - Who makes this change, for the history and for the messages that another run gets.
    type: str
  run:
    description:
      - An identifier of this playbook run, for the same purpose.
    type: str
"""

    LOCK = r"""
options:
  lock_timeout:
    description:
      - Seconds to wait for another process that changes the same unikernel, before giving up with a message that names
        it.
    type: float
    default: 10.0
"""
