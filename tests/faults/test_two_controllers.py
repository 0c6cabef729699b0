# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two controllers that deploy different releases of one unikernel at the same time: real ansible-playbook runs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.unikernel.fleet.tests.support.local_fleet import NAME, LocalFleet, on_one_line
from ansible_collections.unikernel.fleet.tests.support.real_node import within

pytestmark = [pytest.mark.controller]
RUN_S = 150.0
VERSIONS = {"alice": 2, "bob": 3}
IN_USE = (f"{NAME} is being changed by ", f"{NAME}: a trial (")


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[LocalFleet]:
    made = LocalFleet(tmp_path / "fleet")
    made.deploy(1)
    yield made
    assert made.end() == []


def test_one_of_them_wins_and_the_other_is_told_who_was_there_first(fleet: LocalFleet, tmp_path: Path) -> None:
    for version in VERSIONS.values():
        fleet.build(version)
    runs = {
        who: fleet.begin(version, tmp_path / who, unikernel_who=who, unikernel_stable_for=2, unikernel_deadline=20)
        for who, version in VERSIONS.items()
    }
    statuses = {who: run.wait(RUN_S) for who, run in runs.items()}
    said = {who: on_one_line(tmp_path / who) for who in runs}
    winners = [who for who, status in statuses.items() if status == 0]
    assert len(winners) == 1, said
    winner = winners[0]
    loser = next(who for who in VERSIONS if who != winner)
    assert any(words in said[loser] for words in IN_USE) and f"by {winner}" in said[loser], said[loser]
    assert "Nothing was changed" in said[loser]
    assert fleet.wrongs([f"{NAME} {VERSIONS[winner]} hello"]) == []
    changes = [event for event in fleet.history() if event["who"] != "the guard"]
    assert [event["what"] for event in changes] == ["begun", "confirmed"] * 2
    assert {event["who"] for event in changes[2:]} == {winner}


@pytest.mark.long
def test_one_that_comes_into_the_others_trial_waits_for_nothing_and_breaks_nothing(
    fleet: LocalFleet, tmp_path: Path
) -> None:
    fleet.build(3)
    first = fleet.begin(2, tmp_path / "alice", unikernel_who="alice", unikernel_stable_for=12, unikernel_deadline=30)
    assert within(60.0, lambda: fleet.state().trial is not None or first.poll() is not None)
    assert first.poll() is None, on_one_line(tmp_path / "alice")
    second = fleet.begin(3, tmp_path / "bob", unikernel_who="bob")
    assert (_status(second), _status(first)) == (2, 0)
    said = on_one_line(tmp_path / "bob")
    assert f"{NAME}: a trial (" in said and "held by alice" in said and "takeover: true" in said
    assert fleet.wrongs([f"{NAME} 2 hello"]) == []
    fleet.deploy(3, unikernel_who="bob")
    assert fleet.wrongs([f"{NAME} 3 hello"]) == []


def _status(run: subprocess.Popen[bytes]) -> int:
    return run.wait(RUN_S)
