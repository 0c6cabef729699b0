# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lock of an image store: shared by those who add, exclusive to the one who removes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import Busy
from ..file_lock import EXCLUSIVE, SHARED, locks, locks_within, open_lock


@contextmanager
def adding(path: Path, wait_s: float, when_alone: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock together with others who add; Busy when somebody removes images for all of ``wait_s``.

    ``when_alone`` is called first if nobody else holds the lock: then no other writer lives, and what dead ones left
    behind can be told from what is being written.
    """
    with _opened(path) as descriptor:
        if locks(descriptor):
            when_alone()
        _wait(descriptor, SHARED, path, wait_s, "images are being removed from it")
        yield


@contextmanager
def removing(path: Path, wait_s: float) -> Iterator[None]:
    """Hold the lock alone; Busy when somebody adds an image for all of ``wait_s``."""
    with _opened(path) as descriptor:
        _wait(descriptor, EXCLUSIVE, path, wait_s, "an image is being added to it")
        yield


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = open_lock(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _wait(descriptor: int, kind: int, path: Path, wait_s: float, why: str) -> None:
    if not locks_within(descriptor, wait_s, kind):
        raise Busy(
            f"The image store with the lock {path} is in use: {why}. It was left as it is. "
            "Wait until the other run has ended, then run again."
        )
