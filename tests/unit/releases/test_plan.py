# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan says what the nodes will do: each of its actions, and that both sides agree on what is the same."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

import pytest
from hypothesis import example, given, settings, strategies as st

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter import options
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.declared import declaration_of
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.unikernel import declaration_from
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.codec import encode
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import Held
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.forecast import forecast
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.plan import plan
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.plan_entries import (
    CHANGING,
    Declared,
    Plan,
    PlanAction,
    PlanEntry,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.report import known_names, report
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import (
    TrialOptions,
    locked,
)
from ansible_collections.unikernel.fleet.tests.support.fleet_node import (
    ME,
    FleetNode,
    no_waiting_for_disks,
)
from ansible_collections.unikernel.fleet.tests.support.trials import AT_ONCE, FAILED, armed

__all__ = ["no_waiting_for_disks"]
NAME, NODE = "www", "dom0"
EVERY_OPTION = tuple(option.name for option in (*options.CONFIGURATION, *options.IMAGE))


def parameters(**given: Any) -> dict[str, Any]:
    """Parameters of the module, as AnsibleModule gives them: what is left out is None."""
    return {**dict.fromkeys(EVERY_OPTION), "name": NAME, "state": "running", **given}


def declared(build_key: Optional[str] = "key", **given: Any) -> Declared:
    """The same as the inventory declares it."""
    variables = {f"unikernel_{key}": value for key, value in given.items()}
    one = declaration_of(NAME, {"unikernel_node": NODE, **variables}).declared
    return Declared(**{**one.__dict__, "lookup_key": build_key})


def found(fleet: FleetNode, content: str) -> dict[str, Any]:
    """What ``build_info`` says of a build that the source has."""
    image = fleet.image(content)
    build = {"job": NAME, "id": "1", "sha256": image.sha256, "size": image.size}
    return {"verdict": "found", "build": build, "comparison": {"packages": {}}, "comparison_state": "available"}


def deploy(fleet: FleetNode, content: Optional[str], trial: TrialOptions = AT_ONCE, **given: Any) -> Optional[str]:
    image = {}
    if content is not None:
        image = {"sha256": fleet.image(content).sha256, "size": fleet.image(content).size}
    declaration = declaration_from(parameters(**image, **given))
    with locked(fleet.node(), NAME, ME, 0.0) as transaction:
        return transaction.declare(declaration, trial, armed).trial


def reports(fleet: FleetNode) -> dict[str, dict[str, Any]]:
    """What the node says, after its way through JSON."""
    node = fleet.node()
    return {name: json.loads(json.dumps(report(node, name))) for name in known_names(node)}


def planned(fleet: FleetNode, one: Declared, build: Optional[Mapping[str, Any]]) -> PlanEntry:
    builds = {} if build is None else {"key": build}
    return plan([one], builds, {NODE: reports(fleet)}, {}).entries[0]


@pytest.fixture
def fleet(tmp_path: Path) -> FleetNode:
    return FleetNode(tmp_path)


@pytest.fixture
def running(fleet: FleetNode) -> FleetNode:
    deploy(
        fleet,
        "one",
        memory_mib=32,
        arguments=["--port=80"],
        secret_arguments=["--key=hunter2"],
        limits={"open_files": 100, "processes": None},
        stop_grace=5,
    )
    return fleet


def test_what_is_not_there_is_deployed(fleet: FleetNode) -> None:
    entry = planned(fleet, declared(), found(fleet, "one"))
    assert (entry.action, entry.release) == (PlanAction.DEPLOY, None)
    assert entry.action in CHANGING


def test_what_may_run_on_a_node_that_did_not_answer_is_not_deployed_a_second_time(fleet: FleetNode) -> None:
    builds, silent = {"key": found(fleet, "one")}, {"dom1": "its node dom1 did not answer: no route"}
    entry = plan([declared()], builds, {NODE: {}}, silent).entries[0]
    assert entry.action is PlanAction.UNKNOWN
    assert entry.reason == "it is not on dom0, and dom1, where it may run, did not answer"
    assert plan([declared()], builds, {NODE: {}}, silent, ignore_silent=True).entries[0].action is PlanAction.DEPLOY


def test_a_silent_node_keeps_nobody_from_updating_what_is_seen_to_run(running: FleetNode) -> None:
    builds, silent = {"key": found(running, "two")}, {"dom1": "its node dom1 did not answer: no route"}
    entry = plan([declared()], builds, {NODE: reports(running)}, silent).entries[0]
    assert entry.action is PlanAction.UPDATE


def test_what_is_not_declared_is_not_counted_as_unchanged(running: FleetNode) -> None:
    there = {NODE: reports(running)}
    assert sum(plan([], {}, there, {}).summary.values()) == 0
    assert plan([], {}, there, {}, remove=True).summary["remove"] == 1


def test_the_same_is_unchanged_and_its_inheritance_is_named(running: FleetNode) -> None:
    entry = planned(running, declared(memory_mib=32), found(running, "one"))
    assert entry.action is PlanAction.UNCHANGED
    assert entry.inherited == ("arguments", "limits", "secret_arguments", "stop_grace_s")
    assert entry.comparison is None


def test_another_build_is_an_update_with_its_comparison(running: FleetNode) -> None:
    entry = planned(running, declared(memory_mib=32), found(running, "two"))
    assert (entry.action, entry.comparison_state) == (PlanAction.UPDATE, "available")
    assert entry.comparison == {"packages": {}}


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"memory_mib": 64}, ["memory_mib"]),
        ({"arguments": ["--port=81"]}, ["arguments"]),
        ({"arguments": []}, ["arguments"]),
        ({"secret_arguments": ["--key=hunter3"]}, ["secret_arguments"]),
        ({"secret_arguments": ["--key=hunter2"]}, []),
        ({"secret_environment": {"TOKEN": "hunter2"}}, ["secret_environment"]),
        ({"secret_environment": {}}, []),
        ({"environment": {"LEVEL": 3, "DEBUG": True}}, ["environment"]),
        ({"limits": {"open_files": 100}}, []),
        ({"limits": {"open_files": 101}}, ["limits"]),
        ({"limits": {}}, ["limits"]),
        ({"stop_grace": 5}, []),
        ({"stop_grace": 5.0}, []),
        ({"stop_grace": 5.5}, ["stop_grace_s"]),
        ({"restart": "always", "start_order": 10}, ["restart", "start_order"]),
    ],
    ids=str,
)
def test_another_configuration_is_a_reconfiguration_that_names_what_changes(
    running: FleetNode, given: dict[str, Any], names: list[str]
) -> None:
    entry = planned(running, declared(**given), found(running, "one"))
    assert entry.action is (PlanAction.RECONFIGURE if names else PlanAction.UNCHANGED)
    assert [change.name for change in entry.configuration] == names
    assert "hunter" not in json.dumps(encode(entry))


