# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the end of an instance means, where its console says more of it than its status."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..errors import DriverError
from ..model import Exit

Console = Callable[[int], tuple[str, ...]]
"""So many of the last lines. DriverError when they cannot be read."""


def explained(end: Exit, console: Console, most_lines: int, meaning: Callable[[Sequence[str]], str]) -> Exit:
    """The end with its meaning in words, from what was said last. One that nobody saw stays so."""
    if end.status is None and end.signal is None:
        return end
    try:
        said = console(most_lines)
    except DriverError:
        said = ()
    # A supervisor's own remark, that it was given up for instance, stays.
    remark = end.meaning.partition(";")[2]
    return replace(end, meaning=meaning(said) + (f";{remark}" if remark else ""))
