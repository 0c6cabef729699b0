# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cores of Solo5 guests: which of them can leave one, and what that costs.

``solo5-hvt`` writes one when its guest gives up (``solo5_abort()``, a trap, a failed assertion: status 255), if it was
built with its module ``dumpcore``. Solo5 builds that module into ``solo5-hvt-debug``, which does not lock itself in
(no seccomp, ``HVT_DROP_PRIVILEGES=0``), and so it is only used where a core is asked for.
"""

from __future__ import annotations

import os
from typing import Optional

from ..layout import NodeLayout
from ..model import Configuration
from .solo5_tenders import DUMPS, dumping_tender

ROOM_MIB = 64
"""What a core leaves free on the disk of the state folder: a full one would hinder the way back."""
HEADERS_MIB = 1


def refusals_of_core(
    layout: NodeLayout, configuration: Configuration, target: str, memory_mib: int, limit_mib: Optional[int]
) -> list[str]:
    """What speaks against a core of this guest, in clauses; ``limit_mib`` is that of the files it may write."""
    if not configuration.core_dump.enabled:
        return []
    if target != DUMPS:
        return [
            f"a core was asked for (core_dump), and its image is for {target}, whose tender leaves none (build it for "
            f"{DUMPS}, or leave core_dump out)"
        ]
    reasons = []
    if dumping_tender(layout) is None:
        reasons.append(
            "a core was asked for (core_dump), and no tender on this node has the module dumpcore (Solo5 builds it "
            f"into solo5-hvt-debug: install that, or name its path as hvt-debug in {layout.tenders}, as role node does)"
        )
    most = configuration.core_dump.most_mib
    if memory_mib > most:
        reasons.append(
            f"its core would have {memory_mib} MiB, as its memory, and core_dump.most_mib allows {most} (raise it, or "
            "give the guest less memory)"
        )
    if limit_mib is not None and limit_mib < memory_mib + HEADERS_MIB:
        reasons.append(
            f"its core would have {memory_mib} MiB, as its memory, and limits.file_size_mib allows files of {limit_mib}"
        )
    free = _free_mib(layout)
    if free is not None and free < memory_mib + ROOM_MIB:
        reasons.append(
            f"its core may take {memory_mib} MiB of the disk of {layout.root}, which has {free} MiB left, and "
            f"{ROOM_MIB} have to stay free"
        )
    return reasons


def _free_mib(layout: NodeLayout) -> Optional[int]:
    try:
        shown = os.statvfs(layout.root)
    except OSError:
        return None
    return shown.f_bavail * shown.f_frsize >> 20