def test_stopping_and_removing_need_no_source(running: FleetNode) -> None:
    for state in ("stopped", "absent"):
        entry = planned(running, declared(build_key=None, state=state), None)
        assert (entry.action, entry.reason) == (PlanAction.STOP, f"declared {state}")
        deploy(running, None, state=state)
        assert planned(running, declared(build_key=None, state=state), None).action is PlanAction.UNCHANGED


def test_a_stopped_one_that_is_declared_running_is_deployed(running: FleetNode) -> None:
    deploy(running, None, state="stopped")
    entry = planned(running, declared(), found(running, "one"))
    assert (entry.action, entry.reason) == (PlanAction.DEPLOY, "it is stopped")


def test_one_that_died_is_deployed_for_its_drift(running: FleetNode) -> None:
    running.machine.end(NAME, 1, "killed by SIGSEGV")
    entry = planned(running, declared(), found(running, "one"))
    assert (entry.action, entry.drift) == (PlanAction.DEPLOY, ("it does not run: killed by SIGSEGV",))


def test_one_that_runs_unwatched_is_shown_and_not_deployed_for_it(running: FleetNode) -> None:
    told = reports(running)
    told[NAME].update(drift=["nobody watches it"], unwatched="nobody watches it")
    made = plan([declared()], {"key": found(running, "one")}, {NODE: told}, {})
    entry = made.entries[0]
    assert (entry.action, entry.drift) == (PlanAction.UNCHANGED, ("nobody watches it",)) and made.changing == ()
    told[NAME]["drift"] = ["it runs, but off its bridge", "nobody watches it"]
    entry = plan([declared()], {"key": found(running, "one")}, {NODE: told}, {}).entries[0]
    assert (entry.action, entry.reason) == (PlanAction.DEPLOY, "it runs, but off its bridge")


