# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The last lines of a console that is kept in two files, read from their ends and bounded in bytes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

MAX_BYTES = 256 * 1024


def last_lines(parts: Sequence[Path], lines: int) -> tuple[str, ...]:
    """The last lines of the parts, oldest part first; missing parts are empty. At most MAX_BYTES are read.

    A line whose beginning lies before that is left out, unless there is nothing else to show.
    """
    if lines <= 0:
        return ()
    text, whole = b"", True
    for part in reversed(parts):
        room = MAX_BYTES - len(text)
        if room <= 0 or text.count(b"\n") > lines:
            whole = False
            break
        earlier, whole = _end_of(part, room)
        text = earlier + text
        if not whole:
            break
    found = text.decode("utf-8", "replace").split("\n")
    if not found[-1]:
        found.pop()
    if not whole and len(found) > 1:
        del found[0]
    return tuple(line.rstrip("\r") for line in found[-lines:])


def _end_of(part: Path, size: int) -> tuple[bytes, bool]:
    """The last ``size`` bytes of a file, and whether that is all of it."""
    try:
        with open(part, "rb") as file:
            length = os.fstat(file.fileno()).st_size
            file.seek(max(0, length - size))
            return file.read(size), length <= size
    except FileNotFoundError:
        return b"", True
