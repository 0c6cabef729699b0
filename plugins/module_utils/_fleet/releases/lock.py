# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One change of a unikernel at a time: a lock that dies with its holder and says who holds it."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..durable import make_folder
from ..errors import Busy, StateError

_POLL_S = 0.02
_MOST_TEXT = 4096


@contextmanager
def exclusive(path: Path, holder: str, name: str, wait_s: float) -> Iterator[None]:
    """Hold the lock, waiting at most ``wait_s``; Busy names who has it.

    ``flock`` belongs to the open file, so a killed holder frees it; the text inside is only for messages.
    """
    try:
        make_folder(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateError(
            f"{name}: the lock {path} cannot be opened ({error.strerror}). Nothing was changed. Check that the state "
            "folder exists, has room, and belongs to the user that Ansible becomes."
        ) from error
    try:
        _acquire(descriptor, name, wait_s)
        _write_holder(descriptor, holder)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, name: str, wait_s: float) -> None:
    give_up = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= give_up:
                raise Busy(
                    f"{name} is being changed by {_read_holder(descriptor)}. Nothing was changed by this run. "
                    "Wait until the other one has ended, then run again."
                ) from None
        time.sleep(_POLL_S)


def _write_holder(descriptor: int, holder: str) -> None:
    # A full disk must not keep anybody from taking the lock: the text is a courtesy.
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"holder": holder, "pid": os.getpid()}).encode("utf-8"), 0)


def _read_holder(descriptor: int) -> str:
    try:
        data = json.loads(os.pread(descriptor, _MOST_TEXT, 0))
        return f"{data['holder']} (process {data['pid']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
