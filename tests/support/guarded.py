# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A unikernel on this machine that real guards look after: detached processes that run from their archive."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.guard_install import arm
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import State
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import (
    Change,
    TrialOptions,
    locked,
)
from ansible_collections.unikernel.fleet.tests.support.fleet_node import ME
from ansible_collections.unikernel.fleet.tests.support.programs import end_all_instances
from ansible_collections.unikernel.fleet.tests.support.real_node import (
    NAME,
    answer_of,
    declared,
    free_port,
    processes_of,
    real_node,
    within,
)


class Guarded:
    """Its programs answer on a port of their own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.port = free_port()
        self.node = real_node(root)
        self.layout = self.node.layout

    def declare(self, program: str, options: TrialOptions, **configuration: Any) -> Change:
        declaration = declared(self.node, program, self.port, **configuration)
        with locked(self.node, NAME, ME) as transaction:
            return transaction.declare(declaration, options, functools.partial(arm, self.layout))

    def state(self) -> State:
        return self.node.journal(NAME).read()

    def guards(self) -> list[int]:
        return guards_of(self.root)

    def answers(self, expected: Optional[str], within_s: float = 3.0) -> bool:
        return within(within_s, lambda: answer_of(self.port) == expected)


def guards_of(root: Path) -> list[int]:
    """The processes of guards below that folder."""
    return [pid for pid, line in processes_of(root).items() if ".pyz" in line]


def kill_guards(root: Path) -> None:
    for pid in guards_of(root):
        os.kill(pid, signal.SIGKILL)


@contextmanager
def with_its_guards(root: Path) -> Iterator[None]:
    """Afterwards neither guards nor instances below that folder are left."""
    try:
        yield
    finally:
        kill_guards(root)
        end_all_instances(root)
