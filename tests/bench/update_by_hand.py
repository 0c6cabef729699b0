# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One update of one unikernel: the whole playbook, beside a play written by hand that has none of its safety."""

from __future__ import annotations

import functools
import http.server
import json
import os
import socket
import statistics
import sys
import tempfile
import threading
from pathlib import Path

from measuring import Figures, run

from ansible_collections.unikernel.fleet.tools.demo_builds import program, publish_version

PROJECT = Path(__file__).resolve().parents[2]
ROUNDS = 5

HANDWRITTEN = """
- hosts: node
  gather_facts: false
  tasks:
    - name: Fetch the new version
      ansible.builtin.get_url:
        url: "{{ url }}"
        dest: "{{ folder }}/fetched"
        force: true
        mode: "0644"

    - name: Put it in place
      ansible.builtin.copy:
        src: "{{ folder }}/fetched"
        dest: "{{ folder }}/service"
        remote_src: true
        mode: "0755"

    - name: Restart it
      ansible.builtin.command: "{{ folder }}/restart"

    - name: Wait until it answers
      ansible.builtin.uri:
        url: "http://127.0.0.1:{{ port }}/health"
      register: answer
      until: answer.status == 200
      retries: 50
      delay: 0.1
"""

RESTART = """#!/bin/sh
cd {folder}
if [ -f pid ]; then kill "$(cat pid)"; fi
setsid ./service --http={port} >log 2>&1 </dev/null &
echo $! >pid
"""


def compare_updates(playbook: str) -> tuple[Figures, Figures]:
    """Medians of our update and of the one by hand, taken in turn."""
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as name:
        folder = Path(name)
        server = _serve(folder)
        try:
            ours, theirs = _Ours(folder, server, playbook), _ByHand(folder / "hand", server, playbook)
            try:
                ours.update(1)
                theirs.update(1)
                both = [
                    (ours.update(2 if n % 2 == 0 else 1), theirs.update(2 if n % 2 == 0 else 1)) for n in range(ROUNDS)
                ]
            finally:
                ours.end()
                theirs.end()
        finally:
            server.shutdown()
    return _median([one for one, _unused in both]), _median([other for _unused, other in both])


class _Ours:
    def __init__(self, folder: Path, server: http.server.HTTPServer, playbook: str) -> None:
        self._repository = folder / "repository"
        self._environment = _environment()
        port = free_port()
        variables = {
            "unikernel_node": "node",
            "unikernel_root": str(folder / "node"),
            "unikernel_source": "bench",
            "unikernel_platform": "any",
            "unikernel_sources": {
                "bench": {"type": "release_repository", "url": f"http://127.0.0.1:{server.server_port}/repository"}
            },
            "unikernel_arguments": [f"--http={port}"],
            "unikernel_checks": [{"http": f"http://127.0.0.1:{port}/health"}],
            "unikernel_stable_for": 0,
            "unikernel_consecutive": 1,
            "unikernel_delays": [0.1],
        }
        hosts = {"node": local()}
        inventory = folder / "ours.json"
        inventory.write_text(
            json.dumps({"unikernel_nodes": {"hosts": hosts}, "unikernels": {"hosts": {"service": variables}}})
        )
        self._command = [playbook, "-i", str(inventory), "unikernel.fleet.deploy"]
        self._builds: dict[int, str] = {}

    def update(self, version: int) -> Figures:
        if version not in self._builds:
            self._builds[version] = publish_version(self._repository, "service", version)
        return run([*self._command, "-e", f"unikernel_build={self._builds[version]}"], PROJECT, self._environment)

    def end(self) -> None:
        run([*self._command, "-e", "unikernel_state=absent"], PROJECT, self._environment)


class _ByHand:
    def __init__(self, folder: Path, server: http.server.HTTPServer, playbook: str) -> None:
        folder.mkdir()
        port = free_port()
        for version in (1, 2):
            (folder / f"version{version}").write_text(program(version), encoding="utf-8")
        (folder / "restart").write_text(RESTART.format(folder=folder, port=port), encoding="utf-8")
        (folder / "restart").chmod(0o755)
        (folder / "play.yml").write_text(HANDWRITTEN, encoding="utf-8")
        (folder / "inventory.json").write_text(json.dumps({"all": {"hosts": {"node": local()}}}))
        self._folder = folder
        self._url = f"http://127.0.0.1:{server.server_port}/hand/version"
        self._command = [playbook, "-i", str(folder / "inventory.json"), str(folder / "play.yml")]
        self._variables = f"folder={folder} port={port}"

    def update(self, version: int) -> Figures:
        command = [*self._command, "-e", f"{self._variables} url={self._url}{version}"]
        return run(command, PROJECT, _environment())

    def end(self) -> None:
        os.kill(int((self._folder / "pid").read_text()), 15)


def local() -> dict[str, str]:
    return {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}


def _environment() -> dict[str, str]:
    return {**os.environ, "ANSIBLE_PIPELINING": "true"}


def _serve(folder: Path) -> http.server.HTTPServer:
    handler = functools.partial(_Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: the table is the output."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _median(runs: list[Figures]) -> Figures:
    return Figures(
        statistics.median(one.wall_s for one in runs),
        statistics.median(one.cpu_s for one in runs),
        max(one.memory_mib for one in runs),
    )
