# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real file system that is full at each write of an update in turn: it has room for no page, for one, for two, and so
on until there is enough. Whatever could not be written, the old or the new release answers, and with room it goes on.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import FleetError
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases import guard
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import Phase, State
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import locked
from ansible_collections.unikernel.fleet.tests.support import programs
from ansible_collections.unikernel.fleet.tests.support.fault_cases import Case, all_survived
from ansible_collections.unikernel.fleet.tests.support.fleet_node import ME
from ansible_collections.unikernel.fleet.tests.support.interruption import Fault
from ansible_collections.unikernel.fleet.tests.support.real_node import (
    AT_ONCE,
    NAME,
    UNGUARDED,
    answer_of,
    answering,
    declared,
    free_port,
    real_node,
    within,
)
from ansible_collections.unikernel.fleet.tests.support.told_history import gaps_in_history
from ansible_collections.unikernel.fleet.tests.support.trials import PASSED
from ansible_collections.unikernel.fleet.tests.support.unix_ground import surplus_processes

pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason="a small file system of its own: only root may mount one")]
SIZE_KIB = 4096
MOST_PAGES = 60
PAGE = os.sysconf("SC_PAGE_SIZE")


@contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_KIB}k", "small", str(place)], check=True, timeout=10)
    try:
        yield place
    finally:
        programs.end_all_instances(place)
        subprocess.run(["umount", "--lazy", str(place)], check=True, timeout=10)


def fill(disk: Path, pages: int) -> Path:
    """Leave room for that many pages."""
    filler = disk / "filler"
    with open(filler, "wb") as file:
        while (free := os.statvfs(disk).f_bavail) > pages:
            file.write(bytes(PAGE * min(free - pages, 64)))
            file.flush()
    return filler


def updated(disk: Path, port: int, pages: int) -> tuple[bool, State]:
    """Whether an update was made on a disk with so much room, and what stands in the journal then."""
    node = real_node(disk)
    declaration = declared(node, answering("two"), port)
    filler = fill(disk, pages)
    enough = True
    try:
        with locked(node, NAME, ME) as transaction:
            trial = transaction.declare(declaration, UNGUARDED, None).trial
            if trial is not None and transaction.state.phase is Phase.ON_TRIAL:
                transaction.judge(trial, PASSED)
                transaction.confirm(trial)
            enough = transaction.state.ended is not None and transaction.state.ended.outcome == "confirmed"
    except FleetError as error:
        assert "No space left on device" in str(error) or "Make room" in str(error), error
        enough = False
    written = node.journal(NAME).read()
    assert within(3.0, lambda: answer_of(port) in ("one default", "two default")), "somebody answers on the full disk"
    filler.unlink()
    return enough, written


def judged(disk: Path, port: int, pages: int, written: State) -> Case:
    node = real_node(disk, ahead_s=60.0)
    after = guard.sweep(node, NAME)
    expected = "two default" if after.current is not None and after.current.number == 2 else "one default"
    lost = [] if within(3.0, lambda: answer_of(port) == expected) else [f"{answer_of(port)!r} instead of {expected!r}"]
    if written.phase in (Phase.SWAPPING, Phase.ON_TRIAL, Phase.REVERTING) and expected != "one default":
        lost.append(f"{expected!r} was never committed: {written.phase.value} was written")
    alive = [instance.release for instance in node.inspect(after) if instance.alive]
    if after.phase is not Phase.STABLE or after.current is None or alive != [after.current.number]:
        lost.append(f"it is {after.phase.value}, and {alive} live")
    lost += gaps_in_history(node, NAME, after)
    left = tuple(surplus_processes(disk))
    return Case(f"update with room for {pages} pages", Fault.ERROR, pages, tuple(lost), left)


def test_on_a_disk_that_is_full_sooner_or_later_one_release_answers(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    cases, enough = [], False
    for pages in range(MOST_PAGES):
        with small_disk(tmp_path / str(pages)) as disk:
            port = free_port()
            node = real_node(disk)
            with locked(node, NAME, ME) as transaction:
                transaction.declare(declared(node, answering("one"), port), AT_ONCE, None)
            assert within(3.0, lambda port=port: answer_of(port) == "one default")  # type: ignore[misc]
            enough, written = updated(disk, port, pages)
            cases.append(judged(disk, port, pages, written))
        if enough:
            break
    all_survived(cases, 4, record_property)
    assert enough
