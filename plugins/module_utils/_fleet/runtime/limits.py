# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The limits of a configuration as the kernel's resource limits, and which of them this process may set."""

from __future__ import annotations

import os
import resource
from typing import Optional

from ..model import Configuration

MIB = 2**20
SIGXCPU_NOTICE_S = 5
"""From the signal that tells a process its CPU time is used up to the kill."""


def rlimits(configuration: Configuration) -> dict[str, tuple[int, int]]:
    """Names of :mod:`resource` to soft and hard limits; what is not declared keeps the machine's limit.

    ``memory_mib`` becomes RLIMIT_DATA: the private memory that a process may write to, which is what it can use up.
    RLIMIT_AS would count reserved addresses too, and the run-times of OCaml 5 and Go reserve far more than they use;
    RLIMIT_RSS has no effect on Linux. It holds per process, and counts a thread's whole stack (8 MiB as a rule).

    ``processes`` becomes RLIMIT_NPROC, which counts all processes of the *user*, and does not bind root.
    """
    limits = configuration.limits
    found: dict[str, tuple[int, int]] = {}
    if configuration.memory_mib is not None:
        found["RLIMIT_DATA"] = _both(configuration.memory_mib * MIB)
    if limits.open_files is not None:
        found["RLIMIT_NOFILE"] = _both(limits.open_files)
    if limits.processes is not None:
        found["RLIMIT_NPROC"] = _both(limits.processes)
    if limits.file_size_mib is not None:
        found["RLIMIT_FSIZE"] = _both(limits.file_size_mib * MIB)
    if limits.cpu_time_s is not None:
        found["RLIMIT_CPU"] = (limits.cpu_time_s, limits.cpu_time_s + SIGXCPU_NOTICE_S)
    return found


def unreachable_limit(wanted: dict[str, tuple[int, int]]) -> Optional[str]:
    """Why these limits cannot be set from here: None when they can. Only root may raise the hard ones."""
    if os.geteuid() == 0:
        return None
    for name, (_soft, hard) in wanted.items():
        ceiling = resource.getrlimit(getattr(resource, name))[1]
        if ceiling != resource.RLIM_INFINITY and hard > ceiling:
            return f"{name} {hard} is above this user's hard limit {ceiling}"
    return None


def _both(value: int) -> tuple[int, int]:
    return (value, value)
