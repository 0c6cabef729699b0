# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Times as albatross writes them."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Optional


def stamp(at: Optional[datetime] = None) -> str:
    """A GeneralizedTime, of now: three digits of a second, their zeros kept."""
    at = at or datetime.now(timezone.utc)
    return f"{at:%Y%m%d%H%M%S}.{at.microsecond // 1000:03d}Z"
