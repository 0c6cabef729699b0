# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a virtual machine ended, read from QEMU's exit status and from what it wrote to the console.

QEMU traces every request to shut down with its cause; a guest that resets itself leaves no such line, since
``-no-reboot`` makes an end of that. A guest can write such lines too: it would only mislead about its own end.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Optional

TRACED = "qemu_system_shutdown_request"
CONSOLE_LINES = 40
STATE_TRACED = "runstate_set"
BEGINS = "(prelaunch) new_state"
LAST_WORDS = "new_state 11 (shutdown)"
"""QEMU's own, in its trace of its states, when it has nothing to do but to clean up and to exit. QEMU 7.2 now and then
hangs there for ever: when somebody talks to its QMP at that moment, it waits for an end of the conversation."""
_REQUEST = re.compile(TRACED + r" reason=(\d+)", re.ASCII)
_SIGNAL = re.compile(r"qemu-system-\w+: terminating on signal (\d+)", re.ASCII)
_COMPLAINT = re.compile(r"qemu-system-\w+: (.*)")

# The values of ShutdownCause in QEMU's qapi/run-state.json, in its order; the first is 0.
_HOST_ERROR, _HOST_QMP_QUIT, _HOST_SIGNAL, _GUEST_SHUTDOWN, _GUEST_PANIC = 1, 2, 4, 6, 8


def meaning(status: Optional[int], signal_meaning: str, console: Sequence[str]) -> str:
    """In words that follow a name; ``signal_meaning`` is what there is to say of an end by a signal."""
    begins = [number for number, line in enumerate(console) if BEGINS in line]
    console = console[begins[-1] :] if begins else console  # an earlier run may have ended in another way
    cause = _last_cause(console)
    if status is None and any(LAST_WORDS in line for line in console):
        status = 1 if cause == _GUEST_PANIC else 0  # it hung when it was to exit, and was helped
    if status is None:
        return f"QEMU was {signal_meaning}" if signal_meaning.startswith("killed") else signal_meaning
    complaint = next((m[1] for line in reversed(console) if (m := _COMPLAINT.search(line))), None)
    if cause == _GUEST_PANIC:
        return "its guest panicked"
    if status != 0:
        return f"QEMU ended with status {status}" + (f": {complaint[:300]}" if complaint else "")
    if cause == _GUEST_SHUTDOWN:
        return "its guest powered off"
    if cause in (_HOST_QMP_QUIT, _HOST_SIGNAL) or any(_SIGNAL.search(line) for line in console):
        return "QEMU was told to end"
    if cause == _HOST_ERROR:
        return "QEMU gave up" + (f": {complaint[:300]}" if complaint else "")
    return "its guest restarted, or reset itself after a fault, which counts as its end"


def _last_cause(console: Sequence[str]) -> Optional[int]:
    causes = [int(found[1]) for line in console for found in _REQUEST.finditer(line)]
    return causes[-1] if causes else None
