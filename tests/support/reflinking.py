# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A file system whose files can share blocks, in a file of its own: XFS or btrfs, mounted for one test."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Optional

MAKERS = {"xfs": ("mkfs.xfs", "-q", "-m", "reflink=1"), "btrfs": ("mkfs.btrfs", "-q")}
SIZE = 320 << 20


def maker() -> Optional[tuple[str, ...]]:
    """The words that make one here; None when nothing does."""
    with open("/proc/filesystems", encoding="ascii") as file:
        known = file.read().split()
    return next((words for kind, words in MAKERS.items() if kind in known and shutil.which(words[0])), None)


def why_not() -> str:
    """Why there can be none; empty when there can."""
    if os.geteuid() != 0:
        return "needs root, to mount a file system"
    if maker() is None:
        return "needs mkfs.xfs or mkfs.btrfs (xfsprogs, btrfs-progs), and a kernel with that file system"
    return ""


@contextmanager
def reflinking_folder() -> Iterator[Path]:
    """A folder on such a file system; unmounted and removed afterwards."""
    words = maker()
    assert words is not None
    with tempfile.TemporaryDirectory(prefix="fleet-reflink-") as folder:
        image, mounted = Path(folder) / "image", Path(folder) / "mounted"
        with open(image, "wb") as file:
            file.truncate(SIZE)
        _run(*words, str(image))
        mounted.mkdir()
        _run("mount", "-o", "loop", str(image), str(mounted))
        try:
            yield mounted
        finally:
            _run("umount", str(mounted))


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, timeout=60)
