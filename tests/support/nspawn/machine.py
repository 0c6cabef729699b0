# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One booted node that role ``node`` prepares, and words for what is done to it."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time
from pathlib import Path
from typing import Any

import yaml

from .bed import Bed

COLLECTION = Path(__file__).resolve().parents[3]
ON_NODE = (COLLECTION / "tests" / "support" / "on_node.py").read_text(encoding="utf-8")
VARIABLES: dict[str, Any] = {
    "node_drivers": ["unix", "solo5"],
    "node_require_clock_synchronised": False,
    "node_bridges": [
        {"name": "service", "addresses": ["192.0.2.1/24", "2001:db8:1::1/64"]},
        {"name": "faults", "addresses": ["198.18.0.1/16"]},
        {"name": "inner", "mtu": 1400},
    ],
}
SURVEY = (
    "ls -A /var/lib /etc/systemd/system /etc/systemd/system/*.wants /etc/systemd/journald.conf.d 2>&1; "
    "cut -d: -f1 /etc/passwd /etc/group; ip -br link | cut -d' ' -f1 | cut -d@ -f1; dpkg-query -W"
)
"""What the role may change, in words that can be compared."""


class Machine:
    """The only node of a test bed. Whoever needs it prepared says so: another test may have taken the role away."""

    def __init__(self, bed: Bed) -> None:
        self.bed = bed
        self.returncode = 0
        self.before = self.run(SURVEY)
        """How it was when nobody had touched it."""
        self._prepared = False

    def prepare(self) -> None:
        if not self._prepared:
            assert changed(self.role()) > 0
        self._prepared = True

    def taken_away(self) -> None:
        self._prepared = False

    def command(self, command: str) -> list[str]:
        """The words that run a command of root's there."""
        return ["ssh", "-F", str(self.bed.ssh_config), "n1", "sudo", "sh", "-c", shlex.quote(command)]

    def run(self, command: str, timeout_s: float = 60.0) -> str:
        """A command of root's; its output."""
        done = self.bed.ssh("n1", "sudo", "sh", "-c", shlex.quote(command), timeout_s=timeout_s)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def bring(self, file: Path, place: str) -> None:
        """A file of this machine to that place."""
        with open(file, "rb") as content:
            subprocess.run(self.command(f"cat > {shlex.quote(place)}"), stdin=content, check=True, timeout=60)

    def do(self, *words: str) -> Any:
        """A step of ``on_node.py``."""
        arguments = " ".join(map(shlex.quote, ("python3", "-c", ON_NODE, *words)))
        return json.loads(self.run(arguments).splitlines()[-1])

    def role(self, *arguments: str, **variables: Any) -> str:
        """Run playbook ``node``. Its tasks share a connection, which nobody else uses."""
        path = self.bed.folder / "variables.yml"
        path.write_text(yaml.safe_dump({**VARIABLES, **variables}), encoding="utf-8")
        shared = ["-o", f"ControlPath={self.bed.folder}/shared"]
        options = " ".join(("-o ControlMaster=auto -o ControlPersist=60", *shared))
        extra = ("-e", f"@{path}", "-e", json.dumps({"ansible_ssh_extra_args": options}))
        done = self.bed.play(str(COLLECTION / "playbooks" / "node.yml"), *extra, *arguments)
        closing = ["ssh", "-F", str(self.bed.ssh_config), *shared, "-O", "exit", "n1"]
        subprocess.run(closing, capture_output=True, timeout=30, check=False)
        self.returncode = done.returncode
        return str(done.stdout)

    def until(self, name: str, within_s: float = 20.0, **expected: Any) -> dict[str, Any]:
        """Wait until ``show`` has these values."""
        give_up = time.monotonic() + within_s
        while True:
            shown: dict[str, Any] = self.do("show", name)
            if all(shown[key] == value for key, value in expected.items()):
                return shown
            assert time.monotonic() < give_up, f"{name} is {shown}, and not {expected}"
            time.sleep(0.2)

    def units(self, pattern: str) -> list[str]:
        listed = self.run(f"systemctl list-units --no-legend --plain --state=active {shlex.quote(pattern)}")
        return [line.split()[0] for line in listed.splitlines()]

    def power_loss(self) -> None:
        self.bed.cut_power("n1")
        self.bed.boot("n1")


def changed(output: str) -> int:
    """How many tasks of a play changed something; it must have gone well."""
    found = re.search(r"changed=(\d+)\s+unreachable=0\s+failed=0", output)
    assert found is not None, output
    return int(found[1])
