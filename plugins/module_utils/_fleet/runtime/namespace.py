# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Doing something inside a network namespace: a thread enters it, does it, and ends there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Optional, TypeVar

from .waiter import enter_network_namespace

T = TypeVar("T")

FOLDER = Path("/run/netns")
"""Where ``ip netns`` keeps its namespaces."""


def path_of(name: str) -> Path:
    return FOLDER / name


def inside(name: str, work: Callable[[], T]) -> T:
    """What ``work`` returns or raises, done in the named network namespace. A namespace is a thread's own, and this
    thread must not change its: so another one does it, which ends afterwards and never returns to anything else."""
    result: list[T] = []
    failure: list[BaseException] = []

    def enter_and_work() -> None:
        try:
            enter_network_namespace(str(path_of(name)))
            result.append(work())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=enter_and_work, name=f"inside {name}", daemon=True)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


def set_kernel_parameters(values: dict[str, str], namespace: Optional[str] = None) -> None:
    """Write below ``/proc/sys/net``; what this kernel does not have (IPv6 turned off, say) is left out."""

    def write() -> None:
        for key, value in values.items():
            try:
                Path("/proc/sys/net", *key.split("/")).write_text(value, encoding="ascii")
            except FileNotFoundError:
                continue

    if namespace is None:
        write()
    else:
        inside(namespace, write)
