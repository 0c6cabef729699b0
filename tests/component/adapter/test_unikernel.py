# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules' own side, without Ansible: from parameters to a result, on real processes."""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter import (
    liveliness,
    options,
    release,
    unikernel,
    unikernel_info,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import (
    FleetError,
    InvalidDeclaration,
    StateTooNew,
    TrialRefused,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.images.store import ImageStore
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import Image
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases import guard_install
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.guard import sweep
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.node import local_node
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.process import (
    ProcessIdentity,
    send,
    wait_end,
)
from ansible_collections.unikernel.fleet.tests.support import programs
from ansible_collections.unikernel.fleet.tests.support.real_node import (
    NAME,
    answer_of,
    answering,
    free_port,
    processes_of,
    says,
    within,
)


class Modules:
    """Calls what the modules call, with the parameters that AnsibleModule would give them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.port = free_port()
        self.layout = NodeLayout(root / "state")

    def image(self, program: str) -> Image:
        return ImageStore(self.layout).add_stream([program.encode("utf-8")])

    def _parameters(self, arguments: tuple[options.Option, ...], given: dict[str, Any]) -> dict[str, Any]:
        spec = options.specs(arguments)
        assert set(given) <= set(spec), set(given) - set(spec)
        defaults = {name: entry.get("default") for name, entry in spec.items()}
        return {**defaults, "name": NAME, "root": str(self.layout.root), **given}

    def declare(self, version: str = "", check_mode: bool = False, **given: Any) -> dict[str, Any]:
        if version:
            image = self.image(answering(version))
            given = {"sha256": image.sha256, "size": image.size, "build": {"job": NAME, "id": version}, **given}
            given.setdefault("arguments", [self.port, "default"])
        quick = {"deadline": 0.4, "stable_for": 0.02, "interval": 0.02, "delays": [0.02], "stop_grace": 2.0}
        return unikernel.declare(self._parameters(unikernel.ARGUMENTS, {**quick, **given}), check_mode)

    def release(self, check_mode: bool = False, **given: Any) -> dict[str, Any]:
        return release.change_release(self._parameters(release.ARGUMENTS, given), check_mode)

    def judge(self, **given: Any) -> dict[str, Any]:
        return liveliness.judge(self._parameters(liveliness.ARGUMENTS, given))

    def info(self, **given: Any) -> dict[str, Any]:
        found = unikernel_info.inform(self._parameters(unikernel_info.ARGUMENTS, {"names": None, **given}))
        return dict(found["unikernels"])


@pytest.fixture
def modules(tmp_path: Path) -> Iterator[Modules]:
    fixture = Modules(tmp_path)
    yield fixture
    for pid, line in processes_of(tmp_path).items():
        if ".pyz" in line:
            os.kill(pid, signal.SIGKILL)
    programs.end_all_instances(tmp_path)


def test_a_trial_from_its_declaration_to_its_confirmation(modules: Modules) -> None:
    promised = modules.declare("one", check_mode=True)
    assert promised["changed"] and not modules.layout.unikernels.exists()
    done = modules.declare("one", checks=[says(modules.port, "^one")], who="Ada", run="run-1")
    assert done["changed"] and done["trial"]["guarded"]
    assert done["diff"] == promised["diff"], "what check mode promised is what was done"
    verdict = modules.judge(trial=done["trial"]["id"])
    assert verdict["alive"] and verdict["standing"] == "passed"
    foreseen = modules.release(state="confirmed", trial=done["trial"]["id"], check_mode=True)
    confirmed = modules.release(state="confirmed", trial=done["trial"]["id"])
    assert confirmed["changed"] and confirmed["release"]["build"]["id"] == "one"
    assert foreseen == confirmed
    assert confirmed["diff"]["before"] == f"trial {done['trial']['id']}: open\n"
    assert not modules.release(state="confirmed", trial=done["trial"]["id"])["changed"]
    assert not modules.declare("one")["changed"]
    told = modules.info(history=10, console=10)[NAME]
    assert (told["alive"], told["drift"], [e["what"] for e in told["history"]]) == (True, [], ["begun", "confirmed"])
    assert told["history"][0]["who"] == "Ada"


def test_a_bad_release_is_told_with_its_reason_and_evidence(modules: Modules) -> None:
    modules.declare("one", trial_timeout=0.0)
    done = modules.declare("bad", checks=[says(modules.port, "^two")])
    verdict = modules.judge(trial=done["trial"]["id"])
    assert (verdict["alive"], verdict["verdict"], verdict["standing"]) == (False, "fail", "rolled_back")
    assert Path(verdict["evidence"], "report.json").exists()
    assert not modules.release(state="rolled_back", trial=done["trial"]["id"])["changed"]
    with pytest.raises(TrialRefused, match="cannot be confirmed any more: it was rolled back"):
        modules.release(state="confirmed", trial=done["trial"]["id"])
    assert within(2.0, lambda: answer_of(modules.port) == "one default")


def test_secrets_are_in_no_result(modules: Modules) -> None:
    given = {"secret_arguments": ["--key=hunter2"], "secret_environment": {"TOKEN": "hunter3"}, "trial_timeout": 0.0}
    results = [modules.declare("one", **given)]
    results.append(modules.declare("one", **{**given, "secret_arguments": ["--key=hunter4"]}))
    assert "secret_arguments: 1 (hidden, changed)" in results[1]["diff"]["after"]
    results.append(modules.release(state="rolled_back"))
    results.append(modules.info(history=10, console=10))
    assert "hunter" not in json.dumps(results)


def test_going_back_twice_by_hand_and_to_a_number(modules: Modules) -> None:
    for version in ("one", "two", "three"):
        modules.declare(version, trial_timeout=0.0)
    foreseen = modules.release(state="rolled_back", check_mode=True)
    assert foreseen["changed"] and "build: www two" in foreseen["diff"]["after"], foreseen["diff"]
    assert modules.release(state="rolled_back")["release"]["number"] == 2
    assert modules.release(state="rolled_back", to=3)["release"]["number"] == 3
    assert not modules.release(state="rolled_back", to=3)["changed"]
    assert within(2.0, lambda: answer_of(modules.port) == "three default")


def kill_the_waiter_of(modules: Modules, number: int) -> None:
    record = json.loads((modules.layout.instance(NAME, number) / "run.json").read_bytes())
    waiter = ProcessIdentity.parse(record["waiter"])
    assert send(waiter, signal.SIGKILL) and wait_end(waiter, 5.0)


@pytest.mark.parametrize(("restart", "said"), [("on_failure", "restarts it at once"), ("never", "sees how it ends or")])
def test_one_whose_waiter_was_killed_is_told_and_left_alone_until_it_is_started_anew(
    modules: Modules, restart: str, said: str
) -> None:
    given = {"trial_timeout": 0.0, "restart": restart}
    modules.declare("one", **given)
    assert modules.info()[NAME]["unwatched"] is None
    kill_the_waiter_of(modules, 1)
    told = modules.info()[NAME]
    assert told["alive"] and told["drift"] == [told["unwatched"]] and said in told["unwatched"]
    assert ("restarts" in told["unwatched"]) == (restart != "never")
    before = [one["identity"] for one in told["instances"]]
    assert not modules.declare("one", **given)["changed"]
    sweep(local_node(modules.layout), NAME)
    assert [one["identity"] for one in modules.info()[NAME]["instances"]] == before
    # What it says is to be done.
    modules.declare(state="stopped", trial_timeout=0.0)
    modules.declare("one", **given)
    told = modules.info()[NAME]
    assert told["alive"] and (told["drift"], told["unwatched"]) == ([], None)


def test_an_update_has_it_watched_again_too(modules: Modules) -> None:
    modules.declare("one", trial_timeout=0.0)
    kill_the_waiter_of(modules, 1)
    modules.declare("two", trial_timeout=0.0)
    told = modules.info()[NAME]
    assert told["alive"] and told["drift"] == []


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"state": "confirmed", "trial": "20260101000000-00000000"}, "no trial|is not open"),
        ({"state": "taken_over"}, "no trial is open"),
        ({"state": "taken_over", "trial": "20260101000000-00000000"}, "is not open"),
        ({"state": "rolled_back"}, "has not kept an older release"),
        ({"state": "rolled_back", "to": 3}, "has not kept release 3"),
        ({"state": "rolled_back", "trial": "20260101000000-00000000"}, "is not open"),
    ],
)
@pytest.mark.parametrize("prepared", [False, True])
def test_where_nothing_was_ever_deployed_a_refused_release_leaves_nothing(
    modules: Modules, given: dict[str, Any], why: str, prepared: bool
) -> None:
    if prepared:
        modules.layout.unikernels.mkdir(parents=True)
    before = sorted(modules.root.rglob("*"))
    with pytest.raises(FleetError, match=why):
        modules.release(**given)
    assert sorted(modules.root.rglob("*")) == before


def test_a_state_of_a_newer_collection_stops_every_module_and_nothing_else(modules: Modules) -> None:
    modules.declare("one", trial_timeout=0.0)
    path = modules.layout.state(NAME)
    newer = json.dumps({**json.loads(path.read_bytes()), "schema": 99}).encode("utf-8")
    path.write_bytes(newer)
    for refused in (lambda: modules.declare("two"), lambda: modules.release(state="rolled_back")):
        with pytest.raises(StateTooNew):
            refused()
    assert "newer collection" in modules.info()[NAME]["error"]
    assert modules.judge(trial="t1")["verdict"] == "inconclusive"
    assert path.read_bytes() == newer
    assert within(2.0, lambda: answer_of(modules.port) == "one default")


@pytest.mark.parametrize("name", ["../x", "-rf", "", "a" * 300, "wéb"])
def test_a_bad_name_is_refused_by_every_module(modules: Modules, name: str) -> None:
    for refused in (
        lambda: modules.declare("one", name=name),
        lambda: modules.release(state="rolled_back", name=name),
        lambda: modules.judge(trial="t1", name=name),
        lambda: modules.info(names=[name]),
    ):
        with pytest.raises(InvalidDeclaration, match="is no name for a unikernel"):
            refused()
    assert not modules.layout.unikernels.exists()


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"trial_timeout": -1.0}, "trial_timeout is -1"),
        ({"trial_timeout": math.nan}, "trial_timeout is nan"),
        ({"trial_timeout": math.inf}, "trial_timeout is inf"),
        ({"trial_timeout": 0.3}, "must be longer than deadline"),
        ({"deadline": math.nan}, "deadline_s"),
        ({"delays": []}, "delays_s"),
        ({"stable_for": 60.0}, "can never pass"),
        ({"checks": [{"telepathy": {}}]}, "unknown 'telepathy'"),
        ({"size": None}, "sha256 is given without size"),
        ({"sha256": "abc"}, "is no SHA-256"),
        ({"start_order": 101}, "start_order is 101"),
        ({"memory_mib": 0}, "memory_mib is 0"),
        ({"environment": {"A=B": "c"}}, "environment variable"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused_before_anything_is_touched(
    modules: Modules, given: dict[str, Any], why: str
) -> None:
    with pytest.raises(InvalidDeclaration, match=why):
        modules.declare("one", **given)
    assert not modules.layout.state(NAME).exists()


def fresh_run(modules: Modules, version: str, most_bytes: int) -> str:
    """The change in a process of its own that may write no file longer than that; its error, or nothing."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = "a crash"
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))
            modules.declare(version, checks=[says(modules.port, "^never")])
            said = ""
        except FleetError as error:
            said = str(error)
        finally:
            os.write(writer, said.encode("utf-8"))
            os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as answer:
        said = answer.read()
    os.waitpid(pid, 0)
    return said


