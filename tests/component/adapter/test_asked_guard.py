# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asking the guard instead of running a module: the same answer, or none."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter import liveliness, release
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.asked_guard import (
    command_for,
    result_from,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.by_guard import ANSWER
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


def asked(given: dict[str, Any], module: str = "unikernel_info", check_mode: bool = False) -> Optional[dict[str, Any]]:
    command = command_for(module, given, check_mode)
    assert command is not None
    said = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False, timeout=30)
    return result_from(said.stdout) if said.returncode == 0 else None


@pytest.mark.parametrize(
    "given", [{}, {"names": [NAME]}, {"names": []}, {"names": ["unheard-of"]}, {"history": 3, "console": 5}]
)
def test_the_guard_says_what_the_module_says(layout: NodeLayout, given: dict[str, Any]) -> None:
    guard_install.install(layout)
    answer = asked(parameters(layout, **given))
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
    assert command_for("liveliness", given, False) is None


@pytest.mark.parametrize("module", ["unikernel", "image", "guard"])
def test_other_modules_are_run(layout: NodeLayout, module: str) -> None:
    assert command_for(module, parameters(layout), False) is None


def test_what_is_too_long_for_a_command_line_is_left_to_the_module(layout: NodeLayout) -> None:
    names = [f"u{number}" for number in range(20000)]
    assert command_for("unikernel_info", parameters(layout, names=names), False) is None


def test_a_node_without_a_guard_has_no_answer(layout: NodeLayout) -> None:
    assert asked(parameters(layout)) is None


def test_a_relative_folder_is_left_to_the_module(layout: NodeLayout) -> None:
    assert command_for("unikernel_info", parameters(layout, root="relative"), False) is None


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
    command = command_for("unikernel_info", parameters(layout), False)
    said = subprocess.run(
        ["/bin/sh", "-c", f"echo Welcome; {command}; echo; echo bye"], capture_output=True, text=True, check=True
    )
    assert result_from(said.stdout) is not None


def test_what_must_not_be_done_twice_is_never_asked_of_the_guard(layout: NodeLayout) -> None:
    """Its answer could be lost, and a second rollback to the release before goes back two."""
    given = defaults(release.ARGUMENTS, root=str(layout.root), name=NAME, state="rolled_back")
    assert command_for("release", given, False) is None
    assert command_for("release", {**given, "trial": "20260101-a"}, False) is not None
    assert command_for("release", {**given, "to": 1}, False) is not None


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
    assert result_from(output) is None
