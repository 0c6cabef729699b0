# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The images of a node, each named by the SHA-256 of its bytes: what has a name here is whole."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ..durable import make_folder, sync_folder
from ..errors import FleetError, ImageError
from ..layout import NodeLayout
from ..model import SHA256_PATTERN, Image
from .store_lock import adding, removing
from .verification import chunks_of, verified

DEFAULT_MOST_BYTES = 1 << 30
"""Most bytes of one image, unless the caller says otherwise."""

DEFAULT_GRACE_S = 3600.0
"""How long an image that no state names is kept after it was staged: its release may just be about to be declared."""

_FOLDER_MODE = 0o711
"""Others may pass through to an image whose name they know, and cannot list what there is."""

_IMAGE_MODE = 0o555
"""Nobody writes to an image, and the unix driver executes it right here: a copy elsewhere would not be the file that
was verified. The other drivers' tenders need to read it under their own unprivileged users."""

_TEMPORARY_PREFIX = ".incoming-"
_STALE_S = 3600.0
_ADDER_WAITS_S = 60.0
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Pruned:
    """What a prune removed (or would remove)."""

    removed: tuple[Image, ...] = ()
    kept: int = 0
    """Images that stay, marked ones and young ones."""

    @property
    def freed(self) -> int:
        """Bytes."""
        return sum(image.size for image in self.removed)


