# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What lies behind block devices: files of a unikernel's own, and files or volumes that were there before."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Optional

from ..durable import make_passable_folder, sync_folder
from ..errors import DriverError
from .limits import MIB

SECTOR = 512


def identity(path: str) -> Optional[str]:
    """The same for every name of one file or volume; None when there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    if stat.S_ISBLK(found.st_mode):
        return f"device {os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
    return f"file {found.st_dev}:{found.st_ino}"


def size_of(path: str) -> int:
    """Bytes, of a file or a volume. OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.lseek(descriptor, 0, os.SEEK_END)
    finally:
        os.close(descriptor)


def create(path: Path, size_mib: int) -> None:
    """A sparse file of that size, unless it is there; whole or not at all. DriverError."""
    try:
        make_passable_folder(path.parent)
        temporary = path.with_name(f".{path.name}.new")
        with suppress(FileNotFoundError):
            temporary.unlink()
        if path.exists():
            return
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, size_mib * MIB)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise DriverError(f"its disk {path} cannot be made: {error.strerror}") from error


def give(path: Path, user_id: int) -> None:
    """Make a file of ours that user's alone. DriverError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if os.fstat(descriptor).st_uid != user_id:
                os.fchown(descriptor, user_id, -1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise DriverError(f"its disk {path} cannot be given to the user {user_id}: {error.strerror}") from error


def why_unfit(path: str) -> Optional[str]:
    """What forbids a declared path as a disk, in words that follow it; None when nothing does."""
    if not os.path.isabs(path):
        return "is no absolute path"
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISBLK(mode):
            return "is neither a file nor a volume"
        if stat.S_ISBLK(mode):
            # The kernel gives a device that is mounted, or part of something else, to nobody for itself.
            os.close(os.open(path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
        size = size_of(path)
    except FileNotFoundError:
        return "is not on this node"
    except OSError as error:
        in_use = "is in use by this node itself (mounted, or part of another volume)"
        return in_use if error.errno == errno.EBUSY else f"cannot be opened: {error.strerror}"
    if size < SECTOR or size % SECTOR:
        return f"has {size} bytes, which are no whole sectors of {SECTOR}"
    return None
