# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one folder that belongs to the user of an instance: for a core of its guest, or a socket to ask it by.

What lies in it was put there by a process that a guest may have broken out of. So whatever is taken from it has to be
looked at again where only root can change it, and what is read from a socket in it is bounded and believed in nothing.
"""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import Optional

from ..durable import make_passable_folder

CORE = "core."
"""What the names of cores begin with: ``core.solo5-hvt.PID``."""


def make_scratch(folder: Path, user_id: Optional[int]) -> None:
    """Make the folder anew, empty. Others may pass to it, and neither list it nor look into it."""
    remove_scratch(folder)
    make_passable_folder(folder.parent)
    os.mkdir(folder, 0o700)
    if user_id is not None:
        os.chown(folder, user_id, -1)
        # The waiter, which empties it before a restart, is of the group and has no power over the files of others.
        os.chmod(folder, 0o770)


def remove_scratch(folder: Path) -> None:
    """Nothing to do where there is none."""
    if os.path.lexists(folder):
        shutil.rmtree(folder)
        with suppress(OSError):
            folder.parent.rmdir()  # unless another release of it has one there


def newest_core(folder: Path) -> Optional[Path]:
    """None where there is no core."""
    found = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                shown = entry.stat(follow_symlinks=False)
                if entry.name.startswith(CORE) and stat.S_ISREG(shown.st_mode):
                    found.append((shown.st_mtime_ns, entry.name))
    return folder / max(found)[1] if found else None
