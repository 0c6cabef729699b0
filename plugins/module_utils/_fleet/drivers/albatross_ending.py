# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The end of a unikernel on albatross, whatever becomes of the answer to who asked for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from ..albatross.client import Client
from ..albatross.errors import AnswerLost
from ..albatross.names import Name
from ..errors import DriverError

SETTLES_WITHIN_S = 5.0
"""After an answer was lost: the server either carries the request out about now, or never will."""
POLL_S = 0.05


def destroy_for_sure(name: str, client: Client, full: Name, pause: Callable[[float], None]) -> None:
    """Until albatross lists it no more: its answers to a destroy are odd, and one may not come at all."""
    try:
        client.destroy(full)
    except AnswerLost as lost:
        give_up = time.monotonic() + SETTLES_WITHIN_S
        while True:
            with suppress(DriverError):
                if client.unikernel(full) is None:
                    return
            if time.monotonic() >= give_up:
                raise DriverError(f"{name}: it was to be destroyed, and still runs: {lost}") from lost
            pause(POLL_S)
