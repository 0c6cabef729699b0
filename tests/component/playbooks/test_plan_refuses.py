# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks plan and status over a real inventory: what a node would refuse is no change that a plan promises."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.proposal import Wanted
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import TrialOptions, locked
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.sources.publishing import Publication, publish
from ansible_collections.unikernel.fleet.tests.support import real_node
from ansible_collections.unikernel.fleet.tests.support.fleet_node import ME

pytestmark = pytest.mark.controller

COLLECTIONS = Path(inspect.getfile(real_node)).parents[5]
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "bad-kind": ({"unikernel_checks": [{"htttp": {}}]}, "htttp"),
    "bad-controller-check": (
        {"unikernel_checks": [{"tcp": {"host": "::1", "port": 99999}, "from": "controller"}]},
        "99999",
    ),
    "no-list": ({"unikernel_checks": "http"}, "'unikernel_checks'"),
    "never-passes": ({"unikernel_stable_for": 60}, "can never pass"),
    "too-short": ({"unikernel_trial_timeout": "20"}, "must be longer than deadline"),
    "too-long": ({"unikernel_trial_timeout": 1e9}, "a week"),
    "no-number": ({"unikernel_deadline": "soon"}, "'unikernel_deadline'"),
    "not-templated": ({"unikernel_checks": [{"tcp": {"port": "{{ nobody_defines_it }}"}}]}, "nobody_defines_it"),
    "no-pin": ({"unikernel_build": ""}, "unikernel_build is empty"),
    "no-look": ({"unikernel_check_before": "{{ no_such_variable }}"}, "unikernel_check_before"),
    "no-word": ({"unikernel_check_before": "perhaps"}, "unikernel_check_before"),
    "no-folder": ({"unikernel_evidence_fetch": "{{ no_such_variable }}/x"}, "unikernel_evidence_fetch"),
    "no-way": ({"unikernel_image_method": "nope"}, "unikernel_image_method"),
    "no-memory": ({"unikernel_memory_mib": "much"}, "memory_mib"),
    "nameless": ({"unikernel_name": ""}, "is no name for a unikernel"),
}
FINE: dict[str, dict[str, Any]] = {
    "plain": {},
    "checked": {
        "unikernel_address": "127.0.0.1",
        "unikernel_checks": [{"tcp": {"port": "{{ 4000 + 2 }}"}}, {"dns": {"name": "a.example"}, "wanted": True}],
        "unikernel_trial_timeout": "{{ 2 * 60 }}",
    },
    "texts": {"unikernel_memory_mib": "{{ '6' ~ '4' }}", "unikernel_cpus": "0,1", "unikernel_start_order": "40"},
    "frozen-in": {"unikernel_node": "frozen"},
}


