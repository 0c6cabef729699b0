# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One change of a unikernel at a time: a lock that dies with its holder and says who holds it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..durable import make_folder
from ..errors import Busy, StateError
from ..file_lock import locks_within, open_lock

_MOST_TEXT = 4096


@contextmanager
def exclusive(path: Path, holder: str, name: str, wait_s: float) -> Iterator[None]:
    """Hold the lock, waiting at most ``wait_s``; Busy names who has it. The text inside is only for messages."""
    try:
        make_folder(path.parent)
        descriptor = open_lock(path)
    except OSError as error:
        raise StateError(
            f"{name}: the lock {path} cannot be opened ({error.strerror}). Nothing was changed. Check that the state "
            "folder exists, has room, and belongs to the user that Ansible becomes."
        ) from error
    try:
        if not locks_within(descriptor, wait_s):
            raise Busy(
                f"{name} is being changed by {_read_holder(descriptor)}. Nothing was changed by this run. "
                "Wait until the other one has ended, then run again."
            )
        _write_holder(descriptor, holder)
        yield
    finally:
        os.close(descriptor)


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
