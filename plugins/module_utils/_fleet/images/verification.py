# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a file has the bytes that a SHA-256 promises. The size is looked at first: it costs nothing."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ..errors import ImageError, ImageMissing
from ..model import Image

CHUNK = 256 * 1024
"""Bytes that are read or written at once."""


def chunks_of(path: Path) -> Iterator[bytes]:
    """The bytes of a regular file. ImageError for anything else; a FIFO does not hold us up."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=0) as opened:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ImageError(f"{path} is no regular file, so it is no image. Nothing was changed.")
            while chunk := opened.read(CHUNK):
                yield chunk
    except OSError as error:
        raise ImageError(f"{path} cannot be read as an image ({error.strerror}). Nothing was changed.") from error


def verified(path: Path, image: Image, hint: str = "Look the build up again.") -> Path:
    """The path if its bytes, read again now, are the image's; else ImageMissing, which ends with the hint."""
    try:
        found = os.lstat(path)
    except OSError as error:
        raise ImageMissing(_missing(path, image, error.strerror or str(error), hint)) from error
    if not stat.S_ISREG(found.st_mode):
        raise ImageMissing(_missing(path, image, "it is no regular file", hint))
    if found.st_size != image.size:
        raise ImageMissing(_missing(path, image, f"it has {found.st_size} bytes instead of {image.size}", hint))
    digest = hashlib.sha256()
    for chunk in chunks_of(path):
        digest.update(chunk)
    if digest.hexdigest() != image.sha256:
        raise ImageMissing(_missing(path, image, f"its bytes have the SHA-256 {digest.hexdigest()}", hint))
    return path


def _missing(path: Path, image: Image, why: str, hint: str) -> str:
    return f"The image {image.sha256} is not at {path}: {why}. Nothing was changed. {hint}"
