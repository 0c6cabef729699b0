# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copies of files: sharing their blocks where the file system can (reflink), else byte for byte, holes left holes."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path

from ..durable import sync_folder
from ..errors import DriverError

FICLONE = 0x40049409
"""ioctl(2): let this file share all blocks of another one. btrfs and XFS can, and what else there will be."""
_CANNOT = frozenset({errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS})
CHUNK = 1 << 20


class CannotReflink(DriverError):
    """The file system has no such thing, or the two are on different ones."""


def place(source: str, target: str, reflink: bool) -> None:
    """Make ``target`` a copy of ``source``, in place of whatever is there: the old one or the whole new one, at every
    moment. CannotReflink or DriverError leave the old one."""
    temporary = _beside(target)
    try:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        with open(source, "rb") as reader:
            before = os.fstat(reader.fileno())
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                if reflink:
                    fcntl.ioctl(descriptor, FICLONE, reader.fileno())
                else:
                    _copy(reader.fileno(), descriptor, before.st_size)
                os.fchown(descriptor, before.st_uid, before.st_gid)
                os.fchmod(descriptor, before.st_mode & 0o7777)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        os.rename(temporary, target)
        sync_folder(Path(target).parent)
    except OSError as error:
        with suppress(OSError):
            os.unlink(temporary)
        if reflink and error.errno in _CANNOT:
            raise CannotReflink(
                f"{source} cannot be copied by reflink to {target}: their file system cannot do that ({error.strerror})"
            ) from error
        raise DriverError(f"{source} cannot be copied to {target}: {error.strerror}") from error


def remove(path: str) -> None:
    """The copy, and what an interrupted one left. DriverError."""
    try:
        for name in (path, _beside(path)):
            with suppress(FileNotFoundError):
                os.unlink(name)
    except OSError as error:
        raise DriverError(f"the copy {path} cannot be removed: {error.strerror}") from error


def why_no_reflink(source: str, target: str) -> str:
    """Why ``source`` cannot be reflinked to ``target``, tried out; empty when it can."""
    probe = f"{target}.probe"
    try:
        place(source, probe, reflink=True)
    except DriverError as error:
        return str(error)
    finally:
        with suppress(DriverError):
            remove(probe)
    return ""


def _beside(path: str) -> str:
    return os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.new")


def allocated(path: str) -> int:
    """Bytes that a file takes of its disk, holes left out."""
    return os.stat(path).st_blocks * 512


def _copy(source: int, target: int, size: int) -> None:
    os.ftruncate(target, size)
    position = 0
    while position < size:
        try:
            begin = os.lseek(source, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return  # nothing but a hole until the end
            raise
        end = os.lseek(source, begin, os.SEEK_HOLE)
        while begin < end:
            chunk = os.pread(source, min(CHUNK, end - begin), begin)
            if not chunk:
                return
            begin += os.pwrite(target, chunk, begin)
        position = end
