# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files of Debian's packages without installing them: kept in a cache outside of the checkout, like the nodes'."""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Optional


@contextmanager
def cache() -> Iterator[Path]:
    """The cache's folder, to be filled by nobody else meanwhile."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(home) / "unikernel-fleet" / "virtual-machine"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def unpack(names: Sequence[str], folder: Path) -> None:
    """Fetch packages with apt and unpack them into a folder that is not there yet. RuntimeError."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        output("apt-get", "download", "-q", *names, folder=temporary)
        begun = Path(temporary) / "unpacked"
        for archive in sorted(Path(temporary).glob("*.deb")):
            output("dpkg-deb", "-x", str(archive), str(begun))
        begun.rename(folder)


def output(*words: str, folder: Optional[str] = None) -> str:
    """What a program printed. RuntimeError with what it said when it failed."""
    done = subprocess.run(words, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{words[0]} failed: {done.stderr.strip()[-500:]}")
    return done.stdout
