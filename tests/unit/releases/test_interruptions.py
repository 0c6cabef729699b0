# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every change is interrupted at every step; whoever comes next finds the old release or the new one, and all of the
history. Once with the machine going on, once with a power cut."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.declaration import checks_from
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.model import (
    Schedule,
    Verdict,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import FleetError
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases import guard
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.fingerprint import fingerprint
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.retention import marked_images
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import Phase, State
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import (
    Transaction,
    TrialOptions,
    locked,
)
from ansible_collections.unikernel.fleet.tests.support.fleet_node import (
    ME,
    FleetNode,
    InterruptAt,
    Interrupted,
    no_waiting_for_disks,
)
from ansible_collections.unikernel.fleet.tests.support.told_history import each_told_once
from ansible_collections.unikernel.fleet.tests.support.trials import AT_ONCE, FAILED, ON_TRIAL, PASSED, armed

__all__ = ["no_waiting_for_disks"]
NAME = "www"


def with_lock(fleet: FleetNode, work: Callable[[Transaction], Any], reached: Callable[[str], None]) -> Any:
    with locked(fleet.node(reached), NAME, ME, 0.0) as transaction:
        return work(transaction)


def nothing(step: str) -> None:
    """No interruption."""


# --- what is interrupted ----------------------------------------------------------------------------


def deploy(
    fleet: FleetNode, content: Optional[str], options: TrialOptions, **rest: Any
) -> Callable[[Transaction], Any]:
    declared = fleet.declaration(content, **rest)
    return lambda transaction: transaction.declare(declared, options, armed)


def begun(fleet: FleetNode, verdict: Optional[Verdict] = None, before: Optional[str] = "one") -> str:
    if before is not None:
        with_lock(fleet, deploy(fleet, before, AT_ONCE), nothing)
    trial = with_lock(fleet, deploy(fleet, "two", ON_TRIAL), nothing).trial
    if verdict is not None:
        with_lock(fleet, lambda transaction: transaction.judge(trial, verdict), nothing)
    return str(trial)


def first_deployment(fleet: FleetNode) -> Callable[[Transaction], Any]:
    return deploy(fleet, "two", AT_ONCE)


def update(fleet: FleetNode) -> Callable[[Transaction], Any]:
    with_lock(fleet, deploy(fleet, "one", AT_ONCE), nothing)
    return deploy(fleet, "two", AT_ONCE)


def update_on_trial(fleet: FleetNode) -> Callable[[Transaction], Any]:
    with_lock(fleet, deploy(fleet, "one", AT_ONCE), nothing)
    return deploy(fleet, "two", ON_TRIAL)


def update_that_does_not_start(fleet: FleetNode) -> Callable[[Transaction], Any]:
    fleet.machine.broken.add(fleet.image("two").sha256)
    return update_on_trial(fleet)


REHEARSED = TrialOptions(
    timeout_s=60.0,
    rehearse=True,
    checks=checks_from([{"process": {}}, {"console": {"must_match": "well", "must_not_match": "panic"}}], None),
    schedule=Schedule(deadline_s=0.5, stable_for_s=0.0, consecutive=1, delays_s=(0.01,), interval_s=0.01),
)


def update_after_a_rehearsal(fleet: FleetNode) -> Callable[[Transaction], Any]:
    with_lock(fleet, deploy(fleet, "one", AT_ONCE), nothing)
    return deploy(fleet, "two", REHEARSED)


def first_deployment_after_a_rehearsal(fleet: FleetNode) -> Callable[[Transaction], Any]:
    return deploy(fleet, "two", replace(REHEARSED, timeout_s=0.0))


def rehearsal_of_a_broken_build(fleet: FleetNode) -> Callable[[Transaction], Any]:
    fleet.machine.says[fleet.image("two").sha256] = "panic"
    return update_after_a_rehearsal(fleet)


def rehearsal_of_a_build_that_crashes(fleet: FleetNode) -> Callable[[Transaction], Any]:
    fleet.machine.crashing.add(fleet.image("two").sha256)
    return update_after_a_rehearsal(fleet)


def reconfiguration(fleet: FleetNode) -> Callable[[Transaction], Any]:
    with_lock(fleet, deploy(fleet, "one", AT_ONCE), nothing)
    return deploy(fleet, None, AT_ONCE, memory_mib=64)


def removal(fleet: FleetNode) -> Callable[[Transaction], Any]:
    with_lock(fleet, deploy(fleet, "one", AT_ONCE), nothing)
    return deploy(fleet, None, AT_ONCE, wanted="absent")


def stop(fleet: FleetNode) -> Callable[[Transaction], Any]:
    with_lock(fleet, deploy(fleet, "one", AT_ONCE), nothing)
    return deploy(fleet, None, AT_ONCE, wanted="stopped")


def rollback_by_hand(fleet: FleetNode) -> Callable[[Transaction], Any]:
    for content in ("two", "one"):
        with_lock(fleet, deploy(fleet, content, AT_ONCE), nothing)
    return lambda transaction: transaction.roll_back_to(None, AT_ONCE, None)


def confirmation(fleet: FleetNode) -> Callable[[Transaction], Any]:
    trial = begun(fleet, PASSED)
    return lambda transaction: transaction.confirm(trial)


def bad_verdict(fleet: FleetNode) -> Callable[[Transaction], Any]:
    trial = begun(fleet)
    return lambda transaction: transaction.judge(trial, FAILED)


def bad_verdict_on_a_first_deployment(fleet: FleetNode) -> Callable[[Transaction], Any]:
    trial = begun(fleet, before=None)
    return lambda transaction: transaction.judge(trial, FAILED)


def cancellation(fleet: FleetNode) -> Callable[[Transaction], Any]:
    trial = begun(fleet, PASSED)
    return lambda transaction: transaction.roll_back(trial, "by hand", False)


def takeover(fleet: FleetNode) -> Callable[[Transaction], Any]:
    begun(fleet, PASSED)
    declared = fleet.declaration("three")
    options = TrialOptions(timeout_s=60.0, takeover=True)
    return lambda transaction: transaction.declare(declared, options, armed)


def expiry(fleet: FleetNode) -> Callable[[Transaction], Any]:
    begun(fleet, PASSED)
    fleet.clock.seconds += 61
    return lambda transaction: None


def boot(fleet: FleetNode) -> Callable[[Transaction], Any]:
    with_lock(fleet, deploy(fleet, "one", AT_ONCE), nothing)
    fleet.reboot()
    return lambda transaction: None


SCENARIOS = (
    first_deployment,
    update,
    update_on_trial,
    update_that_does_not_start,
    update_after_a_rehearsal,
    first_deployment_after_a_rehearsal,
    rehearsal_of_a_broken_build,
    rehearsal_of_a_build_that_crashes,
    reconfiguration,
    removal,
    stop,
    rollback_by_hand,
    confirmation,
    bad_verdict,
    bad_verdict_on_a_first_deployment,
    cancellation,
    takeover,
    expiry,
    boot,
)


def steps_of(scenario: Callable[[FleetNode], Callable[[Transaction], Any]], folder: Path) -> list[str]:
    fleet = FleetNode(folder)
    work, recorder = scenario(fleet), InterruptAt()
    with_lock(fleet, work, recorder)
    return recorder.steps


# --- what must hold afterwards ----------------------------------------------------------------------


def history_of(fleet: FleetNode) -> list[dict[str, Any]]:
    return each_told_once(fleet.node(), NAME)


def assert_at_rest(fleet: FleetNode, state: State) -> None:
    assert state.phase is Phase.STABLE
    expected = [state.current.number] if state.current is not None and state.current.running else []
    assert fleet.machine.alive(NAME) == expected
    for number in expected:
        assert fleet.machine.releases[NAME, number] == state.current
    assert not fleet.machine.rehearsing and not fleet.layout.rehearsal(NAME).exists()
    needed = {r.image.sha256 for r in (state.current, state.previous, *state.kept) if r is not None}
    assert needed <= marked_images(fleet.layout)
    assert all(fleet.layout.image(digest).exists() for digest in needed)
    assert len(history_of(fleet)) == state.event_count
    if state.ended is not None and state.ended.outcome == "rolled_back":
        assert state.ended.evidence is not None and Path(state.ended.evidence, "report.json").exists()


def outcome(state: State) -> str:
    """Which release it is, whatever its number."""
    return fingerprint("5a", state.current)


@pytest.mark.parametrize("power_cut", [False, True], ids=["killed", "power cut"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__.replace("_", " "))
def test_an_interruption_anywhere_ends_with_the_old_release_or_the_new_one(
    scenario: Callable[[FleetNode], Callable[[Transaction], Any]], power_cut: bool, tmp_path: Path
) -> None:
    steps = steps_of(scenario, tmp_path / "counted")
    assert len(steps) >= 4
    for number, step in enumerate(steps):
        fleet = FleetNode(tmp_path / str(number))
        work = scenario(fleet)
        before = fleet.node().journal(NAME).read()
        with pytest.raises(Interrupted):
            with_lock(fleet, work, InterruptAt(number))
        written = fleet.node().journal(NAME).read()
        candidate = written.trial.candidate if written.trial is not None else written.current
        if power_cut:
            fleet.reboot()
        else:
            fleet.clock.seconds += 120
        after = guard.sweep(fleet.node(), NAME)
        assert_at_rest(fleet, after)
        allowed = {outcome(before), fingerprint("5a", candidate)}
        assert outcome(after) in allowed, step
        if written.phase is Phase.REHEARSING:
            assert after.current == before.current and after.held == before.held, f"{step}: nothing was swapped"
        if written.phase in (Phase.SWAPPING, Phase.ON_TRIAL, Phase.REVERTING):
            assert after.current == written.current, f"{step}: before the commit point it goes back"
        if written.phase is Phase.CONFIRMING:
            assert after.current == candidate, f"{step}: after the commit point it goes forward"
        again = guard.sweep(fleet.node(), NAME)
        assert replace(again, events=after.events, salt=after.salt) == after, f"{step}: it is at rest"


# --- many changes, one after the other, any of them interrupted ---------------------------------------


class ManyChanges(RuleBasedStateMachine):
    """Anything that can happen to a unikernel, in any order."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="fleet-")
        self.fleet = FleetNode(Path(self.folder.name))
        self.told = 0

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()

    def work(self, work: Callable[[Transaction], Any], interrupted_at: int = -1) -> None:
        try:
            with_lock(self.fleet, work, InterruptAt(interrupted_at))
        except (FleetError, Interrupted):
            return

    @rule(
        content=st.sampled_from(["one", "two", "three", None]),
        wanted=st.sampled_from(["running", "running", "stopped", "absent"]),
        memory_mib=st.sampled_from([None, 32, 64]),
        timeout_s=st.sampled_from([0.0, 60.0]),
        takeover=st.booleans(),
        retry_failed=st.booleans(),
        rehearse=st.booleans(),
        interrupted_at=st.integers(-8, 12),
    )
    def declare(
        self,
        content: Optional[str],
        wanted: str,
        memory_mib: Optional[int],
        timeout_s: float,
        takeover: bool,
        retry_failed: bool,
        rehearse: bool,
        interrupted_at: int,
    ) -> None:
        given = {} if memory_mib is None else {"memory_mib": memory_mib}
        declared = self.fleet.declaration(content, wanted, **given)
        options = TrialOptions(timeout_s=timeout_s, takeover=takeover, retry_failed=retry_failed, rehearse=rehearse)
        self.work(lambda transaction: transaction.declare(declared, options, armed), interrupted_at)

    @precondition(lambda self: self.trial is not None)
    @rule(verdict=st.sampled_from([PASSED, FAILED]), interrupted_at=st.integers(-8, 8))
    def judge(self, verdict: Verdict, interrupted_at: int) -> None:
        trial = self.trial or ""
        self.work(lambda transaction: transaction.judge(trial, verdict), interrupted_at)

    @precondition(lambda self: self.trial is not None)
    @rule(interrupted_at=st.integers(-8, 6))
    def confirm(self, interrupted_at: int) -> None:
        trial = self.trial or ""
        self.work(lambda transaction: transaction.confirm(trial), interrupted_at)

    @precondition(lambda self: self.trial is not None)
    @rule(blame=st.booleans(), interrupted_at=st.integers(-8, 8))
    def roll_back(self, blame: bool, interrupted_at: int) -> None:
        self.work(lambda transaction: transaction.roll_back(None, "by hand", blame), interrupted_at)

    @rule(number=st.none() | st.integers(1, 6), interrupted_at=st.integers(-8, 8))
    def roll_back_to(self, number: Optional[int], interrupted_at: int) -> None:
        self.work(lambda transaction: transaction.roll_back_to(number, AT_ONCE, None), interrupted_at)

    @rule()
    def time_passes(self) -> None:
        self.fleet.clock.seconds += 61

    @rule(interrupted_at=st.integers(-8, 6))
    def power_cut(self, interrupted_at: int) -> None:
        self.fleet.reboot()
        self.work(lambda transaction: None, interrupted_at)

    @rule()
    def something_ends(self) -> None:
        for number in self.fleet.machine.alive(NAME):
            self.fleet.machine.end(NAME, number, "killed by SIGSEGV")

    @rule(content=st.sampled_from(["one", "two"]))
    def an_image_breaks(self, content: str) -> None:
        self.fleet.machine.broken.add(self.fleet.image(content).sha256)

    @rule()
    def images_are_mended(self) -> None:
        self.fleet.machine.broken.clear()

    @rule()
    def images_are_pruned(self) -> None:
        self.fleet.store.prune(lambda: marked_images(self.fleet.layout), grace_s=-1.0)

    @rule()
    def the_guard_sweeps(self) -> None:
        try:
            state = guard.sweep(self.fleet.node(), NAME)
        except FleetError:
            return
        assert not self.fleet.machine.rehearsing and not self.fleet.layout.rehearsal(NAME).exists()
        if state.phase is Phase.STABLE and state.current is not None and state.current.running:
            assert set(self.fleet.machine.alive(NAME)) <= {state.current.number}

    @property
    def trial(self) -> Optional[str]:
        trial = self.fleet.node().journal(NAME).read().trial
        return trial.id if trial is not None else None

    @invariant()
    def the_state_can_be_read_and_every_image_that_it_needs_is_there(self) -> None:
        if not hasattr(self, "fleet"):
            return
        state = self.fleet.node().journal(NAME).read()
        candidate = state.trial.candidate if state.trial is not None else None
        needed = {r.image.sha256 for r in (state.current, state.previous, *state.kept, candidate) if r is not None}
        assert needed <= marked_images(self.fleet.layout)
        assert all(self.fleet.layout.image(digest).exists() for digest in needed)
        assert len(self.fleet.machine.alive(NAME)) <= 1

    @invariant()
    def no_event_is_lost(self) -> None:
        if not hasattr(self, "fleet"):
            return
        events, state = history_of(self.fleet), self.fleet.node().journal(NAME).read()
        known = {event["seq"] for event in events} | {event.seq for event in state.events}
        assert known == set(range(1, state.event_count + 1))
        assert len(events) >= self.told
        self.told = len(events)

    @invariant()
    def numbers_are_never_given_twice(self) -> None:
        if not hasattr(self, "fleet"):
            return
        state = self.fleet.node().journal(NAME).read()
        known = [r for r in (state.current, *state.kept) if r is not None]
        assert len({r.number for r in known}) == len(known)
        assert all(r.number < state.next_number for r in known)


TestManyChanges = ManyChanges.TestCase
TestManyChanges.settings = settings(max_examples=max(30, settings.default.max_examples // 4), stateful_step_count=25)