def test_what_runs_without_a_record_is_adopted(running: FleetNode) -> None:
    running.layout.state(NAME).unlink()
    assert planned(running, declared(), found(running, "one")).action is PlanAction.ADOPT


def test_what_failed_is_held_until_it_is_retried_or_changed(running: FleetNode) -> None:
    trial = deploy(running, "bad", TrialOptions(timeout_s=60.0))
    with locked(running.node(), NAME, ME, 0.0) as transaction:
        transaction.judge(str(trial), FAILED)
    entry = planned(running, declared(), found(running, "bad"))
    assert entry.action is PlanAction.HELD and "web: refused" in entry.reason
    assert planned(running, declared(retry_failed=True), found(running, "bad")).action is PlanAction.UPDATE
    assert planned(running, declared(memory_mib=1), found(running, "bad")).action is PlanAction.UPDATE
    assert planned(running, declared(), found(running, "one")).action is PlanAction.UNCHANGED


@pytest.mark.parametrize(
    "answer", [None, {"verdict": "unknown", "error": "no route to host"}, {"verdict": "not_found"}], ids=str
)
def test_a_source_that_does_not_answer_is_never_taken_for_no_update(running: FleetNode, answer: Any) -> None:
    entry = planned(running, declared(), answer)
    assert entry.action is PlanAction.UNKNOWN
    assert entry.release is not None, "what runs is shown all the same"


def test_an_image_that_runs_already_needs_no_source(running: FleetNode) -> None:
    digest = running.image("one").sha256
    assert planned(running, declared(sha256=digest), {"verdict": "unknown"}).action is PlanAction.UNCHANGED


def test_a_node_that_does_not_answer_makes_all_of_its_unikernels_unknown(running: FleetNode) -> None:
    whole = plan([declared()], {"key": found(running, "one")}, {}, {NODE: "its node dom0 did not answer: timed out"})
    (entry,) = whole.entries
    assert (entry.action, entry.reason) == (PlanAction.UNKNOWN, "its node dom0 did not answer: timed out")
    assert whole.unsatisfied == whole.entries and whole.changing == ()


def test_a_state_that_cannot_be_read_is_unknown_and_not_absent(running: FleetNode) -> None:
    running.layout.state(NAME).write_text("{", encoding="utf-8")
    entry = planned(running, declared(), found(running, "one"))
    assert entry.action is PlanAction.UNKNOWN and "cannot be understood" in entry.reason


def test_a_declaration_that_cannot_be_read_is_unknown(running: FleetNode) -> None:
    entry = planned(running, declared(state="asleep"), found(running, "one"))
    assert entry.action is PlanAction.UNKNOWN and "unikernel_state is 'asleep'" in entry.reason


def elsewhere(running: FleetNode, *nodes: str, remove: bool = False, one: Optional[Declared] = None) -> Plan:
    """Declared for NODE, where it is not; there it is."""
    answers: dict[str, dict[str, Any]] = {NODE: {}, **{node: reports(running) for node in nodes}}
    return plan([one] if one else [], {"key": found(running, "one")}, answers, {}, remove)


def test_one_that_runs_on_another_node_is_moved_and_not_removed_there(running: FleetNode) -> None:
    whole = elsewhere(running, "dom1", remove=True, one=declared())
    assert (whole.entries[0].action, whole.entries[0].moved_from) == (PlanAction.MOVE, "dom1")
    assert whole.undeclared == ()


