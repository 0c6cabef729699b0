# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who runs a playbook, for histories and for the messages that another run gets."""

from __future__ import annotations

import getpass
import os
import platform
import uuid


def this_run() -> dict[str, str]:
    """``who``: the user and the machine. ``id``: of this run alone."""
    return {"id": uuid.uuid4().hex[:12], "who": f"{_user()}@{platform.node()}"}


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"user {os.getuid()}"
