# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The real guard: a detached process that runs from its archive, with real unikernels to look after."""

from __future__ import annotations

import functools
import json
import os
import signal
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.declaration import checks_from
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.model import CheckSpec
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import (
    Busy,
    DriverError,
    FleetError,
    TrialRefused,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases import guard, guard_install
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.guard_install import arm
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import Phase
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import TrialOptions, locked
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.waiting import (
    Standing,
    TrialReport,
    wait_for_verdict,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.process import (
    ProcessIdentity,
    send,
    wait_end,
)
from ansible_collections.unikernel.fleet.tests.support import programs
from ansible_collections.unikernel.fleet.tests.support.fleet_node import ME
from ansible_collections.unikernel.fleet.tests.support.guarded import Guarded, kill_guards, with_its_guards
from ansible_collections.unikernel.fleet.tests.support.real_node import (
    AT_ONCE,
    NAME,
    answer_of,
    answering,
    declared,
    processes_of,
    real_node,
    says,
    trial_options,
    within,
)

LIBRARY = "ansible_collections/unikernel/fleet/plugins/module_utils/_fleet"


class Trials(Guarded):
    """One whose changes are trials that can be waited for, or die in the middle."""

    def begin(self, program: str, options: TrialOptions, **configuration: Any) -> str:
        trial = self.declare(program, options, **configuration).trial
        assert trial is not None
        return trial

    def declare_and_die(self, program: str, options: TrialOptions, at: str) -> None:
        """In a process of its own, which is killed at that step."""
        declaration = declared(self.node, program, self.port)
        pid = os.fork()
        if pid == 0:

            def reached(step: str) -> None:
                if step == at:
                    os.kill(os.getpid(), signal.SIGKILL)

            with locked(real_node(self.root, reached), NAME, ME) as transaction:
                transaction.declare(declaration, options, functools.partial(arm, self.layout))
            os._exit(0)
        assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL

    def waited(self, trial: str) -> TrialReport:
        return wait_for_verdict(self.node, NAME, trial, ME)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Trials]:
    with with_its_guards(tmp_path):
        yield Trials(tmp_path)


@pytest.fixture
def running(guarded: Trials) -> Trials:
    """Version one runs."""
    guarded.declare(answering("one"), AT_ONCE)
    assert guarded.answers("one default")
    return guarded


def test_a_release_that_answers_is_found_good_and_can_be_confirmed(running: Trials) -> None:
    trial = running.begin(answering("two"), trial_options(says(running.port, "^two"), {"process": {}}))
    assert running.waited(trial).standing is Standing.PASSED
    with locked(running.node, NAME, ME) as transaction:
        assert transaction.confirm(trial)
    assert running.answers("two default")
    assert within(2.0, lambda: not running.guards()), "its work is done"


def test_a_release_that_does_not_answer_is_rolled_back_by_the_guard_alone(running: Trials) -> None:
    trial = running.begin(answering("bad"), trial_options(says(running.port, "^two"), deadline_s=0.2))
    assert within(5.0, lambda: running.state().phase is Phase.STABLE)
    assert running.answers("one default")
    state = running.state()
    assert state.ended is not None and state.ended.trial == trial and state.ended.outcome == "rolled_back"
    assert "'bad default'" in state.ended.reason
    assert within(2.0, lambda: not running.guards())
    assert len(processes_of(running.root)) == 2, "the old release and its waiter"


@pytest.mark.parametrize(
    ("program", "meaning"),
    [
        (programs.SHELL + "sleep 0.1; exit 0\n", "exited with status 0"),
        (programs.SHELL + "sleep 0.1; exit 7\n", "exited with status 7"),
        (programs.SHELL + "sleep 0.1; kill -SEGV $$\n", "killed by SIGSEGV"),
        (programs.EXITS_WELL_AT_ONCE, "exited with status 0"),
        (programs.CRASHES, "killed by SIGSEGV"),
    ],
    ids=["ends well", "ends badly", "crashes", "ends well at once", "crashes at once"],
)
def test_a_candidate_that_ends_during_its_trial_is_rolled_back_at_once(
    running: Trials, program: str, meaning: str
) -> None:
    trial = running.begin(program, trial_options({"process": {}}, deadline_s=10.0), restart="always")
    report = running.waited(trial)
    assert report.standing in (Standing.ROLLED_BACK, Standing.PASSED)
    assert within(3.0, lambda: running.state().phase is Phase.STABLE)
    ended = running.state().ended
    assert ended is not None and ended.outcome == "rolled_back" and meaning in ended.reason
    assert running.answers("one default")


def test_a_good_release_that_nobody_confirms_goes_at_its_deadline(running: Trials) -> None:
    trial = running.begin(answering("two"), trial_options(says(running.port, "^two"), timeout_s=1.0))
    assert running.waited(trial).standing is Standing.PASSED
    assert within(3.0, lambda: running.state().phase is Phase.STABLE)
    assert running.answers("one default")
    ended = running.state().ended
    assert ended is not None and "nobody confirmed it within 1 s" in ended.reason
    with locked(running.node, NAME, ME) as transaction, pytest.raises(TrialRefused, match="cannot be confirmed"):
        transaction.confirm(trial)


@pytest.mark.parametrize("step", ["before writing swapping", "before the swap", "2: before its start", "2: started"])
def test_a_module_that_is_killed_in_the_middle_is_put_right_by_the_guard(running: Trials, step: str) -> None:
    running.declare_and_die(answering("two"), trial_options(says(running.port, "^two")), step)
    assert within(5.0, lambda: not running.guards())
    assert running.state().phase is Phase.STABLE
    assert running.answers("one default")


def test_what_nobody_restarts_any_more_is_started_by_the_next_sweep(guarded: Trials) -> None:
    guarded.declare(answering("one"), AT_ONCE, restart="always")
    assert guarded.answers("one default")
    (run,) = guarded.layout.unikernel(NAME).glob("instances/*/run.json")
    record = json.loads(run.read_bytes())
    process = ProcessIdentity(record["pid"], record["start_ticks"], record["boot_id"])
    for identity in (ProcessIdentity.parse(record["waiter"]), process):
        assert send(identity, signal.SIGKILL) and wait_end(identity, 5.0)
    guard.sweep(guarded.node, NAME)
    assert guarded.answers("one default")


def test_what_a_killed_guard_leaves_is_settled_by_the_next_run(running: Trials) -> None:
    running.declare(answering("two"), trial_options(says(running.port, "^two"), timeout_s=0.7))
    kill_guards(running.root)
    with pytest.raises(Busy, match=r"a trial .* is open"):
        running.declare(answering("three"), AT_ONCE)
    trial = running.state().trial
    assert trial is not None and trial.deadline_s is not None
    assert within(3.0, lambda: running.node.now().boottime_s > (trial.deadline_s or 0))
    running.declare(answering("three"), AT_ONCE)
    assert running.answers("three default")


def test_whoever_waits_for_the_verdict_of_a_killed_guard_gets_one(running: Trials) -> None:
    trial = running.begin(answering("two"), trial_options(says(running.port, "^never"), timeout_s=0.7))
    kill_guards(running.root)
    report = running.waited(trial)
    assert report.standing is Standing.ROLLED_BACK and "no verdict was reached" in report.reason
    assert running.answers("one default")


def test_a_trial_has_one_guard_however_often_it_is_asked_for(running: Trials) -> None:
    checks = checks_from([says(running.port, "^never")], None)
    trial = running.begin(answering("bad"), trial_options(says(running.port, "^never"), deadline_s=1.0))
    with pytest.raises(DriverError, match="has a guard already"):
        arm(running.layout, NAME, trial, checks)
    assert running.waited(trial).standing is Standing.ROLLED_BACK
    assert running.answers("one default")
    assert within(2.0, lambda: not running.guards())


def test_a_guard_without_a_trial_ends_by_itself(running: Trials) -> None:
    arm(running.layout, NAME, "no-such-trial", ())
    assert within(3.0, lambda: not running.guards())
    assert running.layout.guard_log(NAME).read_text(encoding="utf-8") == ""


def test_a_check_that_cannot_be_made_on_the_node_forbids_the_change(
    running: Trials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = programs.write_program(tmp_path / "python", f'{programs.SHELL}exec {sys.executable} -S "$@"\n')
    monkeypatch.setattr(guard_install.sys, "executable", str(bare))
    options = trial_options({"dns": {"name": "example.org", "server": "127.0.0.1"}})
    with pytest.raises(DriverError, match=r"could not be armed: .*dnspython.*nothing was changed"):
        running.declare(answering("two"), options)
    assert running.state().phase is Phase.STABLE
    assert answer_of(running.port) == "one default"


def test_a_check_of_an_unknown_kind_forbids_the_change(running: Trials) -> None:
    with pytest.raises(DriverError, match="no check of the kind 'telepathy'"):
        arm(running.layout, NAME, "t1", [CheckSpec("telepathy", "t")])


def test_a_second_run_is_refused_while_the_first_one_works(running: Trials) -> None:
    second = locked(running.node, NAME, ME, wait_s=0.05)
    with locked(running.node, NAME, ME), pytest.raises(Busy, match=r"is being changed by the test \(process \d+\)"):
        second.__enter__()


def test_the_guard_is_private_and_the_same_code_is_installed_once(guarded: Trials) -> None:
    first = guard_install.install(guarded.layout)
    assert guard_install.install(guarded.layout) == first
    assert stat.S_IMODE(first.stat().st_mode) == 0o700
    assert [path.name for path in guarded.layout.guards.iterdir()] == [first.name]


def test_the_guard_installs_itself_from_the_archive_that_ansible_sends(guarded: Trials, tmp_path: Path) -> None:
    archive = tmp_path / "payload.zip"
    with zipfile.ZipFile(archive, "w") as payload:
        for package in Path(LIBRARY).parents:
            if package.name:
                payload.writestr(f"{package}/__init__.py", "")
        for name, source in guard_install.library_sources().items():
            payload.writestr(f"{LIBRARY}/{name}", source)
    code = (
        f"import sys; sys.path.insert(0, {str(archive)!r})\n"
        "from pathlib import Path\n"
        f"from {LIBRARY.replace('/', '.')} import layout\n"
        f"from {LIBRARY.replace('/', '.')}.releases import guard_install\n"
        f"print(guard_install.install(layout.NodeLayout(Path({str(guarded.layout.root)!r}))))\n"
    )
    made = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout.strip() == str(guard_install.install(guarded.layout)), "the same bytes have the same name"
    archive.unlink()
    swept = subprocess.run(
        [sys.executable, "-I", made.stdout.strip(), "--root", str(guarded.layout.root), "sweep"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (swept.stdout, swept.stderr) == ("", "")


def test_a_sweep_settles_all_that_it_can_and_tells_what_it_cannot(running: Trials) -> None:
    broken = running.layout.unikernel("broken")
    broken.mkdir()
    (broken / "state.json").write_text("{", encoding="utf-8")
    path = guard_install.install(running.layout)
    swept = subprocess.run(
        [sys.executable, "-I", str(path), "--root", str(running.layout.root), "sweep"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert swept.returncode == 1
    assert f"{NAME}: stable" in swept.stdout and "cannot be understood" in swept.stdout
    assert (broken / "state.json").read_text(encoding="utf-8") == "{"


def test_only_a_few_guards_are_kept(tmp_path: Path) -> None:
    layout = NodeLayout(tmp_path)
    layout.guards.mkdir()
    for number in range(6):
        path = layout.guards / f"{number}.pyz"
        path.touch()
        os.utime(path, (number, number))
    installed = guard_install.install(layout)
    assert sorted(p.name for p in layout.guards.iterdir()) == sorted(["4.pyz", "5.pyz", installed.name])


def test_a_hindered_guard_tries_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hindrances = [DriverError("the disk is full"), OSError("busy")]
    told: list[Exception] = []

    def under_lock(*arguments: object) -> None:
        if hindrances:
            raise hindrances.pop(0)

    monkeypatch.setattr(guard, "_under_lock", under_lock)
    monkeypatch.setattr(guard, "_LONGEST_PAUSE_S", 0.01)
    guard.watch(real_node(tmp_path), NAME, "t1", told.append)
    assert [str(error) for error in told] == ["the disk is full", "busy"]
    monkeypatch.setattr(guard, "_MOST_FAILURES", 2)
    hindrances += [DriverError("again"), DriverError("and again")]
    with pytest.raises(FleetError, match="and again"):
        guard.watch(real_node(tmp_path), NAME, "t1")