@pytest.mark.parametrize("share", [0.5, 2.0, 3.0, 3.3, 5.0])
def test_wherever_the_state_begins_not_to_fit_the_old_release_runs(modules: Modules, share: float) -> None:
    """The guard inherits the limit, so it cannot write down the bad verdict either; it goes back all the same."""
    modules.declare("one", trial_timeout=0.0)
    modules.image(answering("bad"))
    guard_install.install(modules.layout)
    said = fresh_run(modules, "bad", int(modules.layout.state(NAME).stat().st_size * share))
    assert "File too large" in said or share >= 3.0, said
    ended = modules.layout.guard_log(NAME)
    assert within(
        5.0, lambda: answer_of(modules.port) == "one default" and (said or share == 5.0 or ended.read_bytes())
    )
    done = modules.release(state="rolled_back", to=1)
    assert (done["phase"], done["release"]["number"]) == ("stable", 1)
    assert within(2.0, lambda: answer_of(modules.port) == "one default")


def small_disk(folder: Path) -> bool:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    return os.getuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_on_a_disk_that_fills_up_the_old_release_runs(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    if not small_disk(folder):
        pytest.skip("mounting a small disk needs root and the right to mount")
    try:
        modules = Modules(folder)
        modules.declare("one", trial_timeout=0.0)
        modules.declare("two", trial_timeout=0.0)
        with pytest.raises(FleetError, match="No space left"), open(folder / "ballast", "wb") as ballast:
            fill(ballast.fileno())
            modules.declare("one", trial_timeout=0.0)
        assert within(2.0, lambda: answer_of(modules.port) == "two default")
        (folder / "ballast").unlink()
        modules.declare("one", trial_timeout=0.0)
        assert within(2.0, lambda: answer_of(modules.port) == "one default")
    finally:
        programs.end_all_instances(folder)
        within(2.0, lambda: not processes_of(folder))
        subprocess.run(["umount", str(folder)], check=True)


def fill(descriptor: int) -> None:
    while True:
        try:
            os.write(descriptor, b"\0" * 4096)
        except OSError:
            return
