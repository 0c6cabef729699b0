# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One unikernel on this machine, as in the scenarios of molecule, and real ansible-playbook runs that change it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.node import Node, local_node
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import Phase, State
from ansible_collections.unikernel.fleet.tests.support.molecule import builds, folder as scenario, look
from ansible_collections.unikernel.fleet.tests.support.real_node import within

COLLECTION = Path(__file__).resolve().parents[2]
STEPS = COLLECTION / "extensions" / "molecule" / "steps"
NAME = "web"
UP_S = 5.0


class LocalFleet:
    """The fleet below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        scenario.begin(folder, [NAME])
        self.port: int = json.loads((folder / "run.yml").read_text(encoding="utf-8"))["all"]["vars"]["ports"][NAME]
        (folder / "fleet.yml").write_text(f"unikernels:\n  hosts:\n    {NAME}:\n", encoding="utf-8")
        self._builds: dict[int, str] = {}

    @property
    def node(self) -> Node:
        return local_node(NodeLayout(self.folder / "node"))

    def build(self, version: int) -> str:
        """The id of that version's build, which is published now if it was not."""
        if version not in self._builds:
            image = builds.program(NAME, version, "good")
            self._builds[version] = builds.to_repository(self.folder / "repository", NAME, version, image)
        return self._builds[version]

    def command(self, version: int, **variables: Any) -> list[str]:
        """The words that deploy that version."""
        given = {"unikernel_build": self.build(version), **variables}
        inventories = [STEPS / "fleet.yml", self.folder / "fleet.yml", self.folder / "run.yml"]
        words = [str(Path(sys.executable).with_name("ansible-playbook"))]
        for inventory in inventories:
            words += ["-i", str(inventory)]
        return [*words, "-e", json.dumps(given), "unikernel.fleet.deploy"]

    def begin(self, version: int, output: Path, **variables: Any) -> subprocess.Popen[bytes]:
        """A run in a session of its own, which writes to that file."""
        with open(output, "wb") as written:
            return subprocess.Popen(
                self.command(version, **variables),
                cwd=self.folder,
                env={**os.environ, "ANSIBLE_CONFIG": str(STEPS / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0"},
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def deploy(self, version: int, **variables: Any) -> None:
        output = self.folder / "deploy.log"
        with self.begin(version, output, **variables) as run:
            status = run.wait(120)
        assert status == 0, output.read_text(encoding="utf-8")

    def state(self) -> State:
        return self.node.journal(NAME).read()

    def answer(self) -> Optional[str]:
        """What answers: its name, its version and its greeting."""
        return look.ask(f"http://127.0.0.1:{self.port}/")

    def wrongs(self, expected: Sequence[Optional[str]]) -> list[str]:
        """What is not as it has to be at rest: exactly one release, which answers, and a history without a gap."""
        state, wrong = self.state(), []
        if state.phase is not Phase.STABLE:
            wrong.append(f"it is {state.phase.value}")
        # What was just started needs some time until it answers.
        if not within(UP_S, lambda: self.answer() in expected):
            wrong.append(f"{self.answer()!r} answers instead of {list(expected)}")
        alive = [instance.release for instance in self.node.inspect(state) if instance.alive]
        if alive != ([] if state.current is None else [state.current.number]):
            wrong.append(f"the instances {alive} live, and {state.current} is current")
        numbers = [event["seq"] for event in self.history()]
        if numbers != list(range(1, state.event_count + 1)):
            wrong.append(f"the history has {numbers} of {state.event_count} events")
        return wrong

    def history(self) -> list[dict[str, Any]]:
        path = self.node.layout.history(NAME)
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def running(self) -> dict[int, str]:
        """Processes that run an image or a guard of this fleet."""
        return look.processes_below(self.folder)

    def end(self) -> list[str]:
        """Take everything away; what did not go by itself."""
        return scenario.end(self.folder)


def on_one_line(output: Path) -> str:
    """What a run said, however its lines were broken."""
    return re.sub(r"\s+", " ", output.read_text(encoding="utf-8"))
