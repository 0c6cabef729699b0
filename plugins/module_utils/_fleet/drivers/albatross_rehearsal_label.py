# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a rehearsal is called on albatross: a name that belongs to its unikernel and that no unikernel has.

Whoever sees only albatross, as the inventory does, knows a rehearsal by its label alone. So the end of it is reserved.
"""

from __future__ import annotations

import hashlib
from typing import Optional

REHEARSAL_SUFFIX = ".fleet-rehearsal"
_LONGEST = 63
"""Characters of a label of albatross."""
_DIGEST = 8


def rehearsal_label(name: str) -> str:
    """Always the same of one unikernel: albatross keeps a console for each label there ever was."""
    room = _LONGEST - len(REHEARSAL_SUFFIX)
    if len(name) > room:
        digest = hashlib.sha256(name.encode("utf-8")).hexdigest()[:_DIGEST]
        name = f"{name[: room - _DIGEST - 1]}-{digest}"
    return name + REHEARSAL_SUFFIX


def is_rehearsal(label: Optional[str]) -> bool:
    """Whether what is called so on albatross is a rehearsal, and no unikernel of its own."""
    return label is not None and label.lower().endswith(REHEARSAL_SUFFIX)
