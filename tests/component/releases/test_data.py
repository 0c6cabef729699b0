# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The data of a unikernel over changes and interruptions: real disks and journals, a simulated machine whose releases
each write to their disks as soon as they run."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.model import CheckSpec, Verdict
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import (
    DriverError,
    FleetError,
    InvalidDeclaration,
    ReleaseRefused,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import SnapshotMethod
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases import guard
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.data import DataOptions
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import Phase, State
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import (
    Change,
    Transaction,
    TrialOptions,
    locked,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime import reflink, snapshots
from ansible_collections.unikernel.fleet.tests.support.fleet_node import (
    ME,
    FleetNode,
    InterruptAt,
    Interrupted,
    no_waiting_for_disks,
)
from ansible_collections.unikernel.fleet.tests.support.trials import AT_ONCE, FAILED, PASSED, armed

__all__ = ["no_waiting_for_disks"]
NAME = "www"
DISK = {"block_devices": [{"name": "data", "size_mib": 1}]}
COPY = DataOptions(snapshot=SnapshotMethod.COPY)
ON_TRIAL = TrialOptions(timeout_s=60.0, data=COPY)
HOOK = """#!/bin/sh
# take, restore or remove; DISK; LABEL
echo "$1" >> "$(dirname "$0")/called"
case "$1" in
take) cp "$2" "$2.$3" ;;
restore) cp "$2.$3" "$2" ;;
remove) rm -f "$2.$3" ;;
esac
"""


@pytest.fixture
def fleet(tmp_path: Path) -> FleetNode:
    return FleetNode(tmp_path)


def declare(
    fleet: FleetNode,
    content: Optional[str],
    options: TrialOptions = AT_ONCE,
    name: str = NAME,
    reached: Callable[[str], None] = lambda step: None,
    **rest: Any,
) -> Change:
    declared = fleet.declaration(content, **{**DISK, **rest})
    with locked(fleet.node(reached), name, ME, 0.0) as transaction:
        return transaction.declare(declared, options, armed)


def state_of(fleet: FleetNode) -> State:
    return fleet.node().journal(NAME).read()


def written(fleet: FleetNode) -> list[str]:
    """What is on the disk: the releases that wrote to it, in order."""
    names = {fleet.image(content).sha256: content for content in ("one", "two", "three")}
    return [names[line] for line in fleet.layout.disk(NAME, "data").read_text(encoding="ascii").split()]


def writers(fleet: FleetNode) -> list[str]:
    """What ever ran on it."""
    names = {fleet.image(content).sha256: content for content in ("one", "two", "three")}
    return [names[sha256] for sha256 in fleet.machine.writers]


def files(fleet: FleetNode) -> list[str]:
    return sorted(path.name for path in fleet.layout.disks(NAME).iterdir())


# --- what is asked of the declaration -----------------------------------------------------------------


def test_an_update_of_data_needs_a_snapshot_or_a_word(fleet: FleetNode) -> None:
    declare(fleet, "one")
    before = fleet.layout.state(NAME).read_bytes()
    with pytest.raises(ReleaseRefused, match=r"would not undo.*data_compatible: true"):
        declare(fleet, "two")
    assert (fleet.layout.state(NAME).read_bytes(), fleet.running(NAME), written(fleet)) == (before, "one", ["one"])
    declare(fleet, "two", replace(AT_ONCE, data=DataOptions(compatible=True)))
    assert (fleet.running(NAME), written(fleet)) == ("two", ["one", "two"])


def test_the_same_image_and_disks_of_its_own_need_neither(fleet: FleetNode) -> None:
    declare(fleet, "one")
    declare(fleet, None, memory_mib=64)
    declare(fleet, "two", block_devices=[{"name": "other", "size_mib": 1}])
    assert fleet.running(NAME) == "two"


def test_one_that_is_only_stored_beside_the_data_cannot_be_kept_by_a_snapshot(fleet: FleetNode) -> None:
    declare(fleet, "one")
    with pytest.raises(ReleaseRefused, match="data_compatible"):
        declare(fleet, "two", replace(AT_ONCE, data=COPY), wanted="stopped")


@pytest.mark.parametrize(
    ("device", "why"),
    [
        ({"name": "../x", "size_mib": 1}, "no name of a block device"),
        ({"name": "data"}, "needs either size_mib"),
        ({"name": "data", "size_mib": 1, "path": "/dev/x"}, "needs either size_mib"),
        ({"name": "data", "size_mib": 0}, "must be from 1"),
    ],
)
def test_a_disk_that_cannot_be_is_refused(fleet: FleetNode, device: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidDeclaration, match=why):
        declare(fleet, "one", block_devices=[device])


def test_two_of_one_name_are_refused(fleet: FleetNode) -> None:
    with pytest.raises(InvalidDeclaration, match="Two block devices have one name"):
        declare(fleet, "one", block_devices=[{"name": "a", "size_mib": 1}, {"name": "a", "size_mib": 1}])


# --- nobody else's -------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["the same path", "another name of it", "a hard link"])
def test_a_disk_of_another_is_refused_whatever_it_is_called(fleet: FleetNode, tmp_path: Path, way: str) -> None:
    declare(fleet, "one")
    disk = fleet.layout.disk(NAME, "data")
    other = tmp_path / "other"
    if way == "another name of it":
        other.symlink_to(disk)
    elif way == "a hard link":
        os.link(disk, other)
    else:
        other = disk
    with pytest.raises(ReleaseRefused, match=r"is a disk of www.*Nothing was stopped"):
        declare(fleet, "two", name="thief", block_devices=[{"name": "data", "path": str(other)}])
    assert fleet.machine.alive("thief") == [] and written(fleet) == ["one"]


def test_one_that_is_on_trial_elsewhere_is_anothers_too(fleet: FleetNode, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.write_bytes(b"")
    device = {"block_devices": [{"name": "data", "path": str(shared)}]}
    declare(fleet, "one", ON_TRIAL, **device)
    assert state_of(fleet).current is None
    with pytest.raises(ReleaseRefused, match="is a disk of www"):
        declare(fleet, "two", name="thief", **device)


def test_a_state_that_cannot_be_read_may_name_any_disk(fleet: FleetNode) -> None:
    path = fleet.layout.state("broken")
    path.parent.mkdir(parents=True)
    path.write_text("{", encoding="ascii")
    with pytest.raises(ReleaseRefused, match=r"used by broken as well cannot be known.*Nothing was stopped"):
        declare(fleet, "one")
    declare(fleet, "one", block_devices=[])


def test_one_that_was_taken_by_another_in_the_meantime_is_anothers(fleet: FleetNode, tmp_path: Path) -> None:
    """Both have looked, and neither had written it down."""
    shared = tmp_path / "shared"
    shared.write_bytes(b"")
    device = {"block_devices": [{"name": "data", "path": str(shared)}]}

    def overtaken(name: str, trial: str, checks: Sequence[CheckSpec]) -> None:
        declare(fleet, "two", name="faster", **device)

    declared = fleet.declaration("one", **device)
    with locked(fleet.node(), NAME, ME, 0.0) as transaction, pytest.raises(ReleaseRefused, match="a disk of faster"):
        transaction.declare(declared, ON_TRIAL, overtaken)
    assert fleet.machine.alive(NAME) == [] and fleet.machine.alive("faster") == [1]
    assert not fleet.layout.state(NAME).exists()


# --- snapshots -----------------------------------------------------------------------------------------


def begin(fleet: FleetNode, verdict: Optional[Verdict] = None) -> str:
    declare(fleet, "one")
    trial = str(declare(fleet, "two", ON_TRIAL).trial)
    if verdict is not None:
        with locked(fleet.node(), NAME, ME) as transaction:
            transaction.judge(trial, verdict)
    return trial


def test_it_is_kept_for_the_trial_and_gone_after_the_confirmation(fleet: FleetNode) -> None:
    trial = begin(fleet, PASSED)
    state = state_of(fleet)
    assert state.trial is not None and state.trial.snapshot is not None and state.trial.snapshot.taken
    copy = Path(state.trial.snapshot.copies[0])
    assert copy.read_text(encoding="ascii").split() == [fleet.image("one").sha256]
    with locked(fleet.node(), NAME, ME) as transaction:
        transaction.confirm(trial)
    assert files(fleet) == ["data"] and written(fleet) == ["one", "two"]
    assert state_of(fleet).discarded == ()


def test_a_rollback_restores_it_before_the_old_release_runs_again(fleet: FleetNode) -> None:
    begin(fleet, FAILED)
    assert (fleet.running(NAME), written(fleet), writers(fleet)) == ("one", ["one", "one"], ["one", "two", "one"])
    assert files(fleet) == ["data"]


def test_the_guard_alone_restores_it_after_a_boot(fleet: FleetNode) -> None:
    begin(fleet)
    fleet.reboot()
    guard.sweep(fleet.node(), NAME)
    assert (fleet.running(NAME), written(fleet)) == ("one", ["one", "one"]) and files(fleet) == ["data"]


def test_a_rollback_by_hand_to_another_image_needs_a_word(fleet: FleetNode) -> None:
    declare(fleet, "one")
    declare(fleet, "two", replace(AT_ONCE, data=DataOptions(compatible=True)))
    with locked(fleet.node(), NAME, ME) as transaction:
        with pytest.raises(ReleaseRefused, match="data_compatible"):
            transaction.roll_back_to(None, AT_ONCE, None)
        transaction.roll_back_to(None, replace(AT_ONCE, data=DataOptions(compatible=True)), None)
    assert fleet.running(NAME) == "one" and written(fleet) == ["one", "two", "one"]


def test_a_snapshot_that_fails_brings_the_old_release_back_on_untouched_data(
    fleet: FleetNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(fleet, "one")

    def fails(snapshot: object) -> None:
        raise DriverError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(snapshots, "take", fails)
        change = declare(fleet, "two", ON_TRIAL)
    assert change.after.ended is not None and "the disk is full" in change.after.ended.reason
    assert (fleet.running(NAME), written(fleet), files(fleet)) == ("one", ["one", "one"], ["data"])


def test_one_that_cannot_be_restored_strands_it_and_is_not_forgotten(
    fleet: FleetNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(snapshot: object) -> None:
        raise DriverError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(snapshots, "restore", fails)
        trial = begin(fleet, FAILED)
        assert state_of(fleet).phase is Phase.STRANDED and fleet.running(NAME) is None
        with pytest.raises(DriverError, match=r"its data is not restored yet.*roll back first"):
            declare(fleet, "three", ON_TRIAL)
    with locked(fleet.node(), NAME, ME) as transaction:
        transaction.roll_back(trial, "again", False)
    assert (fleet.running(NAME), written(fleet), files(fleet)) == ("one", ["one", "one"], ["data"])


def test_one_that_cannot_be_removed_is_removed_by_whoever_comes_next(
    fleet: FleetNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(snapshot: object) -> None:
        raise DriverError("it is busy")

    with monkeypatch.context() as patched:
        patched.setattr(snapshots, "remove", fails)
        begin(fleet, FAILED)
        assert fleet.running(NAME) == "one" and len(state_of(fleet).discarded) == 1 and len(files(fleet)) == 2
    guard.sweep(fleet.node(), NAME)
    assert files(fleet) == ["data"] and state_of(fleet).discarded == ()


def test_a_program_of_the_operators_can_do_it(fleet: FleetNode, tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.write_text(HOOK, encoding="ascii")
    hook.chmod(0o755)
    options = replace(ON_TRIAL, data=DataOptions(snapshot=SnapshotMethod.HOOK, hook=str(hook)))
    declare(fleet, "one")
    trial = str(declare(fleet, "two", options).trial)
    with locked(fleet.node(), NAME, ME) as transaction:
        transaction.judge(trial, FAILED)
    assert written(fleet) == ["one", "one"] and files(fleet) == ["data"]
    assert (tmp_path / "called").read_text(encoding="ascii").split() == ["take", "restore", "remove"]
    missing = replace(options, data=DataOptions(snapshot=SnapshotMethod.HOOK, hook=str(tmp_path / "none")))
    with pytest.raises(ReleaseRefused, match="the path of a program on the node is needed"):
        declare(fleet, "three", missing)


def test_a_file_system_that_cannot_is_refused_beforehand_and_says_what_else_there_is(
    fleet: FleetNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(fleet, "one")
    monkeypatch.setattr(reflink, "FICLONE", 0x1234)  # no file system knows that one
    with pytest.raises(ReleaseRefused, match=r"by reflink.*cannot do that.*snapshot: copy.*Nothing was stopped"):
        declare(fleet, "two", replace(ON_TRIAL, data=DataOptions(snapshot=SnapshotMethod.REFLINK)))
    assert (fleet.running(NAME), files(fleet)) == ("one", ["data"])


# --- removal -------------------------------------------------------------------------------------------


def test_disks_outlive_their_unikernel_unless_they_are_to_go(fleet: FleetNode, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_bytes(b"")
    devices = [*DISK["block_devices"], {"name": "more", "path": str(theirs)}]
    declare(fleet, "one", block_devices=devices)
    absent = fleet.declaration(None, wanted="absent")

    def remove(options: TrialOptions) -> None:
        with locked(fleet.node(), NAME, ME) as transaction:
            transaction.declare(absent, options, None)

    remove(AT_ONCE)
    assert written(fleet) == ["one"]
    declare(fleet, "one", block_devices=devices)
    assert written(fleet) == ["one", "one"]
    remove(AT_ONCE)
    remove(replace(AT_ONCE, data=DataOptions(remove=True)))  # it is absent already, and only its disks are not
    assert not fleet.layout.disks(NAME).exists()
    declare(fleet, "one", block_devices=devices)
    remove(replace(AT_ONCE, data=DataOptions(remove=True)))
    assert not fleet.layout.disks(NAME).exists() and theirs.exists()


# --- interrupted anywhere ------------------------------------------------------------------------------


def update(fleet: FleetNode) -> Callable[[Transaction], object]:
    declare(fleet, "one")
    declared = fleet.declaration("two", **DISK)
    return lambda transaction: transaction.declare(declared, ON_TRIAL, armed)


def update_at_once(fleet: FleetNode) -> Callable[[Transaction], object]:
    declare(fleet, "one")
    declared = fleet.declaration("two", **DISK)
    return lambda transaction: transaction.declare(declared, replace(ON_TRIAL, timeout_s=0.0), None)


def update_that_does_not_start(fleet: FleetNode) -> Callable[[Transaction], object]:
    fleet.machine.broken.add(fleet.image("two").sha256)
    return update(fleet)


def confirmation(fleet: FleetNode) -> Callable[[Transaction], object]:
    trial = begin(fleet, PASSED)
    return lambda transaction: transaction.confirm(trial)


def bad_verdict(fleet: FleetNode) -> Callable[[Transaction], object]:
    trial = begin(fleet)
    return lambda transaction: transaction.judge(trial, FAILED)


def run(fleet: FleetNode, work: Callable[[Transaction], object], reached: Callable[[str], None]) -> None:
    with locked(fleet.node(reached), NAME, ME, 0.0) as transaction:
        work(transaction)


@pytest.mark.parametrize("power_cut", [False, True], ids=["killed", "power cut"])
@pytest.mark.parametrize(
    "scenario",
    [update, update_at_once, update_that_does_not_start, confirmation, bad_verdict],
    ids=lambda s: s.__name__,
)
def test_after_an_interruption_anywhere_the_data_is_that_of_the_release_which_runs(
    scenario: Callable[[FleetNode], Callable[[Transaction], object]], power_cut: bool, tmp_path: Path
) -> None:
    recorder = InterruptAt()
    run_on = FleetNode(tmp_path / "counted")
    run(run_on, scenario(run_on), recorder)
    assert len(recorder.steps) >= 8
    for number, step in enumerate(recorder.steps):
        fleet = FleetNode(tmp_path / str(number))
        work = scenario(fleet)
        with pytest.raises(Interrupted):
            run(fleet, work, InterruptAt(number))
        if power_cut:
            fleet.reboot()
        else:
            fleet.clock.seconds += 120
        after = guard.sweep(fleet.node(), NAME)
        assert after.phase is Phase.STABLE and after.discarded == () and files(fleet) == ["data"], step
        running = fleet.running(NAME)
        kept = writers(fleet) if running == "two" else [name for name in writers(fleet) if name != "two"]
        # Nothing of the release that was rolled back, and nothing lost of the one that runs.
        assert written(fleet) == kept, step
        guard.sweep(fleet.node(), NAME)
        assert written(fleet) == kept, f"{step}: it is at rest"


@pytest.mark.long
def test_every_interruption_can_itself_be_interrupted(tmp_path: Path) -> None:
    """Killed while it goes back, at each step, and again at each step of what comes then."""
    recorder = InterruptAt()
    counted = FleetNode(tmp_path / "counted")
    run(counted, bad_verdict(counted), recorder)
    for first in range(len(recorder.steps)):
        for second in range(0, 14):
            fleet = FleetNode(tmp_path / f"{first}-{second}")
            with pytest.raises(Interrupted):
                run(fleet, bad_verdict(fleet), InterruptAt(first))
            fleet.clock.seconds += 120
            try:
                guard.sweep(fleet.node(InterruptAt(second)), NAME)
            except Interrupted:
                pass
            except FleetError as error:
                raise AssertionError(f"{first}, {second}: {error}") from error
            guard.sweep(fleet.node(), NAME)
            assert fleet.running(NAME) == "one", (first, second)
            assert written(fleet) == [name for name in writers(fleet) if name != "two"], (first, second)
            assert files(fleet) == ["data"], (first, second)


def test_the_journal_names_the_copy_before_there_is_one(fleet: FleetNode) -> None:
    declare(fleet, "one")
    seen: list[tuple[bool, list[str]]] = []

    def look(step: str) -> None:
        if step in ("before the snapshot", "after the snapshot"):
            trial = json.loads(fleet.layout.state(NAME).read_bytes())["trial"]
            seen.append((trial["snapshot"]["taken"], files(fleet)))
            assert not fleet.machine.alive(NAME), "nothing writes to it meanwhile"

    declare(fleet, "two", ON_TRIAL, reached=look)
    assert [taken for taken, _files in seen] == [False, False]
    assert [len(there) for _taken, there in seen] == [1, 2]


def test_a_restored_disk_keeps_its_owner_and_rights(fleet: FleetNode) -> None:
    declare(fleet, "one")
    fleet.layout.disk(NAME, "data").chmod(0o640)
    trial = str(declare(fleet, "two", ON_TRIAL).trial)
    with locked(fleet.node(), NAME, ME) as transaction:
        transaction.judge(trial, FAILED)
    assert stat.S_IMODE(fleet.layout.disk(NAME, "data").stat().st_mode) == 0o640
