# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a person reads, and what nobody may read."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.difference import diff_of
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.hiding import secrets_within
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.host_variables import (
    is_literal,
    variables_reader,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.node_answers import NodeAnswers
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.options import CONFIGURATION, specs
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.plan_text import plan_text
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.status_text import status_of, status_text
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import Configuration, Image, Release
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.plan_entries import (
    Declared,
    FieldChange,
    Plan,
    PlanAction,
    PlanEntry,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.report import shown_release
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import State

STATE = State("www", "5a")


def shown(number: int, **configuration: Any) -> dict[str, Any]:
    release = shown_release(STATE, Release(number, Image(f"{number:064x}", 10), Configuration(**configuration)))
    assert release is not None
    return release


def test_a_diff_shows_what_changes_what_is_inherited_and_no_secret() -> None:
    before = shown(1, memory_mib=32, secret_arguments=("--key=hunter2",), stop_grace_s=5.0)
    after = shown(2, memory_mib=64, secret_arguments=("--key=hunter3",), stop_grace_s=5.0)
    diff = diff_of("www", before, after, ["stop_grace_s"])
    assert "memory_mib: 32\n" in diff["before"] and "memory_mib: 64\n" in diff["after"]
    assert "stop_grace_s: 5.0   (inherited)\n" in diff["after"]
    assert "secret_arguments: 1 (hidden, changed)\n" in diff["after"]
    assert "hunter" not in str(diff)


def test_a_diff_of_a_first_deployment_begins_with_nothing() -> None:
    diff = diff_of("www", None, shown(1))
    assert diff["before"] == "state: absent\n" and "state: running" in diff["after"]


def test_a_diff_carries_what_is_in_the_build() -> None:
    changes = {"changed": [{"name": "tls", "before": "1", "after": "2"}], "added": [], "removed": []}
    assert "  package tls: 1 -> 2\n" in diff_of("www", shown(1), shown(2), (), {"packages": changes})["after"]


def test_the_credentials_of_checks_are_found_wherever_they_are() -> None:
    checks = [
        {"http": {"url": "http://a", "password": "hunter2", "headers": {"Authorization": "Bearer hunter3"}}},
        {"http": {"headers": {"X-Api-Token": ["hunter4"], "Accept": "text/html"}}, "name": "web"},
    ]
    assert sorted(secrets_within(checks)) == ["Bearer hunter3", "hunter2", "hunter4"]


def test_every_secret_option_is_kept_from_the_log() -> None:
    spec = specs(CONFIGURATION)
    assert {name for name, entry in spec.items() if entry.get("no_log")} == {"secret_arguments", "secret_environment"}
    assert not [name for name, entry in spec.items() if "default" in entry], "what is left out is inherited"


class VaultedText:
    """Not a str: something that Ansible decrypts when it is templated."""

    def __repr__(self) -> str:
        return "vaulted"


@pytest.mark.parametrize(
    ("value", "literal"),
    [
        ("plain", True),
        (None, True),
        (5, True),
        ({"a": ["b", {"c": 1.5}]}, True),
        ("{{ x }}", False),
        ("{% if x %}", False),
        (["a", "{{ x }}"], False),
        ({"{{ x }}": 1}, False),
        ({1: "a"}, False),
        (VaultedText(), False),
    ],
    ids=str,
)
def test_only_what_needs_no_templating_counts_as_literal(value: Any, literal: bool) -> None:
    assert is_literal(value) is literal


def test_only_what_holds_a_template_is_templated_and_a_bare_name_is_looked_up() -> None:
    templated: list[Any] = []
    raw = {"node": "dom0", "a": "{{ b + c }}", "b": "{{ node }}", "other": "{{ y }}"}

    class Hostvars:
        def raw_get(self, host: str) -> dict[str, Any]:
            return raw

    class Templar:
        def copy_with_new_env(self, available_variables: Any) -> Any:
            return self

        def template(self, value: Any) -> str:
            templated.append(value)
            return "www"

    read = variables_reader(Hostvars(), Templar(), ("node", "a", "b", "missing"))
    assert read("h") == {"node": "dom0", "a": "www", "b": "dom0"}
    assert templated == ["{{ b + c }}"]


def entry(action: PlanAction, **rest: Any) -> PlanEntry:
    return PlanEntry(host="www", name="www", node="dom0", action=action, reason="because", **rest)


def test_the_plan_reads_as_a_list_of_what_will_happen() -> None:
    changes = (FieldChange("memory_mib", 32, 64), FieldChange("arguments", [], ["--a", "--b"]))
    text = plan_text(
        Plan(
            (
                entry(PlanAction.RECONFIGURE, configuration=changes, inherited=("restart",)),
                entry(PlanAction.UNCHANGED),
                entry(PlanAction.HELD, drift=("it does not run",)),
            )
        )
    )
    assert text.splitlines()[0] == "Plan for 3 unikernels on 1 node: 1 unchanged, 1 reconfigure, 1 held"
    assert "~ www on dom0: reconfigure (because)" in text
    assert "    memory_mib: 32 -> 64\n    arguments: none -> --a --b\n    inherited: restart" in text
    assert "! www on dom0: held (because)\n    drift: it does not run" in text
    assert "=" not in text, "what is unchanged is only counted"


def test_what_is_unchanged_and_has_drifted_is_shown() -> None:
    text = plan_text(Plan((entry(PlanAction.UNCHANGED, drift=("its waiter was killed",)), entry(PlanAction.UNCHANGED))))
    assert text.count("= www") == 1
    assert "= www on dom0: unchanged (because)\n    drift: its waiter was killed\n" in text


def test_the_status_calls_drift_a_trouble_though_it_runs() -> None:
    report = {"known": True, "alive": True, "release": shown(1), "drift": ["its waiter was killed"]}
    (one,) = status_of([Declared("www", "www", "dom0")], NodeAnswers({"dom0": {"www": report}}))
    assert one.trouble == "its waiter was killed"
    said = status_text([one], {})
    assert "! www on dom0: release 1 runs" in said and "    trouble: its waiter was killed\n" in said


def test_a_status_of_nothing_says_so() -> None:
    assert status_text([], {}) == "No unikernel is declared, and none is known on the nodes that were asked.\n"
