# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A node whose unikernel is a real process (driver ``unix``), for changes that are interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.node import Node
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.proposal import Declaration
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import State
from ansible_collections.unikernel.fleet.tests.support import programs, real_node
from ansible_collections.unikernel.fleet.tests.support.fault_cases import Case
from ansible_collections.unikernel.fleet.tests.support.interrupted_changes import interrupted_change
from ansible_collections.unikernel.fleet.tests.support.interruption import Failing, Fault


@dataclass(frozen=True)
class UnixGround:
    root: Path
    port: int
    what: str = ""

    def node(self, ahead_s: float = 0.0) -> Node:
        return real_node.real_node(self.root, ahead_s=ahead_s)

    def failing_node(self, failing: Failing) -> Node:
        return real_node.real_node(self.root, failing)

    def declared(self, node: Node, version: Optional[str], word: str = "default") -> Declaration:
        return real_node.declared(node, None if version is None else real_node.answering(version), self.port, word)

    def leftovers(self, node: Node, after: State) -> list[str]:
        return surplus_processes(self.root, 2 if after.current is not None else 0)


def surplus_processes(root: Path, wanted: int = 2) -> list[str]:
    """That there are more or fewer than these, of which an instance has two: its waiter and its program."""
    real_node.within(2.0, lambda: len(real_node.processes_of(root)) == wanted)
    found = real_node.processes_of(root)
    return [] if len(found) == wanted else [f"{wanted} processes expected, found {found}"]


def interrupted_on_unix(folder: Path, scenario: str, fault: Fault, number: int) -> tuple[bool, Case]:
    with case_folder(folder, number) as root:
        return interrupted_change(UnixGround(root, real_node.free_port()), scenario, fault, number)


@contextmanager
def case_folder(folder: Path, number: int) -> Iterator[Path]:
    """Of one case; nothing that runs below it is left afterwards."""
    root = folder / str(number)
    root.mkdir()
    try:
        yield root
    finally:
        programs.end_all_instances(root)
