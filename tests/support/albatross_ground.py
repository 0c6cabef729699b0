# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A node whose unikernel the double of albatross runs, for changes that are interrupted: what is asked of albatross,
and what is written down of it, are steps too."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.client import Client
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import UnikernelInfo
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.albatross_place import Place
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.albatross_records import Created, Records
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import FleetError
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.node import Node, local_node
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.proposal import Declaration, Wanted
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import State
from ansible_collections.unikernel.fleet.tests.support.albatross.images import image
from ansible_collections.unikernel.fleet.tests.support.albatross_process import AlbatrossProcess
from ansible_collections.unikernel.fleet.tests.support.fault_cases import Case
from ansible_collections.unikernel.fleet.tests.support.interrupted_changes import interrupted_change
from ansible_collections.unikernel.fleet.tests.support.interruption import Failing, Fault
from ansible_collections.unikernel.fleet.tests.support.real_node import (
    NAME,
    LaterClock,
    answering,
    free_port,
    within,
)

STEPS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (Client, ("create", "force_create", "destroy", "image")),
    (Records, ("begin", "put", "discard")),
)


def failing_around_requests(failing: Failing) -> None:
    for owner, names in STEPS:
        for name in names:
            failing.around(owner, name)


@dataclass(frozen=True)
class AlbatrossGround:
    root: Path
    place: Place
    port: int
    what: str = "albatross: "

    def node(self, ahead_s: float = 0.0) -> Node:
        return self._node(lambda step: None, ahead_s)

    def failing_node(self, failing: Failing) -> Node:
        failing_around_requests(failing)
        return self._node(failing, 0.0)

    def _node(self, reached: Callable[[str], None], ahead_s: float) -> Node:
        made = local_node(NodeLayout(self.root / "state"), {NAME: self.place})
        return Node(made.layout, made.store, made.open_driver, LaterClock(ahead_s), reached, made.places)

    def declared(self, node: Node, version: Optional[str], word: str = "default") -> Declaration:
        given = {
            "driver": "albatross",
            "networks": [],
            "arguments": [str(self.port), word],
            "albatross": {"add_name": False},
        }
        octets = None if version is None else node.store.add_stream([image(answering(version), networks=())])
        return Declaration(wanted=Wanted.RUNNING, image=octets, configuration=given)

    def leftovers(self, node: Node, after: State) -> list[str]:
        wanted = 1 if after.current is not None else 0
        within(2.0, lambda: len(_processes_of(self.place)) == wanted)
        found = _processes_of(self.place)
        left = [f"{wanted} processes expected, found {found}"] if len(found) != wanted else []
        listed = [str(entry.name) for entry in self.place.client().unikernels(self.place.name(None))]
        if listed != [str(self.place.name(NAME))] * wanted:
            left.append(f"albatross lists {listed}")
        info = self.place.client().unikernel(self.place.name(NAME))
        # Whether a request was sent, whose asker was killed, nobody knows: as long as what it is to replace runs, it
        # may be carried out, and its record is there so that it is known for ours then.
        awaited = {one.number for one in Records(node.layout, NAME).all() if _is_awaited(one, info)}
        written_down = {int(path.parent.name) for path in node.layout.instance(NAME, 0).parent.glob("*/created.json")}
        records = written_down - awaited
        numbers = {release.number for release in (after.current, *after.kept) if release is not None}
        if len(records) > max(1, len(numbers)):
            left.append(f"{len(records)} records of {sorted(numbers)}")
        return left


def _is_awaited(record: Created, info: Optional[UnikernelInfo]) -> bool:
    return record.unanswered and record.before is not None and info is not None and info.started == record.before


def _processes_of(place: Place) -> dict[int, str]:
    """All that the double started in that path, and that runs."""
    trace = f"{place.sockets}/double/images/{place.path}:{NAME}.img".encode()
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                said = (entry / "cmdline").read_bytes()
                if trace in said:
                    found[int(entry.name)] = said.replace(b"\0", b" ").decode("utf-8", "replace")
    return found


def interrupted_on_albatross(
    albatross: AlbatrossProcess, folder: Path, scenario: str, fault: Fault, number: int
) -> tuple[bool, Case]:
    """Each case has a path of its own in that one albatross."""
    root = folder / str(number)
    root.mkdir()
    place = Place(path=f"case-{number}", sockets=str(albatross.folder), timeout_s=10.0)
    try:
        return interrupted_change(AlbatrossGround(root, place, free_port()), scenario, fault, number)
    finally:
        with suppress(FleetError):
            place.client().destroy(place.name(NAME))
