# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's own store of images: what several nodes need is downloaded once, whoever asks first."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..durable import make_folder
from ..errors import Busy, ImageError, ImageMissing
from ..layout import NodeLayout
from ..model import Image
from .store import ImageStore

_KEPT_S = 30 * 86400.0
"""Images that no push used for so long are removed."""
_POLL_S = 0.05


class ImageCache:
    """A store below ``root`` that several processes fill at the same time."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.store = ImageStore(NodeLayout(root))

    def obtain(self, image: Image, bring: Callable[[ImageStore], object], wait_s: float) -> Path:
        """Path of the verified image; ``bring`` puts it into the store if it is not there.

        Another process that brings the same image is waited for, ``wait_s`` at most; then ImageError.
        """
        with self._one_at_a_time(image, wait_s):
            try:
                return self.store.claim(image)
            except ImageMissing:
                bring(self.store)
            path = self.store.claim(image)
        with suppress(Busy):
            self.store.prune(frozenset, grace_s=_KEPT_S, wait_s=0.0)
        return path

    @contextmanager
    def _one_at_a_time(self, image: Image, wait_s: float) -> Iterator[None]:
        # One file for all images: each locks the byte that its digest points at, so no lock files pile up.
        try:
            make_folder(self._root)
            descriptor = os.open(self._root / "downloads.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ImageError(
                f"The controller's image cache {self._root} cannot be used ({error.strerror}). The node was not "
                "touched. Choose another folder with controller_cache."
            ) from error
        try:
            _lock_byte(descriptor, int(image.sha256[:15], 16), image, wait_s)
            yield
        finally:
            os.close(descriptor)


def _lock_byte(descriptor: int, offset: int, image: Image, wait_s: float) -> None:
    give_up = time.monotonic() + wait_s
    while True:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
            return
        except (BlockingIOError, PermissionError):
            if time.monotonic() >= give_up:
                raise ImageError(
                    f"Another process has been downloading the image {image.sha256} for more than {wait_s:g} s. The "
                    "node was not touched. Run again."
                ) from None
        time.sleep(_POLL_S)
