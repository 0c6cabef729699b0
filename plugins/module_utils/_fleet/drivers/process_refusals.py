# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What forbids running a configuration as a process of this machine, whatever the image is. Never shows a secret:
words are numbered and variables named, not quoted."""

from __future__ import annotations

import os
from typing import Optional

from ..model import Configuration
from ..runtime.limits import rlimits, unreachable_limit
from ..runtime.waiter import MARK

MOST_WORD_BYTES = 128 * 1024 - 1
"""Linux takes no longer argument or variable (MAX_ARG_STRLEN, its final zero included)."""
MOST_BYTES = 1024 * 1024
"""Of arguments and environment together; Linux takes a quarter of the stack's limit, 2 MiB as a rule."""


def refusals_of_process(configuration: Configuration) -> list[str]:
    """All of them."""
    return [
        *refusals_of_words(configuration),
        *refusals_of_place(configuration),
        *refusals_of_limits(configuration),
    ]


def refusals_of_words(configuration: Configuration) -> list[str]:
    reasons = []
    environment = {**configuration.environment, **configuration.secret_environment}
    words = (*configuration.arguments, *configuration.secret_arguments)
    for number, word in enumerate(words, 1):
        if "\0" in word:
            reasons.append(f"its argument {number} holds a zero byte")
        elif _octets(word) > MOST_WORD_BYTES:
            reasons.append(f"its argument {number} is longer than {MOST_WORD_BYTES} bytes")
    for key, value in environment.items():
        if not key or "=" in key or "\0" in key or "\0" in value:
            reasons.append(f"{key!r} with its value is no variable of an environment (empty, '=' or a zero byte)")
        elif key == MARK:
            reasons.append(f"the variable {MARK} belongs to the supervisor")
        elif _octets(key) + 1 + _octets(value) > MOST_WORD_BYTES:
            reasons.append(f"its variable {key!r} is longer than {MOST_WORD_BYTES} bytes")
    if sum(map(_octets, (*words, *environment, *environment.values()))) > MOST_BYTES:
        reasons.append(f"its arguments and environment are more than {MOST_BYTES} bytes together")
    return reasons


def refusals_of_place(configuration: Configuration) -> list[str]:
    reasons = []
    folder = configuration.working_directory
    if folder is not None and not (os.path.isabs(folder) and os.path.isdir(folder)):
        reasons.append(f"its working directory {folder!r} is no folder on this node (an absolute path is needed)")
    missing = sorted(set(configuration.cpus) - os.sched_getaffinity(0))
    if missing:
        usable = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
        reasons.append(f"it may only use the CPUs {', '.join(map(str, missing))}, and this node offers {usable}")
    return reasons


def refusals_of_limits(configuration: Configuration) -> list[str]:
    limits = configuration.limits
    declared = {
        "memory_mib": configuration.memory_mib,
        "open_files": limits.open_files,
        "processes": limits.processes,
        "file_size_mib": limits.file_size_mib,
        "cpu_time_s": limits.cpu_time_s,
    }
    reasons = [f"{key} is {value}, and at least 1 is needed" for key, value in declared.items() if not _sane(value)]
    if not 0 <= configuration.stop_grace_s <= 3600:
        reasons.append(f"stop_grace_s is {configuration.stop_grace_s}, and 0 to 3600 s are possible")
    if not reasons:
        unreachable = unreachable_limit(rlimits(configuration))
        if unreachable:
            reasons.append(unreachable)
    return reasons


def _sane(value: Optional[int]) -> bool:
    return value is None or 1 <= value < 2**40


def _octets(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))
