# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The example inventory is read by Ansible, its secret opens with the password beside it, and a plan over it is made:
with builds of the tests in the place of its server, and with this machine in the place of its nodes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.declaration import checks_from
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.sources.publishing import Publication, publish

PROJECT = Path(__file__).resolve().parents[3]
EXAMPLE = PROJECT / "inventories" / "example"
VAULT = ("--vault-id", f"example@{EXAMPLE / 'vault-password.txt'}")
UNIKERNELS = {"www-beta", "resolver-beta", "www", "resolver", "primary"}


def run(folder: Path, program: str, *arguments: str) -> str:
    done = subprocess.run(
        [str(Path(sys.executable).with_name(program)), "-i", str(EXAMPLE), *VAULT, *arguments],
        cwd=folder,
        env={
            **os.environ,
            "ANSIBLE_HOME": str(folder / "ansible"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "NO_COLOR": "1",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    output = run(tmp_path_factory.mktemp("inventory"), "ansible-inventory", "--list")
    found: dict[str, Any] = json.loads(output[output.index("{") :])
    return found


def test_it_declares_five_unikernels_in_two_groups_and_two_nodes(inventory: dict[str, Any]) -> None:
    assert set(inventory["unikernel_nodes"]["hosts"]) == {"node1", "node2"}
    assert {*inventory["beta"]["hosts"], *inventory["stable"]["hosts"]} == UNIKERNELS
    assert set(inventory["_meta"]["hostvars"]) == UNIKERNELS | {"node1", "node2"}


def test_stable_names_its_builds_and_beta_does_not(inventory: dict[str, Any]) -> None:
    variables = inventory["_meta"]["hostvars"]
    assert all("unikernel_build" in variables[name] for name in inventory["stable"]["hosts"])
    assert not any("unikernel_build" in variables[name] for name in inventory["beta"]["hosts"])


@pytest.mark.parametrize("name", sorted(UNIKERNELS))
def test_the_checks_of_each_can_be_made(name: str, inventory: dict[str, Any]) -> None:
    variables = inventory["_meta"]["hostvars"][name]
    text = json.dumps(variables["unikernel_checks"]).replace("{{ unikernel_address }}", variables["unikernel_address"])
    assert checks_from(json.loads(text), variables["unikernel_address"])


def test_a_plan_over_it_is_made_and_keeps_its_secret(tmp_path: Path, inventory: dict[str, Any]) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"#!/bin/sh\n")
    for name in sorted(UNIKERNELS):
        variables = inventory["_meta"]["hostvars"][name]
        publish(
            tmp_path / "repository",
            Publication(
                job=variables["unikernel_job"],
                platform="debian-12",
                image=image,
                filename="image",
                id=variables.get("unikernel_build"),
                finished_at="2026-11-20T03:00:00Z" if "unikernel_build" in variables else "2026-11-22T03:00:00Z",
                started_at="2026-11-20T03:00:00Z",
            ),
        )
    instead = {
        "ansible_connection": "local",
        "ansible_become": False,
        "ansible_python_interpreter": sys.executable,
        "unikernel_root": str(tmp_path / "node"),
        "unikernel_sources": {"builds": {"type": "release_repository", "url": str(tmp_path / "repository")}},
        "unikernel_fleet_plan_json": str(tmp_path / "plan.json"),
    }
    output = run(tmp_path, "ansible-playbook", "unikernel.fleet.plan", "-e", json.dumps(instead))
    made = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))
    assert {entry["host"]: entry["action"] for entry in made["entries"]} == dict.fromkeys(UNIKERNELS, "deploy"), output
    for entry in made["entries"]:
        pinned = inventory["_meta"]["hostvars"][entry["host"]].get("unikernel_build")
        assert pinned in (None, entry["build"]["id"])
    assert "zone-key" not in output + json.dumps(made)
    assert not (tmp_path / "node").exists()
