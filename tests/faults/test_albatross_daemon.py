# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An albatross that fails in the middle of a change: killed and started again, or one that never answers any more."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.client import Client
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import DriverError, FleetError
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases import guard
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.report import report
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import Phase
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import locked
from ansible_collections.unikernel.fleet.tests.support.albatross_node import (
    BRIDGE,
    ME,
    NAME,
    AlbatrossNode,
    over_sockets,
    program,
)
from ansible_collections.unikernel.fleet.tests.support.albatross_process import AlbatrossProcess, albatross_process
from ansible_collections.unikernel.fleet.tests.support.programs import until
from ansible_collections.unikernel.fleet.tests.support.trials import PASSED

FIRST, SECOND = program(1), program(2)
TIMEOUT_S = 0.5
BOUND_S = 60.0
"""For what is bounded by several time-outs and five seconds of asking what runs, on a machine that has others to do."""


@pytest.fixture
def albatross(tmp_path: Path) -> Iterator[AlbatrossProcess]:
    with albatross_process(tmp_path / "albatross", BRIDGE) as made:
        yield made


@pytest.fixture
def node(tmp_path: Path, albatross: AlbatrossProcess) -> AlbatrossNode:
    place = replace(over_sockets(albatross), timeout_s=TIMEOUT_S)  # type: ignore[arg-type]
    return AlbatrossNode(tmp_path / "node", place)


def patient(node: AlbatrossNode) -> AlbatrossNode:
    """The same with time for an answer on a busy machine."""
    return AlbatrossNode(node.layout.root, replace(node.place, timeout_s=20.0))


def deployed(node: AlbatrossNode) -> str:
    calm = patient(node)
    calm.end_trial(calm.declare(FIRST), PASSED)
    return calm.image(FIRST).sha256


def test_a_daemon_that_dies_in_a_trial_and_comes_back_ends_it_with_the_old_release(
    albatross: AlbatrossProcess, node: AlbatrossNode
) -> None:
    """Its unikernels outlive it, and it starts them a second time: what was checked is not what it tells of now."""
    first = deployed(node)
    change = patient(node).declare(SECOND)
    complaints: list[Exception] = []
    watching = threading.Thread(target=guard.watch, args=(node.node(), NAME, change.trial, complaints.append))
    watching.start()
    albatross.kill_daemon()
    until(lambda: complaints)
    state = node.node().journal(NAME).read()
    assert state.phase is Phase.ON_TRIAL, "nothing is decided by who cannot see"
    albatross.start_daemon()
    watching.join(BOUND_S)
    assert not watching.is_alive()
    ended = node.node().journal(NAME).read().ended
    assert ended is not None and ended.trial == change.trial and ended.outcome == "rolled_back", ended
    assert "restarted during its trial" in ended.reason
    assert patient(node).runs() == first and report(patient(node).node(), NAME)["drift"] == []


def test_nothing_is_begun_where_nobody_answers(albatross: AlbatrossProcess, node: AlbatrossNode) -> None:
    first = deployed(node)
    albatross.fall_silent()
    begun = time.monotonic()
    with pytest.raises(FleetError):
        node.declare(SECOND)
    assert time.monotonic() - begun < BOUND_S
    assert node.node().journal(NAME).read().phase is Phase.STABLE
    albatross.go_on()
    assert patient(node).runs() == first


def test_a_silence_in_a_trial_decides_nothing_and_the_trial_goes_on_afterwards(
    albatross: AlbatrossProcess, node: AlbatrossNode
) -> None:
    deployed(node)
    change = patient(node).declare(SECOND)
    albatross.fall_silent()
    begun = time.monotonic()
    with pytest.raises(DriverError):
        guard.sweep(node.node(), NAME)
    assert time.monotonic() - begun < BOUND_S
    assert node.node().journal(NAME).read().phase is Phase.ON_TRIAL
    albatross.go_on()
    patient(node).end_trial(change, PASSED)
    assert patient(node).runs() == node.image(SECOND).sha256


def test_a_silence_in_the_middle_of_a_swap_ends_in_bounded_time_and_can_be_put_right(
    albatross: AlbatrossProcess, node: AlbatrossNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads what it was asked when it wakes up, long after who asked has gone."""
    first = deployed(node)
    force_create = Client.force_create

    def into_the_silence(client: Client, *arguments: Any) -> str:
        albatross.fall_silent()
        return force_create(client, *arguments)

    monkeypatch.setattr(Client, "force_create", into_the_silence)
    begun = time.monotonic()
    with pytest.raises(DriverError):
        node.declare(SECOND)
    assert time.monotonic() - begun < BOUND_S
    monkeypatch.undo()
    assert node.node().journal(NAME).read().phase is Phase.REVERTING
    albatross.go_on()
    calm = patient(node)
    until(lambda: calm.runs() == calm.image(SECOND).sha256)
    with locked(calm.node(), NAME, ME) as transaction:
        ended = transaction.state.ended
        assert transaction.state.phase is Phase.STABLE and ended is not None and ended.outcome == "rolled_back"
    assert calm.runs() == first and report(calm.node(), NAME)["drift"] == []