def playbook(name: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "ANSIBLE_LOCAL_TEMP": str(folder / "local"),
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "LC_ALL": "C.UTF-8",
    }
    return subprocess.run(
        [
            *(sys.executable, "-m", "ansible", "playbook", "-i", str(folder / "inventory.json")),
            *("-e", f"unikernel_fleet_plan_json={folder / 'plan.json'}", f"unikernel.fleet.{name}"),
            *arguments,
        ],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refused")
    image = folder / "image"
    image.write_text("#!/bin/sh\nexec sleep 60\n", encoding="utf-8")
    publish(
        folder / "repository",
        Publication(job="service", platform="any", image=image, filename="service", finished_at="2026-11-22T03:00:00Z"),
    )
    nodes = {"here": folder / "here", "frozen": folder / "frozen"}
    NodeLayout(nodes["frozen"]).root.mkdir()
    NodeLayout(nodes["frozen"]).inhibit.write_text("moving house, ask Ada", encoding="utf-8")
    hosts: dict[str, dict[str, Any]] = {**{host: given for host, (given, _why) in REFUSED.items()}, **FINE}
    for given in hosts.values():
        node = given.setdefault("unikernel_node", "here")
        given["unikernel_root"] = str(nodes[node])
    shared = {
        "unikernel_job": "service",
        "unikernel_platform": "any",
        "unikernel_source": "ours",
        "unikernel_sources": {"ours": {"type": "release_repository", "url": str(folder / "repository")}},
    }
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory = {
        "unikernel_nodes": {"hosts": {node: {**local, "unikernel_root": str(nodes[node])} for node in nodes}},
        "unikernels": {"hosts": hosts, "vars": shared},
    }
    (folder / "inventory.json").write_text(json.dumps(inventory), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def planned(folder: Path) -> tuple[dict[str, Any], str]:
    done = playbook("plan", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    return {**plan, "by_host": {entry["host"]: entry for entry in plan["entries"]}}, done.stdout


@pytest.mark.parametrize("host", sorted(REFUSED))
def test_what_cannot_be_begun_is_not_planned(planned: tuple[dict[str, Any], str], host: str) -> None:
    entry = planned[0]["by_host"][host]
    assert entry["action"] == "unknown"
    assert REFUSED[host][1] in entry["reason"]


@pytest.mark.parametrize("host", sorted(FINE))
def test_what_can_be_begun_is_planned(planned: tuple[dict[str, Any], str], host: str) -> None:
    assert planned[0]["by_host"][host]["action"] == "deploy", planned[0]["by_host"][host]["reason"]


def test_a_frozen_node_is_named_with_its_reason(planned: tuple[dict[str, Any], str]) -> None:
    plan, said = planned
    assert "moving house, ask Ada" in plan["frozen"]["frozen"]
    assert plan["by_host"]["frozen-in"]["reason"].endswith("but changes on frozen are frozen")
    assert "moving house, ask Ada" in said


def test_the_status_names_it_too(folder: Path) -> None:
    assert "moving house, ask Ada" in playbook("status", folder).stdout


def test_where_nothing_is_declared_any_more_the_nodes_are_asked_all_the_same(folder: Path, tmp_path: Path) -> None:
    inventory = json.loads((folder / "inventory.json").read_text(encoding="utf-8"))
    inventory["unikernels"] = {"hosts": {}}
    node = real_node.real_node(tmp_path / "node")
    for host in inventory["unikernel_nodes"]["hosts"].values():
        host["unikernel_root"] = str(node.layout.root)
    del inventory["unikernel_nodes"]["hosts"]["frozen"]
    (tmp_path / "inventory.json").write_text(json.dumps(inventory), encoding="utf-8")
    with locked(node, "www", ME) as transaction:
        stopped = replace(real_node.declared(node, "#!/bin/sh\n", 1), wanted=Wanted.STOPPED)
        transaction.declare(stopped, TrialOptions(timeout_s=0.0), None)
    done = playbook("plan", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [e["name"] for e in json.loads((tmp_path / "plan.json").read_text())["undeclared"]] == ["www"]
    removed = playbook("deploy", tmp_path, "-e", "unikernel_fleet_remove=true")
    assert removed.returncode == 0, removed.stdout + removed.stderr
    assert node.journal("www").read().current is None


@pytest.mark.parametrize(("group", "why"), [({"hosts": {}}, "is empty"), (None, "does not exist")])
def test_an_inventory_without_unikernels_is_told_by_every_playbook(tmp_path: Path, group: Any, why: str) -> None:
    inventory = {"all": {"hosts": {"lonely": {}}}, **({"unikernels": group} if group else {})}
    (tmp_path / "inventory.json").write_text(json.dumps(inventory), encoding="utf-8")
    for name in ("plan", "deploy", "status", "rollback"):
        done = playbook(name, tmp_path)
        said = " ".join((done.stdout + done.stderr).split())
        assert done.returncode == 0, said
        assert f"the group unikernels {why} in this inventory" in said, name
        if name == "status":
            assert "No unikernel is declared, and none is known on the nodes that were asked." in said


def test_a_state_folder_that_only_the_node_names_is_told_and_the_others_are_not(folder: Path, tmp_path: Path) -> None:
    inventory = json.loads((folder / "inventory.json").read_text(encoding="utf-8"))
    inventory["unikernels"]["hosts"] = {
        "own": {"unikernel_node": "here", "unikernel_root": str(tmp_path / "own")},
        "none": {"unikernel_node": "here", "unikernel_state": "absent"},
        "elsewhere": {"unikernel_node": "no-host-of-this-inventory", "unikernel_state": "absent"},
        "strange": {"unikernel_node": "frozen", "unikernel_state": "absent"},
    }
    inventory["unikernel_nodes"]["hosts"]["here"]["unikernel_root"] = str(tmp_path / "nodes")
    inventory["unikernel_nodes"]["hosts"]["frozen"]["unikernel_root"] = "{{ known_only_there }}"
    (tmp_path / "inventory.json").write_text(json.dumps(inventory), encoding="utf-8")
    done = playbook("plan", tmp_path)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 0, said
    assert f"The node here names {tmp_path / 'nodes'} as its state folder" in said
    assert "name none of their own (none): theirs is /var/lib/unikernel-fleet." in said
    assert "The node frozen names" not in said and "The node no-host" not in said
