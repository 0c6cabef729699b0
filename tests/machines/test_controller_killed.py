# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real ansible-playbook runs over SSH that are killed in the middle of a deployment: what runs on the node at that moment
goes on alone, and its guard ends it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Optional

import pytest

from ansible_collections.unikernel.fleet.tests.support.killed_controller import (
    BEFORE_THE_VERDICT,
    MOMENTS,
    die_at,
)
from ansible_collections.unikernel.fleet.tests.support.nspawn.builds import program, publish_build
from ansible_collections.unikernel.fleet.tests.support.nspawn.machine import Machine

pytestmark = [pytest.mark.systemd]
NAME, ADDRESS = "web", "192.0.2.80"
TRIAL_S = 15.0
SCENARIOS = {"first deployment": (None, 2), "update": (1, 2)}
SHORT_FORM = {("update", "swapping"), ("update", "has a verdict")}
LOOK = f"""
import json, urllib.request
def answer():
    try:
        return urllib.request.urlopen("http://{ADDRESS}:8080/", timeout=2).read().decode().strip()
    except OSError:
        return None
print(json.dumps(answer()))
"""


class Fleet:
    """One unikernel with a port on the machine's bridge, in service before it is cut over."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.machine, self.folder = machine, folder
        self.inventory = folder / "fleet.json"
        check = {"http": f"http://{ADDRESS}:8080/health", "timeout": 1}
        declared = {
            "unikernel_node": "n1",
            "unikernel_source": "builds",
            "unikernel_platform": "any",
            "unikernel_sources": {"builds": {"type": "release_repository", "url": str(folder / "repository")}},
            "unikernel_arguments": ["8080"],
            "unikernel_networks": [{"name": "eth0", "bridge": "service", "addresses": [f"{ADDRESS}/24"]}],
            "unikernel_ready": {"http": {"url": f"http://{ADDRESS}:8080/health"}, "within": 20},
            "unikernel_checks": [check],
            "unikernel_stop_grace": 1,
            "unikernel_deadline": 10,
            "unikernel_stable_for": 0.3,
            "unikernel_interval": 0.1,
            "unikernel_delays": [0.1, 0.2, 0.5],
            "unikernel_trial_timeout": 90,
        }
        hosts = {"unikernels": {"hosts": {NAME: {}}, "vars": declared}}
        self.inventory.write_text(json.dumps(hosts), encoding="utf-8")
        disk = machine.bed.nodes["n1"].folder / "upper" / "var" / "lib" / "unikernel-fleet"
        self.images, self.journal = disk / "images", disk / "unikernels" / NAME / "state.json"

    def begin(self, version: int, output: Path, **variables: Any) -> subprocess.Popen[bytes]:
        build = publish_build(self.folder / "repository", NAME, version)
        given = json.dumps({"unikernel_build": build, **variables})
        words = self.machine.bed.playing("unikernel.fleet.deploy", "-i", str(self.inventory), "-e", given)
        with open(output, "wb") as written:
            return subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=written, stderr=subprocess.STDOUT, start_new_session=True
            )

    def deploy(self, version: int) -> None:
        output = self.folder / "deploy.log"
        with self.begin(version, output) as run:
            assert run.wait(180) == 0, output.read_text(encoding="utf-8")

    def image(self, version: int) -> Path:
        return self.images / hashlib.sha256(program(NAME, version).encode("ascii")).hexdigest()

    def answer(self) -> Optional[str]:
        said: Optional[str] = json.loads(self.machine.run(f"python3 -c '{LOOK}'"))
        return said

    def links(self) -> list[str]:
        found = json.loads(self.machine.run("ip -j -d link show"))
        return [link["ifalias"] for link in found if f"/{NAME}/" in link.get("ifalias", "")]


@pytest.fixture
def fleet(machine: Machine, tmp_path: Path) -> Iterator[Fleet]:
    yield Fleet(machine, tmp_path)
    machine.do("remove", NAME)
    machine.run("rm -f /var/lib/unikernel-fleet/images/*")


@pytest.mark.parametrize(
    ("scenario", "moment"),
    [
        pytest.param(scenario, moment, marks=[] if (scenario, moment) in SHORT_FORM else [pytest.mark.long])
        for scenario in SCENARIOS
        for moment in MOMENTS
    ],
)
def test_the_node_ends_alone_what_a_killed_playbook_began(
    fleet: Fleet, scenario: str, moment: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    old, new = SCENARIOS[scenario]
    if old is not None:
        fleet.deploy(old)
    output = tmp_path / "output"
    run = fleet.begin(new, output, unikernel_trial_timeout=TRIAL_S)
    try:
        die_at(run, moment, fleet.journal, fleet.image(new), 120.0)
    except AssertionError as error:
        raise AssertionError(f"{error}: {output.read_text(encoding='utf-8')}") from error
    expected = [old] if moment in BEFORE_THE_VERDICT else [new] if moment == "confirmed" else [old, new]
    shown = at_rest(fleet)
    lost = [] if shown["phase"] == "stable" else [f"it is {shown['phase']}"]
    current = shown["current"]
    confirmed = moment not in BEFORE_THE_VERDICT and shown["ended"][0] == "confirmed"
    version = new if confirmed else old
    answer = answered(fleet, None if version is None else f"{NAME} {version}")
    if version not in expected or answer != (None if version is None else f"{NAME} {version}"):
        lost.append(f"{answer!r} answers, and {shown} is written")
    if shown["alive"] != ([] if current is None else [current]):
        lost.append(f"{shown['alive']} live instead of {current}")
    units = fleet.machine.units(f"unikernel-fleet-unix@{NAME}:*") + fleet.machine.units("unikernel-fleet-trial-*")
    wanted = [] if current is None else [f"unikernel-fleet-unix@{NAME}:{current}.service"]
    left = [] if units == wanted else [f"the units {units}"]
    left += [] if len(fleet.links()) == len(wanted) else [f"the interfaces {fleet.links()}"]
    record_property("cases", 1)
    record_property("lost", int(bool(lost)))
    record_property("leftovers", len(left))
    assert (lost, left) == ([], [])


def at_rest(fleet: Fleet) -> dict[str, Any]:
    """As the node leaves it: at the end of the trial, with whatever its guard has to do after it."""
    give_up = time.monotonic() + TRIAL_S + 30.0
    while True:
        shown: dict[str, Any] = fleet.machine.do("show", NAME)
        guards = fleet.machine.units(f"unikernel-fleet-trial-{NAME}-*")
        if (shown["phase"] == "stable" and not guards) or time.monotonic() > give_up:
            return shown
        time.sleep(0.5)


def answered(fleet: Fleet, expected: Optional[str]) -> Optional[str]:
    give_up = time.monotonic() + 10.0
    while (said := fleet.answer()) != expected and time.monotonic() < give_up:
        time.sleep(0.2)
    return said
