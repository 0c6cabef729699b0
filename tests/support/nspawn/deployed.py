# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One unikernel on a prepared machine, deployed by real ansible-playbook runs over SSH."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from pathlib import Path
from typing import Any, Optional

from .builds import program, publish_build
from .machine import Machine

NAME, ADDRESS = "web", "192.0.2.80"
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

    def answers(self, expected: Optional[str], within_s: float = 20.0) -> bool:
        give_up = time.monotonic() + within_s
        while self.answer() != expected:
            if time.monotonic() > give_up:
                return False
            time.sleep(0.2)
        return True

    def links(self) -> list[str]:
        found = json.loads(self.machine.run("ip -j -d link show"))
        return [link["ifalias"] for link in found if f"/{NAME}/" in link.get("ifalias", "")]
