# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's side of the module ``unikernel``: where a guard is that has this code, nothing need be sent."""

from __future__ import annotations

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.unikernel import ARGUMENTS
from ansible_collections.unikernel.fleet.plugins.plugin_utils.guard_first import GuardFirstAction


class ActionModule(GuardFirstAction):
    """See :class:`GuardFirstAction`."""

    module = "unikernel"
    arguments = ARGUMENTS
