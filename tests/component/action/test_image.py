# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module ``image`` and its action in real playbook runs over a local connection."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.tests.support.image_server import ImageServer, image_server
from ansible_collections.unikernel.fleet.tests.support.solo5_image import NET_BASIC, abi_note, elf, manifest_note

pytestmark = pytest.mark.controller

CONTENT = elf([abi_note(1, 2), manifest_note([(b"service", NET_BASIC)])], rest=bytes(range(256)) * 400)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ABI = {"target": "hvt", "version": 2}
DEVICES = [{"name": "service", "type": "NET_BASIC"}]
COLLECTIONS = Path(inspect.getfile(ImageServer)).parents[5]


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Run:
    """The results of one playbook run with many tasks, by name; each has its own node (state folder)."""

    def __init__(self, folder: Path, server: ImageServer) -> None:
        self.folder, self.server = folder, server
        self._tasks: list[dict[str, Any]] = []
        self.output = ""
        self.results: dict[str, dict[str, Any]] = {}

    def node(self, name: str) -> Path:
        return self.folder / "nodes" / name

    def stored(self, node: str) -> Path:
        return self.node(node) / "images" / SHA256

    def task(self, name: str, node: str = "", keywords: Any = None, **arguments: Any) -> None:
        given = {"root": str(self.node(node or name)), "sha256": SHA256, "size": len(CONTENT), "retries": 0}
        given["controller_cache"] = str(self.folder / "cache")
        given.update(arguments)
        self._tasks.append(
            {
                "name": name,
                "unikernel.fleet.image": {key: value for key, value in given.items() if value is not None},
                "register": f"result_{name}",
                "ignore_errors": True,
                **(keywords or {}),
            }
        )

    def play(self) -> None:
        registered = "{" + ", ".join(f"'{task['name']}': {task['register']}" for task in self._tasks) + "}"
        keep = {"content": "{{ " + registered + " | to_json }}", "dest": str(self.folder / "results"), "mode": "0600"}
        plays = [
            {
                "hosts": "localhost",
                "gather_facts": False,
                "tasks": [*self._tasks, {"ansible.builtin.copy": keep, "diff": False, "check_mode": False}],
            }
        ]
        (self.folder / "play.yml").write_text(json.dumps(plays))
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_LOCAL_TEMP": str(self.folder / "local"),
            "ANSIBLE_REMOTE_TEMP": str(self.folder / "remote"),
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_FORKS": "4",
            "LC_ALL": "C.UTF-8",
            "no_proxy": "*",
        }
        done = subprocess.run(
            [
                *(sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-c", "local", "-vvv", "--diff"),
                *("-e", f"ansible_python_interpreter={sys.executable}", str(self.folder / "play.yml")),
            ],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        self.output = done.stdout + done.stderr
        assert done.returncode == 0, self.output
        self.results = json.loads((self.folder / "results").read_text())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("image")
    file = folder / "on the controller"
    file.write_bytes(CONTENT)
    with image_server(CONTENT) as server:
        run = Run(folder, server)
        url, closed = f"{server.url}/as-builder-web", f"http://127.0.0.1:{closed_port()}"
        run.task("checked", url=url, keywords={"check_mode": True})
        run.task("fetched", url=url, abi=ABI, devices=DEVICES)
        run.task("again", node="fetched", url=url)
        run.task(
            "pushed", url=f"{server.url}/secured", method="controller", url_username="alice", url_password="s3cret"
        )
        run.task("no_way_out", url=f"{server.url}/image", proxy=closed, controller_proxy="")
        run.task("checked_push", url=url, method="controller", keywords={"check_mode": True})
        run.task("copied", url=file.as_uri())
        run.task("pushed_file", url=str(file), method="controller")
        run.task("both_fail", url=f"{closed}/image", controller_cache=str(folder / "empty cache"))
        run.task("other_tender", url=url, abi={"target": "spt", "version": 2})
        run.task("without_size", size=None)
        run.task("async", url=url, keywords={"async": 30, "poll": 1})
        run.play()
        yield run


def test_check_mode_says_what_would_happen_and_writes_nothing(run: Run) -> None:
    result = run.results["checked"]
    assert (result["changed"], result["how"]) == (True, "fetched")
    assert not run.node("checked").exists()
    assert (run.results["checked_push"]["changed"], run.results["checked_push"]["how"]) == (True, "pushed")
    assert not run.node("checked_push").exists()


def test_a_node_with_a_way_out_fetches(run: Run) -> None:
    result = run.results["fetched"]
    assert (result["changed"], result["how"], result["bytes_transferred"]) == (True, "fetched", len(CONTENT))
    assert result["path"] == str(run.stored("fetched"))
    assert (result["abi"], result["devices"]) == (ABI, DEVICES)
    assert run.stored("fetched").read_bytes() == CONTENT


def test_what_is_there_is_not_brought_again(run: Run) -> None:
    result = run.results["again"]
    assert (result["changed"], result["how"], result["bytes_transferred"]) == (False, "present", 0)
    assert result["diff"]["before"] == result["diff"]["after"]


def test_the_controller_downloads_once_and_pushes_to_nodes_without_a_way_out(run: Run) -> None:
    for name in ("pushed", "no_way_out"):
        result = run.results[name]
        assert (result["changed"], result["how"]) == (True, "pushed"), result
        assert run.stored(name).read_bytes() == CONTENT
    assert "cannot be reached: Connection refused" in run.results["no_way_out"]["push_reason"]
    assert run.server.paths().count("/secured") == 1
    assert run.server.paths().count("/image") == 0, "the second node's image was in the controller's cache"


def test_a_file_on_the_controller_is_copied_or_pushed(run: Run) -> None:
    assert run.results["copied"]["how"] == "copied"
    assert run.results["pushed_file"]["how"] == "pushed"
    for name in ("copied", "pushed_file"):
        assert run.stored(name).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("both_fail", "The controller tried, because: "),
        ("other_tender", "its build says Solo5 spt"),
        ("without_size", "size"),
        ("async", "async"),
    ],
)
def test_failures_are_told_in_one_message(name: str, says: str, run: Run) -> None:
    result = run.results[name]
    assert says in result["msg"], result
    assert "Traceback" not in json.dumps(result)
    assert not run.stored(name).exists()


def test_no_secret_is_shown_and_nothing_is_left_in_temporary_folders(run: Run) -> None:
    assert "s3cret" not in run.output
    assert "s3cret" not in json.dumps(run.results)
    assert list((run.folder / "remote").glob("ansible-tmp-*")) == []
