# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The two labels that a unikernel may have on albatross: its name, and one that it takes turns with at a cut-over.

albatross runs one unikernel under a label, and can rename none: so what comes up beside the one that runs is called
otherwise, and stays called so until it is replaced itself. Which of the two it is, is told by what runs.
"""

from __future__ import annotations

from typing import Optional

from .albatross_rehearsal_label import REHEARSAL_SUFFIX, is_rehearsal

SUFFIX = ".fleet-2"
"""Of the second label. Whoever sees only albatross, as the inventory does, knows it by this end. So it is ours alone,
and what others run under it is drift."""
LONGEST_LABEL = 63


def second_label(name: str) -> Optional[str]:
    """None: the name is too long to have one."""
    return name + SUFFIX if len(name) + len(SUFFIX) <= LONGEST_LABEL else None


def name_of(label: str) -> str:
    """Whose label it is."""
    return label[: -len(SUFFIX)] if label.lower().endswith(SUFFIX) and len(label) > len(SUFFIX) else label


def labels_of(name: str) -> tuple[str, ...]:
    """The name first: it is what users know."""
    second = second_label(name)
    return (name,) if second is None else (name, second)


def free_label(name: str, taken: str) -> Optional[str]:
    """The one that is not taken."""
    return second_label(name) if taken == name else name


def why_reserved(name: str) -> Optional[str]:
    """Why no unikernel may be called so, in a clause; None where one may."""
    if is_rehearsal(name):
        return f"names that end in {REHEARSAL_SUFFIX} are those of rehearsals"
    if name_of(name) != name:
        return f"the end of its name is kept for the second label of {name_of(name)}; call it otherwise"
    return None
