# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asking the guard instead of running a module: the same answer, or none."""

from __future__ import annotations

import datetime
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter import (
    image,
    liveliness,
    release,
    unikernel,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.asked_guard import (
    Question,
    means_home_or_variables,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.by_guard import (
    ANSWER,
    BEGUN,
    OTHER_CODE,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.options import Option
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.unikernel_info import inform
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases import guard_install
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.node import Node
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.proposal import Declaration, Wanted
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import TrialOptions, locked
from ansible_collections.unikernel.fleet.tests.support.fleet_node import ME
from ansible_collections.unikernel.fleet.tests.support.real_node import NAME, declared, free_port, real_node


@pytest.fixture
def layout(tmp_path: Path) -> NodeLayout:
    """A node with spaces in the path of its state folder, and with a unikernel that is stopped."""
    node = real_node(tmp_path / "a node")
    with locked(node, NAME, ME) as transaction:
        transaction.declare(stopped(node, "#!/bin/sh\nexec sleep 60\n"), TrialOptions(timeout_s=0.0), None)
    return node.layout


def stopped(node: Node, program: str) -> Declaration:
    return replace(declared(node, program, free_port()), wanted=Wanted.STOPPED)


def install_other_code(layout: NodeLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = dict(guard_install.library_sources())
    sources["model.py"] += b"# another version\n"
    with monkeypatch.context() as patched:
        patched.setattr(guard_install, "library_sources", lambda: sources)
        guard_install.install(layout)


def parameters(layout: NodeLayout, **given: Any) -> dict[str, Any]:
    return {"root": str(layout.root), "names": None, "history": 0, "console": 0, **given}


def defaults(arguments: tuple[Option, ...], **given: Any) -> dict[str, Any]:
    return {**{option.name: option.default for option in arguments}, **given}


def asked(
    given: dict[str, Any], module: str = "unikernel_info", check_mode: bool = False, by_input: bool = False
) -> Optional[dict[str, Any]]:
    question = Question(module, given, check_mode)
    asking = question.asked(by_input)
    assert asking is not None and (asking.given is not None) == by_input
    said = subprocess.run(
        ["/bin/sh", "-c", asking.command], input=asking.given or b"", capture_output=True, check=False, timeout=30
    )
    return question.result_from(said.returncode, said.stdout.decode("utf-8"))


@pytest.mark.parametrize(
    "given", [{}, {"names": [NAME]}, {"names": []}, {"names": ["unheard-of"]}, {"history": 3, "console": 5}]
)
@pytest.mark.parametrize("by_input", [False, True])
def test_the_guard_says_what_the_module_says(layout: NodeLayout, given: dict[str, Any], by_input: bool) -> None:
    guard_install.install(layout)
    answer = asked(parameters(layout, **given), by_input=by_input)
    expected = json.loads(json.dumps(inform(parameters(layout, **given))))
    assert answer is not None
    for report in (*answer["unikernels"].values(), *expected["unikernels"].values()):
        if report["release"] is None:
            del report["salt"]  # made up for what has no state yet
    assert answer == expected


def test_what_is_refused_is_an_answer_too(layout: NodeLayout) -> None:
    guard_install.install(layout)
    refused = asked(parameters(layout, names=["../x; true"]))
    assert refused is not None and refused["failed"] and "'../x; true' is no name" in refused["msg"]


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_release_is_gone_back_to_through_the_guard(layout: NodeLayout, check_mode: bool) -> None:
    guard_install.install(layout)
    given = defaults(release.ARGUMENTS, root=str(layout.root), name=NAME, state="rolled_back", to=7)
    refused = asked(given, "release", check_mode)
    assert refused is not None and refused["failed"] and refused["error"] == "InvalidDeclaration", refused
    assert "has not kept release 7" in refused["msg"]


def test_the_verdict_of_an_unknown_trial_is_inconclusive_through_the_guard(layout: NodeLayout) -> None:
    guard_install.install(layout)
    given = defaults(liveliness.ARGUMENTS, root=str(layout.root), name=NAME, trial="20260101-none")
    verdict = asked(given, "liveliness")
    assert verdict is not None and verdict["verdict"] == "inconclusive" and not verdict["alive"]


def test_checks_never_stand_on_a_command_line(layout: NodeLayout) -> None:
    """They may hold credentials, and everybody on the node can read command lines."""
    checks = [{"http": {"url": "http://[::1]/", "headers": {"Authorization": "s3cret"}}}]
    given = defaults(liveliness.ARGUMENTS, root=str(layout.root), name=NAME, checks=checks)
    question = Question("liveliness", given, False)
    assert question.asked(by_input=False) is None
    asking = question.asked(by_input=True)
    assert asking is not None and "s3cret" not in asking.command and b"s3cret" in (asking.given or b"")


@pytest.mark.parametrize("module", ["unikernel", "image"])
def test_parameters_with_secrets_never_stand_on_a_command_line(layout: NodeLayout, module: str) -> None:
    assert Question(module, parameters(layout), False).asked(by_input=False) is None


def test_another_module_is_run(layout: NodeLayout) -> None:
    assert Question("guard", parameters(layout), False).asked(by_input=True) is None


def test_what_is_too_long_for_a_command_line_is_left_to_the_module(layout: NodeLayout) -> None:
    names = [f"u{number}" for number in range(20000)]
    question = Question("unikernel_info", parameters(layout, names=names), False)
    assert question.asked(by_input=False) is None and question.asked(by_input=True) is not None


def test_a_node_without_a_guard_has_no_answer(layout: NodeLayout) -> None:
    assert asked(parameters(layout)) is None


def test_a_relative_folder_is_left_to_the_module(layout: NodeLayout) -> None:
    assert Question("unikernel_info", parameters(layout, root="relative"), False).asked(by_input=True) is None


def test_a_guard_of_other_code_is_not_believed(layout: NodeLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    install_other_code(layout, monkeypatch)
    assert asked(parameters(layout)) is None


def test_a_guard_of_other_code_does_nothing_before_it_is_not_believed(
    layout: NodeLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = real_node(layout.root.parent)
    with locked(node, NAME, ME) as transaction:
        transaction.declare(stopped(node, "#!/bin/sh\nexec sleep 61\n"), TrialOptions(timeout_s=0.0), None)
    install_other_code(layout, monkeypatch)
    given = defaults(release.ARGUMENTS, root=str(layout.root), name=NAME, state="rolled_back", to=1)
    before = layout.state(NAME).read_bytes()
    assert asked(given, "release") is None
    assert layout.state(NAME).read_bytes() == before


def test_what_else_a_shell_prints_is_no_part_of_the_answer(layout: NodeLayout) -> None:
    guard_install.install(layout)
    question = Question("unikernel_info", parameters(layout), False)
    asking = question.asked(by_input=False)
    assert asking is not None
    said = subprocess.run(
        ["/bin/sh", "-c", f"echo Welcome; {asking.command}; echo; echo bye"], capture_output=True, text=True, check=True
    )
    result = question.result_from(0, said.stdout)
    assert result is not None and "unikernels" in result


def deployment(layout: NodeLayout, node: Node, program: str, **given: Any) -> dict[str, Any]:
    image_of = declared(node, program, free_port()).image
    assert image_of is not None
    stated = {"sha256": image_of.sha256, "size": image_of.size, "state": "stopped", "driver": "unix", **given}
    return defaults(unikernel.ARGUMENTS, root=str(layout.root), name=NAME, **stated)


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_release_is_declared_through_the_guard(layout: NodeLayout, check_mode: bool) -> None:
    guard_install.install(layout)
    node = real_node(layout.root.parent)
    given = deployment(layout, node, "#!/bin/sh\nexec sleep 62\n", secret_arguments=["s3cret"])
    expected = json.loads(json.dumps(unikernel.declare(given, True)))
    answer = asked(given, "unikernel", check_mode, by_input=True)
    assert answer is not None and answer.pop("warnings") == []
    for told in (answer, expected):
        del told["trial"]  # the id of one that was not forecast
    assert answer == expected and answer["changed"]
    current = node.journal(NAME).read().current
    assert current is not None and (current.image.sha256 == given["sha256"]) != check_mode


def test_an_image_is_looked_for_through_the_guard(layout: NodeLayout) -> None:
    guard_install.install(layout)
    present = next(layout.images.iterdir())
    given = defaults(image.ARGUMENTS, root=str(layout.root), sha256=present.name, size=present.stat().st_size)
    answer = asked(given, "image", by_input=True)
    assert answer is not None and answer["how"] == "present" and not answer["changed"]


def test_what_json_does_not_know_is_left_to_the_module(layout: NodeLayout) -> None:
    given = {"root": str(layout.root), "environment": {"RELEASED": datetime.date(2026, 11, 22)}}
    assert Question("unikernel", given, False).asked(by_input=True) is None


def test_an_error_that_nobody_foresaw_is_an_answer(layout: NodeLayout) -> None:
    guard_install.install(layout)
    answer = asked({"root": str(layout.root)}, "unikernel", by_input=True)
    assert answer is not None and answer["failed"] and answer["error"] == "KeyError"
    assert "nobody foresaw: KeyError: 'name'" in answer["msg"] and "Traceback" in answer["exception"]


def test_a_question_that_was_cut_off_does_nothing(layout: NodeLayout) -> None:
    guard_install.install(layout)
    before = layout.state(NAME).read_bytes()
    given = deployment(layout, real_node(layout.root.parent), "#!/bin/sh\nexec sleep 63\n")
    question = Question("unikernel", given, False)
    asking = question.asked(by_input=True)
    assert asking is not None and asking.given is not None
    said = subprocess.run(
        ["/bin/sh", "-c", asking.command], input=asking.given[:-1], capture_output=True, check=False, timeout=30
    )
    assert said.returncode not in (0, OTHER_CODE)
    assert question.result_from(said.returncode, said.stdout.decode("utf-8")) is None
    assert layout.state(NAME).read_bytes() == before


ROLLED_BACK = {"state": "rolled_back", "trial": None, "to": None}


@pytest.mark.parametrize(
    "module, given, twice",
    [
        ("unikernel_info", {}, True),
        ("liveliness", {}, True),
        ("image", {}, True),
        ("unikernel", {}, False),
        ("release", {"state": "confirmed"}, True),
        ("release", ROLLED_BACK, False),  # a second one to the release before goes back two
        ("release", {**ROLLED_BACK, "trial": "20260101-a"}, True),
        ("release", {**ROLLED_BACK, "to": 1}, True),
    ],
)
def test_an_answer_that_was_lost_is_asked_for_again_only_where_that_does_no_harm(
    module: str, given: dict[str, Any], twice: bool
) -> None:
    question = Question(module, given, False)
    for status, output in ((0, ""), (1, f"Welcome\n{BEGUN}\n"), (137, f"{BEGUN}\n{ANSWER}" + '{"changed": tr')):
        result = question.result_from(status, output)
        if twice:
            assert result is None
        else:
            assert result is not None and result["failed"] and "its answer was lost" in result["msg"]
    assert Question(module, given, True).result_from(1, f"{BEGUN}\n") is None, "check mode does nothing"
    for status in (OTHER_CODE, 1, 126, 127):
        assert question.result_from(status, "sudo: sorry\n") is None, "nothing was begun"


@pytest.mark.parametrize(
    "given, known",
    [
        ({"root": "/srv", "arguments": ["~", "$x"]}, True),
        ({"root": "~/state"}, False),
        ({"working_directory": "$HOME/x"}, False),
        ({"block_devices": [{"name": "data", "path": "/dev/a"}, {"name": "more", "path": "~/b"}]}, False),
        ({"block_devices": [{"name": "~"}]}, True),
    ],
)
def test_paths_that_only_the_node_knows_are_left_to_the_module(given: dict[str, Any], known: bool) -> None:
    assert means_home_or_variables(given, unikernel.ARGUMENTS) != known


def test_a_guard_with_fewer_files_than_the_controller_is_the_same_code(
    layout: NodeLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ansible packs only what a module imports, and the guard is installed from that."""
    sources = {name: s for name, s in guard_install.library_sources().items() if not name.startswith("sources/")}
    monkeypatch.setattr(guard_install, "library_sources", lambda: sources)
    guard_install.install(layout)
    assert asked(parameters(layout)) is not None


@pytest.mark.parametrize(
    "output", ["", "no answer", "{}", f"{ANSWER}", f"{ANSWER}no json", f"{ANSWER}[]", f" {ANSWER}" + "{}"]
)
def test_what_is_no_answer_counts_as_none(output: str) -> None:
    assert Question("unikernel_info", {}, False).result_from(0, output) is None
