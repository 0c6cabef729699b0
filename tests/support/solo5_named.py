# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Solo5's own tenders and images: where the environment says that they are, and why they are left out where not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Optional


def why_no_solo5() -> Optional[str]:
    """Why what needs both is left out; None when it is not."""
    missing = [variable for variable in ("SOLO5_BIN", "SOLO5_IMAGES") if not os.environ.get(variable)]
    return f"{' and '.join(missing)} not set" if missing else None


def tenders_on_path() -> None:
    """For all that this process starts."""
    os.environ["PATH"] = f"{os.environ['SOLO5_BIN']}:{os.environ['PATH']}"


def named_image(variant: str, target: str) -> Path:
    return Path(os.environ["SOLO5_IMAGES"]) / f"{variant}.{target}"
