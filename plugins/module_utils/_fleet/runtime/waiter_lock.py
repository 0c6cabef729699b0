# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lock of an instance's folder, which its waiter holds as long as it may start a process there."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ..file_lock import locks, open_lock
from . import waiter
from .process import ProcessIdentity, send


class WaiterLock:
    """A context: who leaves it, or dies in it, lets go."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / waiter.LOCK
        self._descriptor = -1

    def __enter__(self) -> WaiterLock:
        self._descriptor = open_lock(self._path)
        return self

    def __exit__(self, *_unused: object) -> None:
        os.close(self._descriptor)

    def take(self) -> bool:
        """Hold it, if nobody else does; whether we do."""
        return locks(self._descriptor)

    def tell_waiter(self, number: int) -> bool:
        """Signal the process that holds it; False when it has not put its name in there yet."""
        named = os.pread(self._descriptor, 200, 0).decode("ascii", "replace")
        try:
            identity = ProcessIdentity.parse(named)
        except ValueError:
            return False
        with suppress(PermissionError):
            send(identity, number)
        return True
