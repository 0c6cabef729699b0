# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One meaning in several places: the option tables, the role's argument specs, its defaults and its tasks agree."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter import options, unikernel
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.options import Option
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases import kept_core

ROLE = Path(__file__).resolve().parents[3] / "roles" / "unikernel"

# What the role has under another name, or works out from the build that was found.
NOT_VARIABLES = {"name", "root", "state", "size", "build", "abi", "devices", "lock_timeout", "comparison", "sha256"}

TABLES = (
    options.ROOT,
    options.STATE,
    *options.CONFIGURATION,
    *options.CHECKS,
    *options.SCHEDULE,
    *options.TRIAL,
    *options.HOLDER,
    *options.DECLARED,
)


def read(*path: str) -> Any:
    return yaml.safe_load(ROLE.joinpath(*path).read_text(encoding="utf-8"))


def tasks_of(*path: str) -> list[Any]:
    """Those of its blocks among them."""
    return [inner for task in read(*path) for inner in task.get("block", [task])]


def arguments_of_the_module() -> Any:
    tasks = tasks_of("tasks", "main.yml")
    return next(task["unikernel.fleet.unikernel"] for task in tasks if "unikernel.fleet.unikernel" in task)


SPEC = read("meta", "argument_specs.yml")["argument_specs"]
DEFAULTS = read("defaults", "main.yml")


def test_defaults_of_the_argument_spec_are_those_of_the_role() -> None:
    declared = {name: entry["default"] for name, entry in SPEC["main"]["options"].items() if "default" in entry}
    assert declared == DEFAULTS


def test_every_default_has_the_type_of_the_argument_spec() -> None:
    types = {"str": str, "path": str, "bool": bool, "int": int, "float": float, "list": list, "dict": dict}
    for name, value in DEFAULTS.items():
        assert isinstance(value, types[SPEC["main"]["options"][name]["type"]]), name


@pytest.mark.parametrize("option", TABLES, ids=lambda option: option.name)
def test_an_option_of_the_tables_is_a_variable_of_the_role_with_the_same_meaning(option: Option) -> None:
    entry = dict(SPEC["main"]["options"][option.variable])
    assert entry.pop("description")
    inner = entry.pop("options", {})
    expected = option.spec()
    assert {key: value["type"] for key, value in inner.items()} == {
        key: value["type"] for key, value in expected.pop("options", {}).items()
    }
    # For a role "no default" and "an empty one" are the same, except in defaults/main.yml.
    assert entry == expected


def test_every_option_of_the_module_is_passed_by_the_role() -> None:
    passed = arguments_of_the_module()
    options_of_the_module = {option.name for option in unikernel.ARGUMENTS}
    assert set(passed) == options_of_the_module - {"lock_timeout"}
    for name in options_of_the_module - NOT_VARIABLES:
        assert f"unikernel_{name}" in str(passed[name]), name


def test_what_is_left_out_is_omitted_and_not_given_a_default_of_its_own() -> None:
    passed = arguments_of_the_module()
    for option in options.CONFIGURATION:
        assert option.variable not in DEFAULTS
        assert passed[option.name] == f"{{{{ {option.variable} | default(omit) }}}}"


def test_every_variable_that_the_role_reads_is_described_or_worked_out_by_it() -> None:
    known = set(SPEC["main"]["options"]) | set(SPEC["roll_back"]["options"]) | set(read("vars", "main.yml"))
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(ROLE.glob("[thv]*/*.yml")))
    registered = set(re.findall(r"(?:register|loop_var): (unikernel_\w+)", text))
    used = set(re.findall(r"(?<![\w.'])unikernel_\w+", text))
    assert used - known - registered == set()


def test_every_entry_point_is_described() -> None:
    for name, entry in SPEC.items():
        assert entry["short_description"] and entry["description"], name
        for option, about in entry["options"].items():
            assert about["description"], f"{name}: {option}"


def test_every_handler_listens_to_the_one_topic_and_never_fails() -> None:
    topics = set(re.findall(r"notify: (.*)", (ROLE / "tasks" / "main.yml").read_text(encoding="utf-8")))
    assert len(topics) == 1
    for handler in read("handlers", "main.yml"):
        assert {handler["listen"]} == topics
        assert handler["name"].startswith("Unikernel | ")
        assert handler.get("failed_when") is False or "ansible.builtin.debug" in handler
        assert "unikernel_on_trial" in str(handler["when"]) or "not ansible_check_mode" in str(handler["when"])


def test_all_that_evidence_consists_of_is_fetched_and_what_is_not_there_is_left_out() -> None:
    keeping = next(task for task in read("handlers", "main.yml") if "ansible.builtin.fetch" in task)
    assert keeping["loop"] == ["report.json", "console.txt", kept_core.FILE]
    assert keeping["ansible.builtin.fetch"]["fail_on_missing"] is False
    assert "unikernel_evidence_folder.mode | default('') == '0700'" in keeping["when"]


def test_every_task_on_a_node_goes_on_when_it_is_unreachable_so_that_the_role_can_say_so() -> None:
    for file in ("tasks/main.yml", "tasks/move.yml", "tasks/roll_back.yml", "handlers/main.yml"):
        for task in tasks_of(*file.split("/")):
            if "delegate_to" in task and task["delegate_to"] != "localhost":
                assert task.get("ignore_unreachable") is True, task["name"]
