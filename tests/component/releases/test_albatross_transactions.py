# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The life of a unikernel on the double of albatross, by transactions: trials, rollbacks, adoption, drift; and what is
left of it when whoever works on it dies, at every step."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.client import Client
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.errors import AnswerLost, NotSent
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import (
    Policy,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers import (
    albatross as driver,
    albatross_creation,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.albatross_records import Records
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import (
    DriverError,
    FleetError,
    ReleaseRefused,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases import guard_install
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.forecast import forecast
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.guard import (
    test_of_drivers as check_drivers,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.proposal import Declaration
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.report import report
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import Phase
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import TrialOptions, locked
from ansible_collections.unikernel.fleet.tests.support.albatross.double import Albatross
from ansible_collections.unikernel.fleet.tests.support.albatross.tls_endpoint import SEES_CHAINS
from ansible_collections.unikernel.fleet.tests.support.albatross_node import (
    BRIDGE,
    ENDS,
    ME,
    NAME,
    WAYS,
    AlbatrossNode,
    over_sockets,
    over_tls,
    program,
    readable_once_created,
)
from ansible_collections.unikernel.fleet.tests.support.fleet_node import Interrupted, no_waiting_for_disks
from ansible_collections.unikernel.fleet.tests.support.programs import until
from ansible_collections.unikernel.fleet.tests.support.trials import FAILED, PASSED

__all__ = ["no_waiting_for_disks"]

FIRST, SECOND, THIRD = (program(number) for number in (1, 2, 3))


@pytest.fixture
def albatross(tmp_path: Path) -> Iterator[Albatross]:
    with Albatross(tmp_path / "albatross", bridges=(BRIDGE,), tls_port=0) as double:
        yield double


@pytest.fixture(params=WAYS)
def node(request: pytest.FixtureRequest, tmp_path: Path, albatross: Albatross) -> AlbatrossNode:
    return AlbatrossNode(tmp_path / "node", WAYS[request.param](albatross))


@pytest.fixture
def here(tmp_path: Path, albatross: Albatross) -> AlbatrossNode:
    return AlbatrossNode(tmp_path / "node", over_sockets(albatross))


def deployed(node: AlbatrossNode, octets: bytes = FIRST, **configuration: Any) -> str:
    change = node.declare(octets, **configuration)
    node.end_trial(change, PASSED)
    return node.image(octets).sha256


def started(node: AlbatrossNode) -> str:
    info = node.info()
    assert info is not None and info.started is not None
    return info.started


def test_deploy_update_and_a_broken_build_that_is_rolled_back(node: AlbatrossNode) -> None:
    first = deployed(node)
    assert node.runs() == first
    second = deployed(node, SECOND)
    assert node.runs() == second
    broken = node.declare(THIRD)
    node.end_trial(broken, FAILED)
    said = report(node.node(), NAME)
    assert node.runs() == second and said["alive"] and said["drift"] == []
    assert said["last_trial"]["outcome"] == "rolled_back" and len(said["held"]) == 1
    assert not node.declare(SECOND).changed


def test_a_build_that_ends_at_once_is_rolled_back_with_its_last_words(node: AlbatrossNode) -> None:
    first = deployed(node)
    change = node.declare(program(2, ENDS))

    def ended() -> bool:
        with locked(node.node(), NAME, ME) as transaction:
            return transaction.state.ended is not None and transaction.state.ended.trial == change.trial

    until(ended)
    assert node.runs() == first
    said = report(node.node(), NAME)["last_trial"]
    assert said["outcome"] == "rolled_back" and "version 2 has no configuration" in said["reason"]
    assert "version 2 has no configuration" in (Path(said["evidence"]) / "console.txt").read_text(encoding="utf-8")


def test_a_restart_during_a_trial_ends_it(here: AlbatrossNode) -> None:
    first = deployed(here)
    change = here.declare(SECOND)
    here.place.client().restart(here.full)
    with locked(here.node(), NAME, ME) as transaction:
        ended = transaction.state.ended
    assert ended is not None and ended.trial == change.trial and ended.outcome == "rolled_back"
    assert "restarted during its trial" in ended.reason and here.runs() == first


def test_somebody_who_takes_the_name_during_a_trial_ends_it(here: AlbatrossNode) -> None:
    first = deployed(here)
    here.declare(SECOND)
    here.create_by_hand(THIRD)
    with locked(here.node(), NAME, ME) as transaction:
        ended = transaction.state.ended
    assert ended is not None and "changed during its trial" in ended.reason and here.runs() == first


def test_another_configuration_is_another_release_and_goes_back_whole(here: AlbatrossNode) -> None:
    deployed(here, memory_mib=32, arguments=["--a"])
    change = here.declare(FIRST, memory_mib=64, arguments=["--b"])
    assert change.changed
    here.end_trial(change, FAILED)
    info = here.place.client().unikernel(here.full)
    assert info is not None and (info.memory_mib, info.arguments) == (32, ("--a",))


def test_stopped_and_absent_and_back(node: AlbatrossNode) -> None:
    first = deployed(node)
    node.declare(wanted="stopped", trial_s=0)
    assert node.runs() is None and report(node.node(), NAME)["drift"] == []
    node.end_trial(node.declare(), PASSED)
    assert node.runs() == first
    node.declare(wanted="absent", trial_s=0)
    assert node.runs() is None
    assert report(node.node(), NAME)["release"] is None


# --- adoption


def test_what_runs_is_adopted_without_being_stopped(node: AlbatrossNode) -> None:
    node.create_by_hand(FIRST, memory_mib=64, arguments=("--ipv4=10.0.0.2/24", "--key=secret"))
    since = started(node)
    seen = report(node.node(), NAME)
    assert seen["release"] is None and seen["adoptable"]["image"]["sha256"] == node.runs()
    foreseen = forecast(node.node(), NAME, ME)
    assert not (node.layout.unikernel(NAME)).exists() and foreseen.state.current is not None
    change = node.declare()
    assert not change.changed and started(node) == since
    said = report(node.node(), NAME)
    assert said["release"]["configuration"]["memory_mib"] == 64 and said["alive"] and said["drift"] == []


def test_what_is_declared_in_other_words_is_adopted_without_being_stopped(here: AlbatrossNode) -> None:
    here.create_by_hand(FIRST, arguments=("--ipv4=10.0.0.2/24", "--key=secret"))
    since = started(here)
    change = here.declare(FIRST, arguments=["--ipv4=10.0.0.2/24"], secret_arguments=["--key=secret"])
    assert change.changed
    here.end_trial(change, PASSED)
    said = report(here.node(), NAME)
    assert started(here) == since and said["release"]["number"] == 2 and said["drift"] == []


def test_an_update_of_what_was_adopted_can_be_gone_back_from(node: AlbatrossNode) -> None:
    node.create_by_hand(FIRST, memory_mib=64)
    first = node.runs()
    node.end_trial(node.declare(SECOND), FAILED)
    info = node.place.client().unikernel(node.full)
    assert info is not None and (info.digest.hex(), info.memory_mib) == (first, 64)


def test_what_others_started_after_we_removed_ours_is_adopted_and_not_by_a_guard(here: AlbatrossNode) -> None:
    deployed(here)
    here.declare(wanted="absent", trial_s=0)
    here.create_by_hand(SECOND)
    since = started(here)
    with locked(here.node(), NAME, ME) as transaction:
        assert transaction.state.current is None
    here.declare(wanted="absent", trial_s=0)
    assert started(here) == since
    assert report(here.node(), NAME)["adoptable"]["image"]["sha256"] == here.runs()
    assert not here.declare().changed and started(here) == since
    assert report(here.node(), NAME)["release"]["image"]["sha256"] == here.runs()


# --- drift


def test_drift_is_shown_is_left_alone_by_guards_and_put_right_by_a_deployment(node: AlbatrossNode) -> None:
    first = deployed(node)
    node.create_by_hand(SECOND)
    foreign = node.runs()
    said = report(node.node(), NAME)
    assert not said["alive"] and len(said["drift"]) == 1 and "somebody else changed it" in said["drift"][0]
    with locked(node.node(), NAME, ME) as transaction:  # as a guard's sweep does
        assert transaction.state.phase is Phase.STABLE
    assert node.runs() == foreign
    change = node.declare(FIRST)
    assert change.changed
    node.end_trial(change, PASSED)
    assert node.runs() == first and report(node.node(), NAME)["drift"] == []


def test_what_is_declared_stopped_and_was_started_by_somebody_is_drift(here: AlbatrossNode) -> None:
    deployed(here)
    here.declare(wanted="stopped", trial_s=0)
    here.create_by_hand(FIRST)
    drift = report(here.node(), NAME)["drift"]
    assert len(drift) == 1 and "somebody else started it again" in drift[0]
    with locked(here.node(), NAME, ME):
        assert here.runs() is not None
    assert here.declare(wanted="stopped", trial_s=0).changed
    assert here.runs() is None and report(here.node(), NAME)["drift"] == []


# --- a tenant whose policy forbids


@pytest.mark.skipif(not SEES_CHAINS, reason="before Python 3.10 the double's endpoint sees no tenants")
def test_a_policy_that_forbids_is_an_error_and_stops_nothing(tmp_path: Path, albatross: Albatross) -> None:
    tenant = albatross.tenant("dev", Policy((0,), 1, 64, (BRIDGE,), None))
    node = AlbatrossNode(tmp_path / "node", over_tls(albatross, "dev", tenant))
    deployed(node)
    since = started(node)
    with pytest.raises(ReleaseRefused, match="policy of its path allows 64 MiB"):
        node.declare(SECOND, memory_mib=128)
    with pytest.raises(ReleaseRefused, match="policy of its path allows 64 MiB"):
        forecast(node.node(), NAME, ME).declare(
            Declaration(image=node.image(SECOND), configuration={"memory_mib": 128}), TrialOptions(), None
        )
    assert started(node) == since and report(node.node(), NAME)["drift"] == []


# --- faults of the server, which no release is to blame for


def test_a_server_that_starts_nothing_strands_and_holds_no_build(
    here: AlbatrossNode, albatross: Albatross, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its console daemon goes right after it was looked at."""
    first = deployed(here, swap="stop_start")
    for module in (driver, albatross_creation):
        monkeypatch.setattr(module, "refusals_of_console", lambda *unused: [])
    albatross.kill_console()
    here.declare(SECOND, swap="stop_start")
    said = report(here.node(), NAME)
    assert said["phase"] == "stranded" and said["held"] == []
    reason = said["last_trial"]["reason"]
    assert reason.count("release 1 ") == 1 and reason.count("release 2 ") == 1
    assert reason.count("What ran before was killed") == 1
    albatross.start_console()
    albatross.stop_daemon()
    albatross.start_daemon()
    monkeypatch.undo()
    with locked(here.node(), NAME, ME) as transaction:
        transaction.roll_back(None, "it is mended", False)
    assert here.runs() == first
    here.end_trial(here.declare(SECOND, swap="stop_start"), PASSED)
    assert here.runs() != first


@pytest.mark.parametrize("fault", [NotSent, AnswerLost])
def test_a_cut_over_that_the_server_hinders_holds_no_build(
    here: AlbatrossNode, monkeypatch: pytest.MonkeyPatch, fault: type[DriverError]
) -> None:
    first = deployed(here, swap="cut_over")
    monkeypatch.setattr(albatross_creation, "SETTLES_WITHIN_S", 0.2)

    def fails(*unused: object) -> str:
        raise fault("the connection broke.")

    monkeypatch.setattr(Client, "create", fails)
    here.declare(SECOND, swap="cut_over")
    said = report(here.node(), NAME)
    assert said["last_trial"]["outcome"] == "rolled_back" and "connection broke" in said["last_trial"]["reason"]
    assert said["held"] == [] and here.runs() == first


def test_a_key_that_becomes_readable_in_the_middle_of_a_change_is_no_mistake_of_the_declaration(
    tmp_path: Path, albatross: Albatross, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = AlbatrossNode(tmp_path / "node", over_tls(albatross))
    first = deployed(node, swap="cut_over")
    key = readable_once_created(node, monkeypatch)
    with pytest.raises(DriverError, match=r"web: trial .* was begun.*chmod 600"):
        node.declare(SECOND, swap="cut_over")
    key.chmod(0o600)
    monkeypatch.undo()
    with locked(node.node(), NAME, ME) as transaction:
        assert transaction.state.phase is Phase.STABLE
    said = report(node.node(), NAME)
    assert node.runs() == first and said["held"] == [] and said["drift"] == []


def assert_told_as_ours_and_gone_after_the_next(here: AlbatrossNode, first: str) -> None:
    drift = report(here.node(), NAME)["drift"]
    assert any("carried out our own request for it late" in one for one in drift), drift
    assert not any("somebody else" in one for one in drift), drift
    here.end_trial(here.declare(FIRST), PASSED)
    assert here.runs() == first and report(here.node(), NAME)["drift"] == []


def test_a_request_that_is_carried_out_after_it_was_given_up_is_told_as_ours(
    tmp_path: Path, albatross: Albatross, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(albatross_creation, "SETTLES_WITHIN_S", 0.3)
    here = AlbatrossNode(tmp_path / "node", replace(over_sockets(albatross), timeout_s=1.0))
    first, second = deployed(here), here.image(SECOND).sha256
    (pid,) = albatross.pids(here.full)
    os.kill(pid, signal.SIGSTOP)
    try:
        here.declare(SECOND)
        said = report(here.node(), NAME)
        assert said["last_trial"]["outcome"] == "rolled_back" and said["held"] == [] and here.runs() == first
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: here.runs() == second)
    assert_told_as_ours_and_gone_after_the_next(here, first)


def test_a_request_whose_asker_was_killed_and_that_is_carried_out_late_is_told_as_ours(
    here: AlbatrossNode, albatross: Albatross
) -> None:
    first, second = deployed(here), here.image(SECOND).sha256
    (pid,) = albatross.pids(here.full)
    os.kill(pid, signal.SIGSTOP)
    try:
        kill_in_the_middle_of_an_update(here, lambda: is_asked_to_end(pid))
        with locked(here.node(), NAME, ME) as transaction:  # as its guard does
            assert transaction.state.phase is Phase.STABLE
        said = report(here.node(), NAME)
        assert said["last_trial"]["outcome"] == "rolled_back" and said["held"] == [] and said["drift"] == []
        assert here.runs() == first
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: here.runs() == second)
    assert_told_as_ours_and_gone_after_the_next(here, first)


def test_what_was_refused_and_is_started_by_somebody_is_not_told_as_ours(
    here: AlbatrossNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed(here)
    with monkeypatch.context() as patched:

        def refused(*unused: object) -> str:
            raise NotSent("the connection broke.")

        patched.setattr(Client, "force_create", refused)
        patched.setattr(Records, "discard", lambda *unused: None)  # as where it is killed before that
        here.declare(SECOND)
    here.create_by_hand(SECOND)
    drift = report(here.node(), NAME)["drift"]
    assert any("somebody else started it again" in one for one in drift), drift


def kill_in_the_middle_of_an_update(node: AlbatrossNode, reached: Callable[[], bool]) -> None:
    child = os.fork()
    if child == 0:
        try:
            node.declare(SECOND)
        finally:
            os._exit(1)
    try:
        until(reached)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def is_asked_to_end(pid: int) -> bool:
    """A halted process has a SIGTERM waiting for it."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    waiting = int(next(line for line in status.splitlines() if line.startswith("ShdPnd:")).split()[1], 16)
    return bool(waiting & 1 << (signal.SIGTERM - 1))


# --- deaths


class Deaths:
    """Kills whoever works at the n-th of the steps that matter: words to albatross, records, the journal."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
        self.steps: list[str] = []
        self._at = at
        for owner, names in ((Client, ("create", "force_create", "destroy")), (Records, ("begin", "put"))):
            for name in names:
                monkeypatch.setattr(owner, name, self._around(getattr(owner, name), name))

    def _around(self, what: Callable[..., Any], name: str) -> Callable[..., Any]:
        def done(*arguments: Any) -> Any:
            self.reached(f"before {name}")
            result = what(*arguments)
            self.reached(f"after {name}")
            return result

        return done

    def reached(self, step: str) -> None:
        self.steps.append(step)
        if len(self.steps) == self._at:
            raise Interrupted(step)


def changes_that_die(tmp_path: Path, prepare: Callable[[AlbatrossNode], Any], change: Callable[..., Any]) -> int:
    """Die at every step of a change, each on a node and an albatross of its own; how many there are."""
    for at in itertools.count(1):
        folder = tmp_path / str(at)
        with Albatross(folder / "a", bridges=(BRIDGE,)) as albatross, pytest.MonkeyPatch.context() as patched:
            node = AlbatrossNode(folder / "node", over_sockets(albatross))
            before = prepare(node)
            deaths = Deaths(patched, at)
            try:
                change(node, deaths.reached)
            except Interrupted as interrupted:
                patched.undo()
                settled_after(node, before, str(interrupted))
            else:
                return at - 1
    return 0


def settled_after(node: AlbatrossNode, before: Any, step: str) -> None:
    """What the next one finds: the old release serves, or the new one if it was confirmed, and nothing is open."""
    with locked(node.node(), NAME, ME) as transaction:
        if transaction.state.phase is Phase.ON_TRIAL:
            candidate = transaction.state.trial.candidate if transaction.state.trial is not None else None
            assert candidate is not None and node.runs() == candidate.image.sha256, step
            transaction.roll_back(None, "the test ends it", False)
        state = transaction.state
    said = report(node.node(), NAME)
    assert state.phase is Phase.STABLE, step
    expected = state.current.image.sha256 if state.current is not None and state.current.running else None
    assert node.runs() == expected and said["drift"] == [], (step, said)
    number = state.current.number if state.current is not None else 0
    others = [one for one in said["instances"] if one["release"] != number]
    assert not any(one["alive"] for one in others), step
    waited_for = {record.number for record in Records(node.layout, NAME).all() if record.unanswered}
    assert {one["release"] for one in others if one["release"] > number} <= waited_for, (step, said)
    # And it can go on from there.
    if expected is not None:
        node.end_trial(node.declare(THIRD), PASSED)
        assert node.runs() == node.image(THIRD).sha256, step
        with locked(node.node(), NAME, ME):  # as its guard sweeps
            assert [one["alive"] for one in report(node.node(), NAME)["instances"]] == [True], step


def test_an_update_may_die_at_any_step(tmp_path: Path) -> None:
    def update(node: AlbatrossNode, reached: Callable[[str], None]) -> None:
        node.declare(SECOND, reached=reached)

    assert changes_that_die(tmp_path, deployed, update) > 10


def test_a_first_deployment_may_die_at_any_step(tmp_path: Path) -> None:
    def deploy(node: AlbatrossNode, reached: Callable[[str], None]) -> None:
        node.declare(FIRST, reached=reached)

    assert changes_that_die(tmp_path, lambda node: None, deploy) > 8


def test_a_rollback_may_die_at_any_step(tmp_path: Path) -> None:
    def prepare(node: AlbatrossNode) -> str:
        deployed(node)
        trial = node.declare(SECOND).trial
        assert trial is not None
        return trial

    def fail(node: AlbatrossNode, reached: Callable[[str], None]) -> None:
        with locked(node.node(reached), NAME, ME) as transaction:
            assert transaction.state.trial is not None
            transaction.judge(transaction.state.trial.id, FAILED)

    assert changes_that_die(tmp_path, prepare, fail) > 8


def test_a_reconfiguration_of_one_image_may_die_at_any_step(tmp_path: Path) -> None:
    def reconfigure(node: AlbatrossNode, reached: Callable[[str], None]) -> None:
        node.declare(FIRST, memory_mib=48, reached=reached)

    assert changes_that_die(tmp_path, deployed, reconfigure) > 10


@pytest.mark.parametrize("ready", [{"console": "is up"}, None], ids=["ready", "no ready check"])
def test_a_cut_over_may_die_at_any_step(tmp_path: Path, ready: Any) -> None:
    given = {"swap": "cut_over", "ready": ready}

    def update(node: AlbatrossNode, reached: Callable[[str], None]) -> None:
        node.declare(SECOND, reached=reached, **given)

    assert changes_that_die(tmp_path, lambda node: deployed(node, **given), update) > 12


def test_going_back_from_a_cut_over_may_die_at_any_step(tmp_path: Path) -> None:
    given = {"swap": "cut_over", "ready": {"console": "is up"}}

    def prepare(node: AlbatrossNode) -> None:
        deployed(node, **given)
        node.declare(SECOND, **given)
        assert labels_that_run(node) == ["web.fleet-2"]

    def fail(node: AlbatrossNode, reached: Callable[[str], None]) -> None:
        with locked(node.node(reached), NAME, ME) as transaction:
            assert transaction.state.trial is not None
            transaction.judge(transaction.state.trial.id, FAILED)

    assert changes_that_die(tmp_path, prepare, fail) > 10


def labels_that_run(node: AlbatrossNode) -> list[Optional[str]]:
    return [one.name.label for one in node.place.client().unikernels(node.place.name(None))]


def test_a_failed_trial_of_a_cut_over_goes_back_the_same_way(node: AlbatrossNode) -> None:
    given = {"swap": "cut_over", "ready": {"console": "is up"}}
    first = deployed(node, **given)
    trial = node.declare(SECOND, **given)
    assert labels_that_run(node) == ["web.fleet-2"] and node.runs() == node.image(SECOND).sha256
    node.end_trial(trial, FAILED)
    assert labels_that_run(node) == [NAME] and node.runs() == first
    third = deployed(node, THIRD, **given)
    said = report(node.node(), NAME)
    assert labels_that_run(node) == ["web.fleet-2"] and node.runs() == third and said["drift"] == []
    assert said["alive"] and not node.declare(THIRD, **given).changed
    node.declare(wanted="absent", trial_s=0)
    assert labels_that_run(node) == []


def test_a_build_that_does_not_come_up_is_refused_beside_the_one_that_runs(node: AlbatrossNode) -> None:
    given = {"swap": "cut_over", "ready": {"console": "is up", "within": 1}}
    deployed(node, **given)
    since = started(node)
    change = node.declare(program(2, ENDS), **given)
    ended = change.after.ended
    assert ended is not None and ended.outcome == "rolled_back" and "was left running" in ended.reason
    assert "version 2 has no configuration" in ended.reason
    assert started(node) == since and report(node.node(), NAME)["drift"] == []


def test_what_runs_under_its_second_label_is_found_by_a_node_that_knows_nothing_of_it(
    tmp_path: Path, here: AlbatrossNode
) -> None:
    given = {"swap": "cut_over", "ready": {"console": "is up"}}
    deployed(here, **given)
    second = deployed(here, SECOND, **given)
    since = started(here)
    other = AlbatrossNode(tmp_path / "other", here.place)
    assert report(other.node(), NAME)["adoptable"]["image"]["sha256"] == second
    assert not other.declare().changed and started(other) == since
    assert labels_that_run(other) == ["web.fleet-2"] and report(other.node(), NAME)["drift"] == []


@pytest.mark.parametrize("carried_out", [True, False])
def test_a_lost_answer_in_the_middle_of_an_update(
    here: AlbatrossNode, monkeypatch: pytest.MonkeyPatch, carried_out: bool
) -> None:
    from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers import albatross_creation as driver

    first = deployed(here)
    real = Client.force_create
    monkeypatch.setattr(driver, "SETTLES_WITHIN_S", 0.3)

    def unanswered(*arguments: Any) -> str:
        if carried_out:
            real(*arguments)
        raise AnswerLost("the connection broke")

    monkeypatch.setattr(Client, "force_create", unanswered)
    change = here.declare(SECOND)
    monkeypatch.undo()
    if carried_out:
        here.end_trial(change, PASSED)
        assert here.runs() == here.image(SECOND).sha256
    else:
        ended = change.after.ended
        assert ended is not None and ended.outcome == "rolled_back" and "what ran before still runs" in ended.reason
        assert here.runs() == first


def test_the_guard_says_before_a_trial_that_its_python_cannot_ask_albatross(here: AlbatrossNode) -> None:
    """It is run isolated: what the module had may be missing there. -S stands for a Python without the library."""
    deployed(here)
    archive = guard_install.install(here.layout)
    for flags, expected in (("-I", "armed"), ("-IS", "asn1crypto is needed")):
        asked = subprocess.run(
            [sys.executable, flags, str(archive), "--root", str(here.layout.root), "watch", NAME, f"no-trial{flags}"],
            input=b"[]",
            capture_output=True,
            timeout=30,
            check=False,
        )
        assert expected in asked.stdout.decode(), (asked.stdout, asked.stderr)


def test_the_guard_says_before_a_trial_that_albatross_does_not_answer(
    here: AlbatrossNode, albatross: Albatross
) -> None:
    deployed(here)
    albatross.kill_daemon()
    with pytest.raises(FleetError, match=r"no such socket|Start albatross"):
        check_drivers(here.node(), NAME)


def test_a_place_is_written_down_and_another_path_is_refused(here: AlbatrossNode, albatross: Albatross) -> None:
    from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.albatross import (
        place_of,
        refuse_another_place,
    )

    deployed(here)
    same_by_tls = over_tls(albatross)
    refuse_another_place(here.layout, here.store, NAME, same_by_tls)
    other_path = replace(here.place, path="dev")
    with pytest.raises(FleetError, match="it would run twice"):
        refuse_another_place(here.layout, here.store, NAME, other_path)
    assert place_of({"driver": "albatross"}) is not None and place_of({"driver": None}) is None