class ImageStore:
    """Content-addressed and safe for any number of writers, dying ones included."""

    def __init__(self, layout: NodeLayout) -> None:
        self._layout = layout

    def holds(self, sha256: str) -> bool:
        """Whether there is a file of that name: cheap, and no promise about its bytes."""
        try:
            return stat.S_ISREG(os.lstat(self._layout.image(sha256)).st_mode)
        except OSError:
            return False

    def verify(self, image: Image) -> Path:
        """Path of the image, its bytes read again and compared; ImageMissing if they are not there or not right."""
        return verified(self._layout.image(image.sha256), image, "Bring it again with unikernel.fleet.image.")

    def claim(self, image: Image) -> Path:
        """As ``verify``, and its grace begins anew: no prune removes it before a state can name it."""
        with self._adding():
            path = self.verify(image)
            os.utime(path)
        return path

    def add_stream(
        self,
        chunks: Iterable[bytes],
        expected: Optional[Image] = None,
        max_bytes: int = DEFAULT_MOST_BYTES,
        inspect: Callable[[Path], object] = lambda path: None,
    ) -> Image:
        """Store the bytes. ImageError, and the store is as before, when they are not what is expected, more than
        ``max_bytes``, refused by ``inspect`` (which sees the complete file before it gets its name), or when the
        disk is full. Stops reading at the first byte too many.
        """
        with self._adding():
            descriptor, temporary = tempfile.mkstemp(dir=self._layout.images, prefix=_TEMPORARY_PREFIX)
            try:
                try:
                    image = self._receive(descriptor, chunks, expected, max_bytes)
                    os.fchmod(descriptor, _IMAGE_MODE)
                    os.fsync(descriptor)
                finally:
                    # Closed before the rename: a file that is open for writing cannot be executed (ETXTBSY).
                    os.close(descriptor)
                inspect(Path(temporary))
                os.replace(temporary, self._layout.image(image.sha256))
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary)
                raise
            sync_folder(self._layout.images)
        return image

    def add_file(
        self,
        path: Path,
        expected: Optional[Image] = None,
        max_bytes: int = DEFAULT_MOST_BYTES,
        inspect: Callable[[Path], object] = lambda path: None,
    ) -> Image:
        """Store a copy of a file; as ``add_stream``."""
        return self.add_stream(chunks_of(path), expected, max_bytes, inspect)

    def prune(
        self,
        marked: Callable[[], frozenset[str]],
        grace_s: float = DEFAULT_GRACE_S,
        wait_s: float = 10.0,
        dry_run: bool = False,
    ) -> Pruned:
        """Remove the images that are neither in ``marked()`` nor younger than ``grace_s``.

        ``marked`` is called while the lock is held, and must raise if it cannot know all marks: then nothing is
        removed (ImageError says why). Age is wall time; a clock that jumps ahead costs at most another transfer.
        With ``dry_run`` nothing is written, and the answer is a look rather than a promise.
        """
        if not self._layout.images.is_dir():
            return Pruned()
        if dry_run:
            return self._sweep(marked, grace_s, dry_run=True)
        with self._explained(), removing(self._layout.store_lock, wait_s):
            pruned = self._sweep(marked, grace_s, dry_run=False)
            self._remove_stale_temporaries()
            sync_folder(self._layout.images)
        return pruned

    def _sweep(self, marked: Callable[[], frozenset[str]], grace_s: float, dry_run: bool) -> Pruned:
        try:
            marks = marked()
        except FleetError as error:
            raise ImageError(
                f"No image was removed from {self._layout.images}, because it is not known which are needed. {error}"
            ) from error
        removed, kept = [], 0
        youngest = time.time() - grace_s
        for entry in sorted(self._layout.images.iterdir()):
            if not SHA256_PATTERN.fullmatch(entry.name):
                continue
            found = os.lstat(entry)
            if entry.name in marks or found.st_mtime >= youngest:
                kept += 1
                continue
            if not dry_run:
                entry.unlink()
            removed.append(Image(sha256=entry.name, size=found.st_size))
        return Pruned(tuple(removed), kept)

    def _receive(self, descriptor: int, chunks: Iterable[bytes], expected: Optional[Image], max_bytes: int) -> Image:
        if expected is not None and expected.size > max_bytes:
            raise ImageError(
                f"The image {expected.sha256} has {expected.size} bytes, and at most {max_bytes} are allowed "
                "(max_bytes). The store is as before."
            )
        most = max_bytes if expected is None else expected.size
        digest, size = hashlib.sha256(), 0
        for chunk in chunks:
            size += len(chunk)
            if size > most:
                what = "are allowed (max_bytes)" if expected is None else f"belong to the image {expected.sha256}"
                raise ImageError(f"There are more bytes than the {most} that {what}. The store is as before.")
            digest.update(chunk)
            view = memoryview(chunk)
            while view:
                view = view[os.write(descriptor, view) :]
        image = Image(sha256=digest.hexdigest(), size=size)
        if size == 0:
            raise ImageError("The image is empty: there are no bytes. The store is as before.")
        if expected is not None and size != expected.size:
            raise ImageError(
                f"The image {expected.sha256} should have {expected.size} bytes, and {size} came. The store is as "
                "before. Look the build up again: its source may hold a damaged file."
            )
        if expected is not None and image.sha256 != expected.sha256:
            raise ImageError(
                f"The bytes that came have the SHA-256 {image.sha256} instead of {expected.sha256}. The store is as "
                "before. Look the build up again, and do not use these bytes: they are not the build that was chosen."
            )
        return image

    @contextmanager
    def _adding(self) -> Iterator[None]:
        with self._explained():
            self._make_folders()
            with adding(self._layout.store_lock, _ADDER_WAITS_S, when_alone=self._remove_stale_temporaries):
                yield

    def _make_folders(self) -> None:
        if not self._layout.images.is_dir():
            make_folder(self._layout.root, _FOLDER_MODE)
            make_folder(self._layout.images, _FOLDER_MODE)
            os.chmod(self._layout.images, _FOLDER_MODE)

    def _remove_stale_temporaries(self) -> None:
        # Their writers are dead (the lock says so); the age is for file systems whose locks do not reach every machine.
        for entry in self._layout.images.glob(_TEMPORARY_PREFIX + "*"):
            if os.lstat(entry).st_mtime < time.time() - _STALE_S:
                entry.unlink()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _FULL:
                raise ImageError(
                    f"The image does not fit into {self._layout.images} ({error.strerror}; {self._free()} are free "
                    "there). The store is as before. Make room, for instance with state: pruned, then run again."
                ) from error
            raise ImageError(
                f"The image store {self._layout.images} cannot be used ({error.strerror or error}: {error.filename}). "
                "It is as before. Check that it belongs to the user that Ansible becomes."
            ) from error

    def _free(self) -> str:
        try:
            there = os.statvfs(self._layout.root)
        except OSError:
            return "an unknown number of bytes"
        return f"{there.f_bavail * there.f_frsize} bytes"
