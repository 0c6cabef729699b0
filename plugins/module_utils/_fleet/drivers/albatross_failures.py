# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is said when albatross did not start something, and whether the release is to blame for it."""

from __future__ import annotations

from contextlib import suppress

from ..albatross.client import Client
from ..albatross.errors import Refused
from ..albatross.names import Name
from ..errors import DriverError, Hindered
from .albatross_console_daemon import REMEDY

_CONSOLE_FAILED = "console failed"


def failure(error: DriverError, said: str) -> DriverError:
    """What is raised for that error, in these words: still not to be blamed on the release where it is not."""
    if isinstance(error, Refused) and error.text.endswith(_CONSOLE_FAILED):
        return Hindered(
            f"{said} albatrossd has lost its console daemon, or could not execute its tender: {REMEDY}; then deploy "
            "again."
        )
    return Hindered(said) if isinstance(error, Hindered) else DriverError(said)


def sentence(error: DriverError) -> str:
    """The server's own words have no end."""
    said = str(error)
    return said if said.endswith(".") else f"{said}."


def left(client: Client, full: Name) -> str:
    """What a refusal left of what ran, for the message: some come before the kill, and some after it."""
    with suppress(DriverError):
        return " What ran before still runs." if client.unikernel(full) is not None else " What ran before was killed."
    return ""
