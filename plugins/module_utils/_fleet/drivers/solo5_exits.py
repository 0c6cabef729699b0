# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What it means when a Solo5 tender has ended: from its status or signal and the last lines of its console, in words.

The two tenders differ: hvt reports a guest's fault itself and ends with a status, spt dies by the signal and says
nothing. Status 1 alone says little: every error of a tender, ``solo5_exit(1)``, and hvt on a request to stop. A
status is cut to 8 bits, so 0 may also be ``solo5_exit(256)``; what the console says is therefore asked first.
"""

from __future__ import annotations

import re
import signal as signals
from collections.abc import Sequence
from typing import Optional

CONSOLE_LINES = 40
"""How many lines are needed: a tender's usage text of 16 may follow its error."""

_EXIT = re.compile(r"Solo5: solo5_exit\((-?\d+)\) called")
_TRAP = re.compile(r"Solo5: trap: type=#(\w+)")
_ABORT = re.compile(r"Solo5: ABORT: (.+)")
_TENDER = re.compile(r"(?:solo5-(?:hvt|hvt-debug|spt): |^(?=Could not attach interface))(.+)")
_REMARKS = ("adjusting memory", "dumpcore: ", "WARNING: ")
"""What a tender says besides, which is no reason to end."""
_TRAPS = {
    "PF": "it used memory that is not its own, or not in that way (page fault)",
    "UD": "it executed an instruction that there is not (invalid opcode)",
    "DE": "it divided by zero",
    "GP": "it did what the processor forbids (general protection)",
    "SS": "its stack was used up (stack fault)",
    "DF": "a fault happened while another was handled (double fault)",
    "AC": "it used memory at an odd address (alignment check)",
    "NM": "it used floating point where that is off (device not available)",
}
_FAULTS = {
    "SIGSEGV": "the guest used memory that is not its own, or not in that way",
    "SIGBUS": "the guest used memory that is not there",
    "SIGILL": "the guest executed an instruction that there is not",
    "SIGTRAP": "the guest ran into a breakpoint",
    "SIGFPE": "the guest divided by zero",
    "SIGSYS": "the guest made a system call, which the tender forbids",
}
_OTHERS = {
    "SIGTERM": "it was asked to stop",
    "SIGINT": "it was asked to stop",
    "SIGKILL": "it was ended by force, by a person, a supervisor or for want of memory",
    "SIGPIPE": "nobody read its console any more",
    "SIGXCPU": "its CPU time was used up",
    "SIGXFSZ": "a file of it became larger than its limit",
}
_ERRORS: Sequence[tuple[str, str]] = (
    (r"KVM: internal error exit", "KVM could not go on with the guest: it does not know an instruction of it"),
    (r"KVM: unhandled exit", "the guest did what its virtual machine cannot go on from (a fault in the guest)"),
    (r"Invalid guest hypercall", "the guest made a call that its tender does not know"),
    (r"Device '(.+)' of type (\w+) declared but not", "the image wants the device {0} ({1}), which was not given"),
    (r"Resource not declared in manifest: '(.+)'", "the image knows no device {0}, which was given"),
    (r"Could not attach interface: (\S+): No such file or directory", "its network interface {0} is not there"),
    (r"Could not attach interface: (\S+): Network is down", "its network interface {0} is down"),
    (r"Could not attach interface: (\S+): Device or resource busy", "its network interface {0} is in use by another"),
    (r"Could not attach interface: (\S+): Permission denied", "it may not use its network interface {0}"),
    (r"Could not attach interface: (\S+): (.+)", "its network interface {0} cannot be used: {1}"),
    (r"e_entry does not fall within the memory", "its memory is too small for the image (memory_mib)"),
    (r"Malformed argument to --mem", "its memory cannot be that much (memory_mib)"),
    (r"guest memory size .* exceeds", "its memory is more than the tender can give (memory_mib)"),
    (r"Error allocating guest memory", "the node could not give it its memory (memory_mib)"),
    (r"Executable is not for the (\S+) target", "its image is not for {0}"),
    (r"invalid executable: (.+)", "its image is no image for this tender: {0}"),
    (r"phdr\[\d+\] bytes read mismatches", "its image was cut short"),
    (r"(\S+): Could not open: No such file or directory", "{0} is not there"),
    (r"(\S+): Could not open: (.+)", "{0} cannot be opened: {1}"),
    (r"Could not open: (/dev/kvm): (.+)", "{0} cannot be used: {1}"),
    (r"pread_in_full", "its image cannot be read"),
    (r"Missing KERNEL operand", "its tender was given no image"),
    (r"Guest command line too long", "its arguments are longer than a guest can be given"),
    (r"Invalid option: (.+)", "its tender does not know {0}"),
)


def meaning(status: Optional[int], signal: Optional[int], console: Sequence[str]) -> str:
    """How it ended, for people, after "it ...": what the console says last decides."""
    how = _how(status, signal)
    if signal is not None:
        name = _name(signal)
        if name in _FAULTS:
            return f"{how}: {_FAULTS[name]} (a fault in the guest)"
        return f"{how}: {_OTHERS[name]}" if name in _OTHERS else how
    said = _said(console)
    return f"{how}: {said}" if said else f"{how}, and its console does not say why"


def _said(console: Sequence[str]) -> str:
    trap = next((_TRAP.search(line) for line in reversed(console) if _TRAP.search(line)), None)
    for position in range(len(console) - 1, -1, -1):
        line = console[position]
        if "Solo5: solo5_abort() called" in line:
            return "the guest aborted (solo5_abort)"
        found = _EXIT.search(line)
        if found:
            return f"the guest ended by itself (solo5_exit({found[1]}))"
        found = _ABORT.search(line)
        if found:
            return _aborted(found[1], trap[1] if trap else None)
        found = _TENDER.search(line)
        if found and not found[1].startswith("Invalid option") and "All declared devices" not in found[1]:
            if found[1].startswith("Exiting on signal"):
                return "it was asked to stop"
            if found[1].startswith(_REMARKS):
                continue
            return _error(found[1])
    unknown = next((_TENDER.search(line) for line in console if "Invalid option" in line), None)
    return _error(unknown[1]) if unknown else ""


def _aborted(reason: str, trap: Optional[str]) -> str:
    if "Not enough memory" in reason:
        return "its memory is too small for the image (memory_mib)"
    if trap is not None:
        return f"a fault in the guest: {_TRAPS.get(trap, f'trap #{trap}')}"
    return f"the guest gave up ({reason})"


def _error(text: str) -> str:
    for pattern, words in _ERRORS:
        found = re.search(pattern, text)
        if found:
            return words.format(*found.groups())
    return f"its tender says: {text[:300]}"


def _how(status: Optional[int], signal: Optional[int]) -> str:
    if signal is not None:
        return f"killed by {_name(signal)}"
    return f"exited with status {status}" if status is not None else "ended, and nobody saw how"


def _name(number: int) -> str:
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"
