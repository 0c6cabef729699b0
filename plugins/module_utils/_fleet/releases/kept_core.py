# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The core of a guest that gave up, as evidence: bounded, root's alone, and only the newest one of each unikernel.

It is the guest's memory, with every secret in it. Nothing can be hidden in there, so nobody else may read it.
"""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

MIB = 2**20
FILE = "core"
HEADERS_MIB = 1
"""On top of the guest's memory; less than a KiB in fact."""


@dataclass(frozen=True)
class KeptCore:
    """What ``report.json`` says of it."""

    file: Optional[str]
    """Its name beside the report; None: there was one, and it could not be kept."""
    size: int = 0
    """Bytes, as of the guest's memory; pages that the guest never used are holes in the file."""
    on_disk: int = 0
    """Bytes."""
    remark: str = "it is the memory of the guest, secrets included; only the newest core of a unikernel is kept"


def keep_core(core: Path, evidence: Path, most_mib: int) -> KeptCore:
    """Move it into a folder of evidence, and forget those of earlier trials beside that. Never raises OSError."""
    kept = evidence / FILE
    try:
        # By a rename, which follows no link: it is looked at where its maker, whoever that was, cannot change it.
        os.rename(core, kept)
        try:
            found = _made_our_own(kept, (most_mib + HEADERS_MIB) * MIB)
        except BaseException:
            _remove(kept)
            raise
        _forget_older(evidence)
    except OSError as error:
        return KeptCore(None, remark=f"there was a core, and it could not be kept: {error.strerror or error}")
    return found


def _made_our_own(path: Path, most: int) -> KeptCore:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        shown = os.fstat(descriptor)
        if not stat.S_ISREG(shown.st_mode) or shown.st_nlink != 1:
            raise OSError("it is no file of its own")
        if shown.st_size > most:
            raise OSError(f"it has {shown.st_size} bytes, and {most} are allowed (core_dump.most_mib)")
        os.fchown(descriptor, os.geteuid(), os.getegid())
        os.fchmod(descriptor, 0o600)
        return KeptCore(FILE, shown.st_size, shown.st_blocks * 512)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _forget_older(newest: Path) -> None:
    for folder in newest.parent.iterdir():
        if folder != newest:
            with suppress(FileNotFoundError, NotADirectoryError):
                (folder / FILE).unlink()
