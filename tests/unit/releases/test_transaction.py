# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every change and every way out of one, with a real journal and a simulated machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.model import (
    CheckResult,
    CheckSpec,
    Outcome,
    Verdict,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import (
    Busy,
    DriverError,
    Held,
    ImageMissing,
    Inhibited,
    InvalidDeclaration,
    ReleaseRefused,
    TrialRefused,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases import guard
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.forecast import forecast
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.holds import hold_on
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.report import report
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.retention import marked_images
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import Holder, Phase, State
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import (
    Change,
    TrialOptions,
    locked,
)
from ansible_collections.unikernel.fleet.tests.support.fleet_node import (
    ME,
    FleetNode,
    no_waiting_for_disks,
)
from ansible_collections.unikernel.fleet.tests.support.told_history import each_told_once
from ansible_collections.unikernel.fleet.tests.support.trials import AT_ONCE, ON_TRIAL, armed

__all__ = ["no_waiting_for_disks"]
NAME = "www"
PASSED = Verdict(Outcome.PASS, "all well", results=(CheckResult("web", "http", True, Outcome.PASS),))
FAILED = Verdict(Outcome.FAIL, "web: refused", results=(CheckResult("web", "http", True, Outcome.FAIL),))
ANOTHER = Holder(who="another", run="run-2")


@pytest.fixture
def fleet(tmp_path: Path) -> FleetNode:
    return FleetNode(tmp_path)


def declare(
    fleet: FleetNode,
    content: Optional[str] = None,
    options: TrialOptions = AT_ONCE,
    holder: Holder = ME,
    **declaration: Any,
) -> Change:
    declared = fleet.declaration(content, **declaration)
    with locked(fleet.node(), NAME, holder, 0.0) as transaction:
        return transaction.declare(declared, options, armed)


def foreseen(fleet: FleetNode, content: str, options: TrialOptions = AT_ONCE) -> Change:
    return forecast(fleet.node(), NAME, ME).declare(fleet.declaration(content), options, None)


def begin(fleet: FleetNode, content: str, verdict: Optional[Verdict] = None, **rest: Any) -> str:
    trial = declare(fleet, content, ON_TRIAL, **rest).trial
    assert trial is not None
    if verdict is not None:
        judge(fleet, trial, verdict)
    return trial


def judge(fleet: FleetNode, trial: str, verdict: Verdict) -> None:
    with locked(fleet.node(), NAME, ME, 0.0) as transaction:
        transaction.judge(trial, verdict)


def confirm(fleet: FleetNode, trial: str) -> bool:
    with locked(fleet.node(), NAME, ME, 0.0) as transaction:
        return transaction.confirm(trial)


def roll_back(fleet: FleetNode, trial: Optional[str] = None, reason: str = "by hand", blame: bool = True) -> bool:
    with locked(fleet.node(), NAME, ME, 0.0) as transaction:
        return transaction.roll_back(trial, reason, blame)


def roll_back_to(fleet: FleetNode, number: Optional[int] = None, hold: bool = True) -> Change:
    with locked(fleet.node(), NAME, ME, 0.0) as transaction:
        return transaction.roll_back_to(number, AT_ONCE, None, hold)


def state_of(fleet: FleetNode) -> State:
    return fleet.node().journal(NAME).read()


def history_of(fleet: FleetNode) -> list[str]:
    return [event["what"] for event in each_told_once(fleet.node(), NAME)]


# --- the straight way -------------------------------------------------------------------------------


def test_the_first_release_runs_after_its_trial_was_confirmed(fleet: FleetNode) -> None:
    trial = begin(fleet, "one", PASSED)
    assert state_of(fleet).phase is Phase.ON_TRIAL
    assert confirm(fleet, trial)
    state = state_of(fleet)
    assert (state.phase, fleet.running(NAME)) == (Phase.STABLE, "one")
    assert state.current is not None and state.current.number == 1
    assert history_of(fleet) == ["begun", "confirmed"]


def test_declaring_the_same_again_changes_nothing(fleet: FleetNode) -> None:
    declare(fleet, "one", memory_mib=32)
    before = fleet.layout.state(NAME).read_bytes()
    for again in ({"content": "one", "memory_mib": 32}, {"content": "one"}, {"memory_mib": 32}, {}):
        assert not declare(fleet, **again).changed
    assert fleet.layout.state(NAME).read_bytes() == before
    assert fleet.machine.started == 1


def test_an_update_keeps_the_release_before_as_the_way_back(fleet: FleetNode) -> None:
    declare(fleet, "one")
    declare(fleet, "two")
    state = state_of(fleet)
    assert fleet.running(NAME) == "two"
    assert state.previous is not None and state.previous.number == 1
    assert [r.number for r in state.kept] == [1]
    assert {image.sha256 for image in (fleet.image("one"), fleet.image("two"))} <= marked_images(fleet.layout)


def test_what_is_left_out_is_inherited_and_shown_as_such(fleet: FleetNode) -> None:
    declare(fleet, "one", memory_mib=64, arguments=["--a"], secret_arguments=["--key=hunter2"])
    change = declare(fleet, "two", arguments=["--b"])
    candidate = change.proposal.candidate
    assert candidate is not None
    assert (candidate.configuration.memory_mib, candidate.configuration.arguments) == (64, ("--b",))
    assert set(change.proposal.inherited) == {"memory_mib", "secret_arguments"}


def test_stopping_and_removing_are_changes_with_a_way_back(fleet: FleetNode) -> None:
    declare(fleet, "one")
    declare(fleet, wanted="stopped")
    assert fleet.running(NAME) is None
    assert not declare(fleet, wanted="stopped").changed
    roll_back_to(fleet)
    assert fleet.running(NAME) == "one"
    declare(fleet, wanted="absent")
    assert (fleet.running(NAME), state_of(fleet).current) == (None, None)
    assert not declare(fleet, wanted="absent").changed
    declare(fleet, "one")
    assert fleet.running(NAME) == "one"


def test_a_removal_on_trial_that_nobody_confirms_is_taken_back(fleet: FleetNode) -> None:
    declare(fleet, "one")
    declare(fleet, options=ON_TRIAL, wanted="absent")
    assert fleet.running(NAME) is None
    fleet.clock.seconds += 61
    guard.sweep(fleet.node(), NAME)
    assert fleet.running(NAME) == "one"


def test_removing_what_never_was_changes_nothing(fleet: FleetNode) -> None:
    assert not declare(fleet, wanted="absent").changed


def test_nothing_to_run_and_no_image_declared_is_said(fleet: FleetNode) -> None:
    with pytest.raises(InvalidDeclaration, match="No image is declared"):
        declare(fleet)


def test_a_unikernel_that_died_is_repaired_by_declaring_it_again(fleet: FleetNode) -> None:
    declare(fleet, "one")
    fleet.machine.end(NAME, 1, "killed by SIGSEGV")
    assert report(fleet.node(), NAME)["drift"] == ["it does not run: killed by SIGSEGV"]
    assert declare(fleet, "one").changed
    assert fleet.running(NAME) == "one"
    state = state_of(fleet)
    assert (state.previous, state.kept) == (None, ()), "the same release is no way back"


def test_a_stray_instance_is_stopped(fleet: FleetNode) -> None:
    declare(fleet, "one")
    declare(fleet, "two")
    kept = state_of(fleet).previous
    assert kept is not None
    fleet.machine.start(NAME, kept)
    guard.sweep(fleet.node(), NAME)
    assert fleet.machine.alive(NAME) == [2]


# --- trials and their ends --------------------------------------------------------------------------


def test_a_bad_verdict_brings_the_old_release_back_and_holds_the_new_one(fleet: FleetNode) -> None:
    declare(fleet, "one")
    fleet.machine.consoles[NAME, 2] = ("starting", "no database")
    trial = begin(fleet, "bad", FAILED)
    state = state_of(fleet)
    assert (fleet.running(NAME), state.phase) == ("one", Phase.STABLE)
    assert state.ended is not None
    assert (state.ended.trial, state.ended.outcome, state.ended.reason) == (trial, "rolled_back", "web: refused")
    assert state.ended.evidence is not None
    assert "no database" in (Path(state.ended.evidence) / "console.txt").read_text(encoding="utf-8")
    with pytest.raises(Held, match=r"web: refused.*retry_failed"):
        declare(fleet, "bad")
    assert fleet.running(NAME) == "one"


def test_a_held_release_is_tried_again_only_on_request_or_with_another_configuration(fleet: FleetNode) -> None:
    declare(fleet, "one")
    begin(fleet, "bad", FAILED)
    assert declare(fleet, "bad", memory_mib=64).changed
    declare(fleet, "one")
    begin(fleet, "bad", FAILED)
    assert declare(fleet, "bad", replace(AT_ONCE, retry_failed=True)).changed
    state = state_of(fleet)
    assert fleet.running(NAME) == "bad"
    assert hold_on(state, state.current) is None, "what was confirmed is forgiven"


def test_check_mode_refuses_a_held_release_as_the_real_run_does(fleet: FleetNode) -> None:
    declare(fleet, "one")
    begin(fleet, "bad", FAILED)
    with pytest.raises(Held):
        foreseen(fleet, "bad")
    assert foreseen(fleet, "bad", replace(AT_ONCE, retry_failed=True)).changed
    assert not foreseen(fleet, "one").changed


def test_check_mode_changes_nothing_on_disk(fleet: FleetNode) -> None:
    assert foreseen(fleet, "one").changed
    assert not fleet.layout.unikernels.exists()


def test_a_candidate_that_does_not_start_is_rolled_back_at_once(fleet: FleetNode) -> None:
    declare(fleet, "one")
    fleet.machine.broken.add(fleet.image("broken").sha256)
    change = declare(fleet, "broken", ON_TRIAL)
    assert change.changed and change.after.ended is not None
    assert (change.after.ended.trial, change.after.ended.outcome) == (change.trial, "rolled_back")
    assert "could not be started" in change.after.ended.reason
    assert fleet.running(NAME) == "one"


def test_a_first_deployment_that_does_not_start_leaves_nothing_behind(fleet: FleetNode) -> None:
    fleet.machine.broken.add(fleet.image("broken").sha256)
    change = declare(fleet, "broken", ON_TRIAL)
    assert (change.after.current, fleet.running(NAME)) == (None, None)
    assert not fleet.layout.instance(NAME, 1).joinpath("image").exists()


def test_an_unconfirmed_trial_ends_at_its_deadline_and_its_release_is_not_held(fleet: FleetNode) -> None:
    declare(fleet, "one")
    trial = begin(fleet, "two", PASSED)
    fleet.clock.seconds += 60.0
    with pytest.raises(TrialRefused, match="nobody confirmed it within 60 s"):
        confirm(fleet, trial)
    assert fleet.running(NAME) == "one"
    assert declare(fleet, "two").changed


def test_a_wall_clock_that_jumps_ends_no_trial(fleet: FleetNode) -> None:
    declare(fleet, "one")
    trial = begin(fleet, "two", PASSED)
    for wall in ("1970-01-01T00:00:00.000Z", "2999-01-01T00:00:00.000Z"):
        fleet.clock.walls = wall
        assert guard.sweep(fleet.node(), NAME).phase is Phase.ON_TRIAL
    assert confirm(fleet, trial)
    assert fleet.running(NAME) == "two"


def test_a_process_that_was_restarted_is_not_the_one_that_was_checked(fleet: FleetNode) -> None:
    declare(fleet, "one")
    trial = begin(fleet, "two", PASSED)
    candidate = state_of(fleet).trial
    assert candidate is not None and candidate.candidate is not None
    fleet.machine.start(NAME, candidate.candidate)
    with pytest.raises(TrialRefused, match="it was restarted during its trial"):
        confirm(fleet, trial)
    assert fleet.running(NAME) == "one"


def test_a_candidate_that_ends_is_rolled_back_by_whoever_looks_next(fleet: FleetNode) -> None:
    declare(fleet, "one")
    trial = begin(fleet, "two", PASSED)
    fleet.machine.end(NAME, 2, "exited with status 0")
    with pytest.raises(TrialRefused, match="exited with status 0"):
        confirm(fleet, trial)
    assert fleet.running(NAME) == "one"


def test_there_is_no_confirmation_without_a_verdict(fleet: FleetNode) -> None:
    trial = begin(fleet, "one")
    with pytest.raises(TrialRefused, match="no verdict of the node yet"):
        confirm(fleet, trial)
    assert state_of(fleet).phase is Phase.ON_TRIAL


def test_a_confirmation_counts_only_for_the_trial_that_it_names(fleet: FleetNode) -> None:
    trial = begin(fleet, "one", PASSED)
    with pytest.raises(TrialRefused, match=f"the open one is {trial}"):
        confirm(fleet, "20200101-0000")
    assert confirm(fleet, trial)
    assert not confirm(fleet, trial), "twice is once"


def test_the_first_verdict_stands(fleet: FleetNode) -> None:
    trial = begin(fleet, "one", PASSED)
    judge(fleet, trial, FAILED)
    assert fleet.running(NAME) == "one"
    assert confirm(fleet, trial)


def test_a_rollback_of_a_trial_happens_once(fleet: FleetNode) -> None:
    declare(fleet, "one")
    trial = begin(fleet, "two", PASSED)
    assert roll_back(fleet, trial)
    assert not roll_back(fleet, trial)
    assert fleet.running(NAME) == "one"
    with pytest.raises(TrialRefused):
        roll_back(fleet)


def test_a_confirmed_trial_is_not_rolled_back_by_its_name(fleet: FleetNode) -> None:
    trial = begin(fleet, "one", PASSED)
    confirm(fleet, trial)
    with pytest.raises(TrialRefused, match="was confirmed"):
        roll_back(fleet, trial)
    assert fleet.running(NAME) == "one"


def test_an_open_trial_refuses_another_run_and_names_its_holder(fleet: FleetNode) -> None:
    begin(fleet, "one", PASSED)
    with pytest.raises(Busy, match=r"held by the test since .*takeover: true"):
        declare(fleet, "two", ON_TRIAL, ANOTHER)
    with locked(fleet.node(), NAME, ANOTHER, 0.0) as transaction, pytest.raises(Busy):
        transaction.roll_back_to(None, AT_ONCE, None)
    assert fleet.running(NAME) == "one"


def test_takeover_ends_the_open_trial_first(fleet: FleetNode) -> None:
    declare(fleet, "one")
    begin(fleet, "two", PASSED)
    declare(fleet, "three", replace(ON_TRIAL, takeover=True), ANOTHER)
    state = state_of(fleet)
    assert state.trial is not None and state.trial.holder.who == "another"
    assert (fleet.running(NAME), state.held) == ("three", ())
    assert history_of(fleet) == ["begun", "confirmed", "begun", "rolled_back", "begun"]


def test_another_run_can_take_a_trial_over_and_has_its_full_time(fleet: FleetNode) -> None:
    trial = begin(fleet, "one", PASSED)
    fleet.clock.seconds += 50
    with locked(fleet.node(), NAME, ANOTHER, 0.0) as transaction:
        assert transaction.take_over(trial)
        assert not transaction.take_over(trial), "it is ours already"
    fleet.clock.seconds += 50
    assert confirm(fleet, trial)
    assert history_of(fleet) == ["begun", "taken_over", "confirmed"]


# --- going back by hand -----------------------------------------------------------------------------


def test_going_back_restores_image_and_configuration_and_holds_what_is_left(fleet: FleetNode) -> None:
    declare(fleet, "one", memory_mib=32, arguments=["--a"])
    declare(fleet, "two", memory_mib=64, arguments=["--b"])
    roll_back_to(fleet)
    current = state_of(fleet).current
    assert current is not None
    assert (current.configuration.memory_mib, current.configuration.arguments) == (32, ("--a",))
    assert fleet.running(NAME) == "one"
    with pytest.raises(Held, match="rolled back by the test"):
        declare(fleet, "two", memory_mib=64, arguments=["--b"])


def test_an_image_that_was_gone_back_from_is_held_however_it_inherits_its_configuration(fleet: FleetNode) -> None:
    declare(fleet, "one", memory_mib=32)
    declare(fleet, "two", memory_mib=64)
    roll_back_to(fleet)
    with pytest.raises(Held, match="rolled back by the test"):
        declare(fleet, "two")  # with the 32 MiB of the release that was gone back to
    assert fleet.running(NAME) == "one"
    assert declare(fleet, "two", replace(AT_ONCE, retry_failed=True)).changed
    assert state_of(fleet).held == ()


def test_going_back_from_a_configuration_holds_that_and_not_the_image(fleet: FleetNode) -> None:
    declare(fleet, "one", memory_mib=32)
    declare(fleet, "one", memory_mib=64)
    roll_back_to(fleet)
    with pytest.raises(Held):
        declare(fleet, "one", memory_mib=64)
    assert declare(fleet, "one", memory_mib=48).changed


def test_going_back_twice_goes_back_two_releases(fleet: FleetNode) -> None:
    for content in ("one", "two", "three"):
        declare(fleet, content)
    assert [roll_back_to(fleet).changed, fleet.running(NAME)] == [True, "two"]
    assert [roll_back_to(fleet).changed, fleet.running(NAME)] == [True, "one"]
    with pytest.raises(InvalidDeclaration, match="has not kept an older release"):
        roll_back_to(fleet)


def test_going_back_to_a_named_release_forgets_none_of_the_others(fleet: FleetNode) -> None:
    for content in ("one", "two", "three", "four", "five"):
        declare(fleet, content, replace(AT_ONCE, keep=9))
    roll_back_to(fleet, 2)
    assert fleet.running(NAME) == "two"
    assert {r.number for r in state_of(fleet).kept} == {1, 3, 4, 5}
    assert not roll_back_to(fleet, 2).changed
    roll_back_to(fleet, 5)
    assert fleet.running(NAME) == "five"


def test_going_back_without_holding_leaves_the_next_run_free(fleet: FleetNode) -> None:
    declare(fleet, "one")
    declare(fleet, "two")
    roll_back_to(fleet, hold=False)
    assert declare(fleet, "two").changed


def test_going_back_to_the_current_release_repairs_it_and_holds_nothing(fleet: FleetNode) -> None:
    declare(fleet, "one")
    declare(fleet, "two")
    fleet.machine.end(NAME, 2, "killed by SIGSEGV")
    assert roll_back_to(fleet, 2).changed
    state = state_of(fleet)
    assert (fleet.running(NAME), state.held) == ("two", ())
    assert state.previous is not None and state.previous.number == 1


def test_a_release_that_is_not_kept_is_named_with_those_that_are(fleet: FleetNode) -> None:
    declare(fleet, "one")
    with pytest.raises(InvalidDeclaration, match=r"has not kept release 7.*Nothing was changed"):
        roll_back_to(fleet, 7)


def test_only_so_many_releases_are_kept(fleet: FleetNode) -> None:
    for number in range(6):
        declare(fleet, f"image {number}")
    assert [r.number for r in state_of(fleet).kept] == [5, 4, 3]
    marked = marked_images(fleet.layout)
    assert {fleet.image(f"image {n}").sha256 for n in (2, 3, 4, 5)} <= marked
    assert fleet.image("image 0").sha256 not in marked


# --- refusals: nothing is touched -------------------------------------------------------------------


def test_a_frozen_node_refuses_changes_with_the_operators_words(fleet: FleetNode) -> None:
    declare(fleet, "one")
    fleet.layout.inhibit.write_text("moving house, ask Ada\n", encoding="utf-8")
    for refused in (
        lambda: declare(fleet, "two"),
        lambda: foreseen(fleet, "two"),
    ):
        with pytest.raises(Inhibited, match="moving house, ask Ada"):
            refused()
    assert not declare(fleet, "one").changed
    assert fleet.running(NAME) == "one"


def test_a_release_that_cannot_run_here_is_refused_before_anything_stops(fleet: FleetNode) -> None:
    declare(fleet, "one")
    before = fleet.layout.state(NAME).read_bytes()
    with pytest.raises(ReleaseRefused):
        declare(fleet, "two", working_directory="/refused")
    assert fleet.layout.state(NAME).read_bytes() == before
    assert fleet.running(NAME) == "one"


def test_without_the_new_image_nothing_is_stopped(fleet: FleetNode) -> None:
    declare(fleet, "one")
    declared = fleet.declaration("two")
    fleet.layout.image(fleet.image("two").sha256).unlink()
    with locked(fleet.node(), NAME, ME, 0.0) as transaction, pytest.raises(ImageMissing):
        transaction.declare(declared, ON_TRIAL, armed)
    assert fleet.running(NAME) == "one"


def test_an_image_whose_bytes_changed_is_not_run(fleet: FleetNode) -> None:
    declare(fleet, "one")
    path = fleet.layout.image(fleet.image("two").sha256)
    declared = fleet.declaration("two")
    path.chmod(0o755)
    path.write_text("2wo", encoding="utf-8")
    with locked(fleet.node(), NAME, ME, 0.0) as transaction, pytest.raises(ImageMissing):
        transaction.declare(declared, ON_TRIAL, armed)
    assert fleet.running(NAME) == "one"


def test_a_guard_that_cannot_be_armed_stops_the_change_before_it_begins(fleet: FleetNode) -> None:
    def unarmed(name: str, trial: str, checks: Sequence[CheckSpec]) -> None:
        raise DriverError("no guard")

    declare(fleet, "one")
    declared = fleet.declaration("two")
    with locked(fleet.node(), NAME, ME, 0.0) as transaction, pytest.raises(DriverError, match="no guard"):
        transaction.declare(declared, ON_TRIAL, unarmed)
    assert (state_of(fleet).phase, fleet.running(NAME)) == (Phase.STABLE, "one")
    assert history_of(fleet) == ["begun", "confirmed"]


def test_an_old_image_that_was_deleted_comes_back_from_its_instances_own_link(fleet: FleetNode) -> None:
    declare(fleet, "one")
    fleet.layout.image(fleet.image("one").sha256).unlink()
    begin(fleet, "two", FAILED)
    assert fleet.running(NAME) == "one"


def test_an_old_image_deleted_during_the_trial_comes_back_too(fleet: FleetNode) -> None:
    declare(fleet, "one")
    trial = begin(fleet, "two")
    fleet.layout.image(fleet.image("one").sha256).unlink()
    judge(fleet, trial, FAILED)
    assert fleet.running(NAME) == "one"


def lose_image(fleet: FleetNode, content: str, number: int) -> None:
    fleet.layout.image(fleet.image(content).sha256).unlink()
    fleet.layout.instance_image(NAME, number).unlink()


def test_without_a_way_back_a_running_release_is_not_left(fleet: FleetNode) -> None:
    declare(fleet, "one")
    declared = fleet.declaration("two")
    lose_image(fleet, "one", 1)
    with locked(fleet.node(), NAME, ME, 0.0) as transaction:
        with pytest.raises(ImageMissing, match=r"no way back to release 1.*It was left running"):
            transaction.declare(declared, ON_TRIAL, armed)
        assert fleet.machine.alive(NAME) == [1]
        transaction.declare(declared, replace(ON_TRIAL, accept_no_way_back=True), armed)
    assert fleet.running(NAME) == "two"


def test_a_release_that_does_not_run_anyway_may_be_left_without_a_way_back(fleet: FleetNode) -> None:
    declare(fleet, "one")
    lose_image(fleet, "one", 1)
    fleet.machine.end(NAME, 1, "killed by SIGSEGV")
    declare(fleet, "two")
    assert fleet.running(NAME) == "two"


# --- boots ------------------------------------------------------------------------------------------


def test_a_boot_ends_an_open_trial_with_the_old_release(fleet: FleetNode) -> None:
    declare(fleet, "one")
    begin(fleet, "two", PASSED)
    fleet.reboot()
    guard.sweep(fleet.node(), NAME)
    assert (fleet.running(NAME), state_of(fleet).held) == ("one", ())


def test_after_a_boot_the_current_release_is_started_and_only_that(fleet: FleetNode) -> None:
    declare(fleet, "one")
    declare(fleet, "two")
    fleet.reboot()
    guard.sweep(fleet.node(), NAME)
    assert fleet.running(NAME) == "two"
    fleet.machine.end(NAME, 2, "exited with status 0")
    guard.sweep(fleet.node(), NAME)
    assert fleet.running(NAME) is None, "within one boot its end is its own business"


def test_a_stopped_release_stays_stopped_over_a_boot(fleet: FleetNode) -> None:
    declare(fleet, "one")
    declare(fleet, wanted="stopped")
    fleet.reboot()
    guard.sweep(fleet.node(), NAME)
    assert fleet.running(NAME) is None


def test_a_release_that_does_not_start_after_a_boot_can_still_be_replaced(fleet: FleetNode) -> None:
    declare(fleet, "one")
    lose_image(fleet, "one", 1)
    fleet.reboot()
    with pytest.raises(DriverError, match="it should run and does not"):
        guard.sweep(fleet.node(), NAME)
    declare(fleet, "two")
    assert fleet.running(NAME) == "two"


# --- stranded ---------------------------------------------------------------------------------------


def stranded(fleet: FleetNode) -> str:
    declare(fleet, "one")
    trial = begin(fleet, "two")
    fleet.machine.broken.add(fleet.image("one").sha256)
    judge(fleet, trial, FAILED)
    assert state_of(fleet).phase is Phase.STRANDED
    return trial


def test_when_the_old_release_cannot_be_brought_back_it_is_stranded_with_evidence(fleet: FleetNode) -> None:
    trial = stranded(fleet)
    state = state_of(fleet)
    assert state.ended is not None and (state.ended.outcome, state.ended.trial) == ("stranded", trial)
    assert "it is broken" in state.ended.reason and "web: refused" in state.ended.reason
    assert state.ended.evidence is not None and Path(state.ended.evidence, "report.json").exists()
    assert "stranded" in report(fleet.node(), NAME)["drift"][0]
    guard.sweep(fleet.node(), NAME)
    assert state_of(fleet) == state, "only a person goes on from here"


def test_a_stranded_unikernel_goes_back_once_the_cause_is_mended(fleet: FleetNode) -> None:
    trial = stranded(fleet)
    with pytest.raises(DriverError, match=r"stranded.*Nothing runs under this name now"):
        roll_back(fleet, trial)
    fleet.machine.broken.clear()
    assert roll_back(fleet, trial)
    assert (fleet.running(NAME), state_of(fleet).phase) == ("one", Phase.STABLE)


def test_a_stranded_unikernel_takes_another_release_but_not_the_same_again(fleet: FleetNode) -> None:
    stranded(fleet)
    with pytest.raises(Held):
        declare(fleet, "two")
    declare(fleet, "three")
    assert (fleet.running(NAME), state_of(fleet).phase) == ("three", Phase.STABLE)


def test_for_want_of_a_bridge_nothing_is_stranded_and_the_old_release_starts_once_it_is_there(fleet: FleetNode) -> None:
    declare(fleet, "one")
    trial = begin(fleet, "two")
    fleet.machine.unplugged = True
    judge(fleet, trial, FAILED)
    state = state_of(fleet)
    assert (state.phase, state.started_boot_id, fleet.machine.alive(NAME)) == (Phase.STABLE, None, [])
    assert state.ended is not None and state.ended.outcome == "rolled_back"
    assert state.ended.reason.startswith("web: refused; ") and "the bridge br0 does not exist" in state.ended.reason
    with pytest.raises(DriverError, match=r"should run and does not: .*the bridge br0 does not exist"):
        guard.sweep(fleet.node(), NAME)
    fleet.machine.unplugged = False
    guard.sweep(fleet.node(), NAME)
    assert (fleet.running(NAME), history_of(fleet)[-1]) == ("one", "rolled_back")


def test_a_candidate_that_does_not_start_for_want_of_a_bridge_is_not_to_blame(fleet: FleetNode) -> None:
    declare(fleet, "one")
    fleet.machine.unplugged = True
    begin(fleet, "two")
    assert state_of(fleet).held == ()
    fleet.machine.unplugged = False
    declare(fleet, "two")
    assert fleet.running(NAME) == "two"


# --- adoption ---------------------------------------------------------------------------------------


def test_what_runs_without_a_state_is_adopted_and_not_restarted(fleet: FleetNode) -> None:
    declare(fleet, "one", memory_mib=32)
    fleet.layout.state(NAME).unlink()
    assert report(fleet.node(), NAME)["adoptable"]["configuration"]["memory_mib"] == 32
    assert not declare(fleet, "one", memory_mib=32).changed
    assert (fleet.running(NAME), fleet.machine.started) == ("one", 1)
    assert history_of(fleet) == ["begun", "confirmed", "adopted"], "the history goes on"


# --- secrets ----------------------------------------------------------------------------------------


def test_secrets_leave_the_state_file_nowhere(fleet: FleetNode) -> None:
    secrets = {"secret_arguments": ["--key=hunter2"], "secret_environment": {"TOKEN": "hunter3"}}
    declare(fleet, "one", **secrets)
    fleet.machine.consoles[NAME, 2] = ("key is hunter2", "TOKEN=hunter3 and --key=hunter2")
    begin(fleet, "two", FAILED, **secrets)
    begin(fleet, "three", **secrets)
    fleet.machine.consoles[NAME, 3] = ("hunter3",)
    node = fleet.node()
    shown = json.dumps(report(node, NAME, history_lines=100, console_lines=100))
    assert "hunter" not in shown
    for path in fleet.layout.unikernel(NAME).rglob("*"):
        if path.is_file() and path.name not in ("state.json", "image"):
            assert "hunter" not in path.read_text(encoding="utf-8"), path
    assert (fleet.layout.state(NAME).stat().st_mode & 0o777) == 0o600


def test_a_check_sees_the_console_without_its_secrets(fleet: FleetNode) -> None:
    declare(fleet, "one", secret_arguments=["--key=hunter2"])
    fleet.machine.consoles[NAME, 1] = ("password is hunter2",)
    around = guard.surroundings_of(fleet.node(), NAME, state_of(fleet).current)
    assert around.console is not None and "hunter2" not in around.console(10)[0]
