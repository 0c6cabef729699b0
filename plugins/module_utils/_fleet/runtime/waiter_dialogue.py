# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a waiter that was launched and its launcher say to each other: it is ready, it may go on, it was started."""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Optional

START_PATIENCE_S = 15.0
"""From the launch of the waiter to its answer; the disk may be slow, and an exec over a network too."""


def carry_on(reply: dict[str, Any], answers: int, go: int, first: Callable[[], None]) -> Optional[dict[str, Any]]:
    """When a waiter has said its first word: do what comes before the program, and let it go. What goes wrong with the
    one or the other leaves the program not begun."""
    if "ready" in reply or "already" in reply:
        first()
    if "ready" not in reply:
        return reply
    with suppress(BrokenPipeError):
        os.write(go, b"!")
    return heard(answers, time.monotonic() + START_PATIENCE_S)


def heard(answers: int, deadline: float) -> Optional[dict[str, Any]]:
    """The waiter's next answer, or what it said instead as an error; None when nothing came until then."""
    said = _first_line(answers, deadline)
    if said is None:
        return None
    try:
        reply = json.loads(said)
    except ValueError:
        reply = {"error": f"its waiter did not come up: {said.decode('utf-8', 'replace').strip()[-2000:] or 'no word'}"}
    return reply if isinstance(reply, dict) else {"error": "its waiter spoke in riddles"}


def _first_line(descriptor: int, deadline: float) -> Optional[bytes]:
    """Its answer is one line; a traceback of several begins with no brace and is read whole."""
    said = b""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while not (said.startswith(b"{") and said.endswith(b"\n")):
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not poll.poll(int(left_s * 1000) + 1):
            return None
        chunk = os.read(descriptor, 65536)
        if not chunk or len(said) > 1 << 20:
            break
        said += chunk
    return said
