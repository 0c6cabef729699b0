# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Several guards at once, as processes of their own: what has to be done is done once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.guard_install import install
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import Phase
from ansible_collections.unikernel.fleet.tests.support.guarded import Guarded, kill_guards, with_its_guards
from ansible_collections.unikernel.fleet.tests.support.real_node import (
    AT_ONCE,
    NAME,
    answering,
    processes_of,
    says,
    trial_options,
    within,
)
from ansible_collections.unikernel.fleet.tests.support.told_history import gaps_in_history, told_events

AT_A_TIME = 4
FLAPPING = f"""#!{sys.executable} -ISs
# Well twice, ill once, and so on.
import _socket, sys
server = _socket.socket()
server.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
server.bind(("127.0.0.1", int(sys.argv[1])))
server.listen(8)
asked = 0
while True:
    connection = _socket.socket(fileno=server._accept()[0])
    asked += 1
    connection.send(b"two ill" if asked % 3 == 0 else b"two well")
    connection.close()
"""


class Swept(Guarded):
    """One whose first release runs, and that several sweeps look after at once."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.declare(answering("one"), AT_ONCE)
        assert self.answers("one default")

    def sweeps(self) -> list[tuple[int, str]]:
        """Several at the same time: exit status and words of each."""
        words = [sys.executable, "-I", str(install(self.node.layout)), "--root", str(self.node.layout.root), "sweep"]
        begun = [
            subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for _unused in range(AT_A_TIME)
        ]
        said = [sweep.communicate(timeout=60)[0] for sweep in begun]
        return [(sweep.returncode, text) for sweep, text in zip(begun, said)]

    def history(self) -> list[str]:
        assert gaps_in_history(self.node, NAME, self.state()) == []
        return [event["what"] for event in told_events(self.node, NAME)]


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Swept]:
    with with_its_guards(tmp_path):
        yield Swept(tmp_path)


def test_sweeps_at_the_same_time_end_an_overdue_trial_once(guarded: Swept) -> None:
    guarded.declare(answering("two"), trial_options(says(guarded.port, "^two"), timeout_s=0.7))
    kill_guards(guarded.root)
    trial = guarded.state().trial
    assert trial is not None and trial.deadline_s is not None
    deadline_s = trial.deadline_s
    assert within(5.0, lambda: guarded.node.clock.boottime_s() > deadline_s)
    swept = guarded.sweeps()
    assert [status for status, _said in swept] == [0] * AT_A_TIME, swept
    assert guarded.state().phase is Phase.STABLE and guarded.answers("one default")
    assert guarded.history() == ["begun", "confirmed", "begun", "rolled_back"]
    assert within(3.0, lambda: len(processes_of(guarded.root)) == 2)


def test_sweeps_at_the_same_time_give_an_open_trial_one_guard(guarded: Swept) -> None:
    guarded.declare(answering("two"), trial_options(says(guarded.port, "^never"), timeout_s=30.0, deadline_s=8.0))
    kill_guards(guarded.root)
    assert within(3.0, lambda: not guarded.guards())
    swept = guarded.sweeps()
    assert [status for status, _said in swept] == [0] * AT_A_TIME, swept
    assert len(guarded.guards()) == 1
    assert within(20.0, lambda: guarded.state().phase is Phase.STABLE and not guarded.guards())
    assert guarded.answers("one default") and guarded.history()[-1] == "rolled_back"


def test_a_guard_does_not_take_a_flapping_service_for_a_living_one(guarded: Swept) -> None:
    """Two passes in a row are not three."""
    check = says(guarded.port, "^two well$")
    options = trial_options(check, deadline_s=2.0)
    schedule = replace(options.schedule, consecutive=3, stable_for_s=0.0)
    guarded.declare(FLAPPING, replace(options, schedule=schedule))
    assert within(15.0, lambda: guarded.state().phase is Phase.STABLE)
    ended = guarded.state().ended
    assert ended is not None and ended.outcome == "rolled_back", ended
    # By how it was at the deadline.
    assert any(words in ended.reason for words in ("two ill", "not long enough without a failure")), ended
    assert guarded.answers("one default")