def test_one_that_runs_on_several_other_nodes_is_for_a_person_to_sort_out(running: FleetNode) -> None:
    whole = elsewhere(running, "dom1", "dom2", one=declared())
    assert whole.entries[0].action is PlanAction.UNKNOWN and "dom1, dom2" in whole.entries[0].reason


@pytest.mark.parametrize("remove", [False, True])
def test_what_nobody_declares_is_removed_only_on_request(running: FleetNode, remove: bool) -> None:
    (entry,) = elsewhere(running, "dom1", remove=remove).undeclared
    assert entry.action is (PlanAction.REMOVE if remove else PlanAction.UNCHANGED)
    assert (entry.host, entry.name, entry.node) == (None, NAME, "dom1")


def test_one_name_declared_twice_for_a_node_is_unknown_both_times(running: FleetNode) -> None:
    whole = plan([declared(), declared()], {"key": found(running, "one")}, {NODE: reports(running)}, {})
    assert [entry.action for entry in whole.entries] == [PlanAction.UNKNOWN] * 2
    assert whole.summary["unknown"] == 2


# --- both sides agree -------------------------------------------------------------------------------

TEXTS = st.sampled_from(["", "a", "--key=1", "ü", "\udc80"])
GIVEN = st.fixed_dictionaries(
    {},
    optional={
        "memory_mib": st.sampled_from([1, 64]),
        "cpus": st.lists(st.integers(0, 3), max_size=2),
        "arguments": st.lists(TEXTS | st.integers(0, 1) | st.booleans(), max_size=2),
        "secret_arguments": st.lists(TEXTS, max_size=2),
        "environment": st.dictionaries(st.sampled_from(["A", "B"]), TEXTS | st.integers(0, 1), max_size=2),
        "secret_environment": st.dictionaries(st.sampled_from(["A", "B"]), TEXTS, max_size=2),
        "limits": st.dictionaries(st.sampled_from(["open_files", "processes"]), st.none() | st.integers(1, 2)),
        "restart": st.sampled_from(["never", "always"]),
        "start_order": st.sampled_from([50, 0]),
        "stop_grace": st.sampled_from([10, 10.0, 0, 0.5]),
    },
)


@settings(max_examples=max(40, settings.default.max_examples // 4))
@given(
    first=GIVEN,
    second=GIVEN,
    contents=st.tuples(*[st.sampled_from(["one", "two"])] * 2),
    states=st.tuples(*[st.sampled_from(["running", "running", "stopped", "absent"])] * 2),
    fails=st.booleans(),
)
@example({"stop_grace": 10}, {"stop_grace": 10.0}, ("one", "one"), ("running", "running"), False)
def test_the_plan_says_unchanged_exactly_when_the_node_would_change_nothing(
    first: dict[str, Any], second: dict[str, Any], contents: tuple[str, str], states: tuple[str, str], fails: bool
) -> None:
    with tempfile.TemporaryDirectory(prefix="fleet-") as folder:
        fleet = FleetNode(Path(folder))
        trial = deploy(fleet, contents[0], TrialOptions(60.0) if fails else AT_ONCE, state=states[0], **first)
        if fails and trial is not None:
            with locked(fleet.node(), NAME, ME, 0.0) as transaction:
                transaction.judge(trial, FAILED)
        image = fleet.image(contents[1])
        asked = parameters(sha256=image.sha256, size=image.size, state=states[1], **second)
        if states[1] == "stopped":
            asked.update(sha256=None, size=None)  # what is stopped keeps its image: no source is asked
        there = fleet.node().journal(NAME).read().current is not None
        if states[1] == "stopped" and not there:
            return
        try:
            would_change: Optional[bool] = (
                forecast(fleet.node(), NAME, ME).declare(declaration_from(asked), AT_ONCE, None).changed
            )
        except Held:
            would_change = None
        action = planned(fleet, declared(state=states[1], **second), found(fleet, contents[1])).action
        assert (action is PlanAction.HELD) == (would_change is None)
        assert (action is PlanAction.UNCHANGED) == (would_change is False)
