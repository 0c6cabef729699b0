# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a test needs of the machine (root, systemd-nspawn, QEMU) is missing: named as skipped on anybody's machine, and
a failure where continuous integration promised it (``FLEET_MACHINES=required``)."""

from __future__ import annotations

import os
from typing import Optional

VARIABLE = "FLEET_MACHINES"


def unless_required(reason: Optional[str]) -> Optional[str]:
    """The reason to skip, if there is one; RuntimeError when nothing may be skipped for it."""
    if reason and os.environ.get(VARIABLE) == "required":
        raise RuntimeError(f"{VARIABLE}=required, and this machine has not what its tests need: {reason}")
    return reason
