# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs that are rehearsed on a network of their own, under the addresses of one that serves meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.model import Outcome
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.codec import encode
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import DriverError, ReleaseRefused
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import (
    BlockDevice,
    Configuration,
    Image,
    Release,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.data import DataOptions
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.node import Node
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.proposal import Declaration
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.rehearsal import Inconclusive
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import State
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import (
    Change,
    TrialOptions,
    locked,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.detached import DetachedSupervisor
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.memory_room import Room
from ansible_collections.unikernel.fleet.tests.support import network_lab as lab_support, reflinking
from ansible_collections.unikernel.fleet.tests.support.disk_program import node_with_disks, writing, written
from ansible_collections.unikernel.fleet.tests.support.fleet_node import ME
from ansible_collections.unikernel.fleet.tests.support.guest_answers import asking, serves
from ansible_collections.unikernel.fleet.tests.support.network_lab import Lab, ip, network_lab
from ansible_collections.unikernel.fleet.tests.support.programs import end_all_instances, until
from ansible_collections.unikernel.fleet.tests.support.real_node import AT_ONCE, real_node
from ansible_collections.unikernel.fleet.tests.support.rehearsing import GATEWAY, SERVICE, declared, rehearsing, traces
from ansible_collections.unikernel.fleet.tests.support.told_history import told_events

WHY_NOT = lab_support.why_not_here()
pytestmark = [pytest.mark.skipif(bool(WHY_NOT), reason=f"a real bridge: {WHY_NOT}")]
NAME = "hello"


@pytest.fixture
def lab() -> Iterator[Lab]:
    with network_lab() as made:
        yield made


@pytest.fixture
def node(lab: Lab, tmp_path: Path) -> Iterator[Node]:
    made = real_node(tmp_path)
    lab.watch_over(made.layout.root, NAME)
    yield made
    end_all_instances(tmp_path)


def declare(node: Node, version: str, behaviour: str = "well", options: TrialOptions = AT_ONCE, **rest: Any) -> Change:
    with locked(node, NAME, ME) as transaction:
        return transaction.declare(declared(node, version, behaviour, **rest), options, None)


def state_of(node: Node) -> State:
    return node.journal(NAME).read()


def test_a_first_deployment_is_rehearsed_and_then_serves(node: Node, lab: Lab) -> None:
    declare(node, "v1", options=rehearsing())
    serves("v1")
    assert not traces(lab, node, NAME)
    told = [event["what"] for event in told_events(node, NAME)]
    assert [what for what in told if what.startswith("rehears")] == ["rehearsing", "rehearsed"]


def test_an_update_is_rehearsed_under_the_addresses_that_are_in_use(node: Node, lab: Lab) -> None:
    declare(node, "v1")
    serves("v1")
    seen: list[bytes] = []
    with asking() as client:
        declare(node, "v2", options=rehearsing(timeout_s=30.0))
        seen = [request.body for request in client.requests]
    trial = state_of(node).trial
    assert trial is not None and trial.rehearsal is not None and trial.rehearsal.outcome is Outcome.PASS
    assert {result.outcome for result in trial.rehearsal.results} == {Outcome.PASS}
    serves("v2")
    assert not traces(lab, node, NAME) and b"v1" in seen


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [("crash", "it ended: exited with status 1"), ("sick", "answered 503")],
)
def test_a_broken_build_that_is_rehearsed_costs_no_request(node: Node, lab: Lab, behaviour: str, reason: str) -> None:
    declare(node, "v1")
    serves("v1")
    before = lab.leftovers()
    with asking() as client:
        time.sleep(0.1)
        declare(node, "v2", behaviour, options=rehearsing(deadline_s=0.6))
        time.sleep(0.1)
    assert client.failed() == [] and {r.body for r in client.requests if r.outcome} == {b"v1"}
    state = state_of(node)
    assert state.ended is not None and state.ended.outcome == "refused" and reason in state.ended.reason
    assert len(state.held) == 1 and state.current is not None and state.current.number == 1
    assert lab.leftovers() == before and not traces(lab, node, NAME)
    console = Path(str(state.ended.evidence), "console.txt").read_text(encoding="utf-8")
    assert ("no configuration" in console) == (behaviour == "crash")


def test_what_lives_and_never_answers_is_inconclusive(node: Node, lab: Lab) -> None:
    declare(node, "v1")
    declare(node, "v2", "hang", options=rehearsing(deadline_s=0.5))
    state = state_of(node)
    assert state.ended is not None and state.ended.verdict is not None
    assert state.ended.verdict.outcome is Outcome.INCONCLUSIVE and not state.held
    serves("v1")
    declare(node, "v2", "hang", options=rehearsing(deadline_s=0.5, when_inconclusive=Inconclusive.PROCEED))
    assert not traces(lab, node, NAME)
    current = state_of(node).current
    assert current is not None and current.number == 3, "no trial was asked for"


def test_the_gateway_is_there_and_nobody_behind_it(node: Node) -> None:
    """The program asks its gateway, and the node's own address, and what lies behind them."""
    program = (
        "import socket, time\n"
        "def outcome(address):\n"
        "    try:\n"
        "        socket.create_connection((address, 9), 0.3).close()\n"
        "    except OSError as error:\n"
        "        return type(error).__name__\n"
        f"print('gateway', outcome('{GATEWAY}'), flush=True)\n"
        "print('node', outcome('192.0.2.1'), outcome('2001:db8::1'), flush=True)\n"
        "print('world', outcome('198.51.100.1'), flush=True)\n"
        "time.sleep(60)\n"
    )
    options = rehearsing(deadline_s=2.0)
    with locked(node, NAME, ME) as transaction:
        wanted = declared(node, "v1")
        source = node.layout.image(wanted.image.sha256).read_text(encoding="utf-8")  # type: ignore[union-attr]
        head = source.split("\n", 1)[0]
        image = node.store.add_stream([f"{head}\n{program}".encode()])
        transaction.declare(type(wanted)(wanted.wanted, image, configuration=wanted.configuration), options, None)
    evidence = state_of(node).ended
    said = Path(str(evidence.evidence if evidence else None), "console.txt").read_text(encoding="utf-8").splitlines()
    assert said[:2] == ["gateway ConnectionRefusedError", "node ConnectionRefusedError ConnectionRefusedError"], said
    assert said[2].startswith("world ") and "None" not in said[2] and "Refused" not in said[2], said


@pytest.mark.parametrize(
    ("configuration", "reason"),
    [
        ({"networks": []}, "it has no networks of its own"),
        ({"memory_mib": 1 << 30}, "MiB"),
    ],
)
def test_what_cannot_be_rehearsed_is_refused_beforehand(node: Node, configuration: dict[str, Any], reason: str) -> None:
    declare(node, "v1")
    with pytest.raises(ReleaseRefused, match=reason):
        declare(node, "v2", options=rehearsing(), **configuration)
    serves("v1")


def test_memory_for_one_more_is_asked_for_before_anything_is_begun(
    node: Node, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the old one would free at a swap is not free at a rehearsal."""
    declare(node, "v1")
    monkeypatch.setattr(DetachedSupervisor, "room", lambda self: Room(62.0))
    with pytest.raises(ReleaseRefused, match="beside the one that runs it needs 64 MiB of memory, and only 62 MiB are"):
        declare(node, "v2", options=rehearsing(), memory_mib=64)
    serves("v1")
    assert not traces(lab, node, NAME)


def test_an_interface_of_somebody_else_is_left_alone_and_nobody_is_blamed(node: Node, lab: Lab) -> None:
    declare(node, "v1")
    candidate = declared(node, "v2")
    driver = node.open_driver("unix")
    release = state_of(node).current
    assert release is not None and driver.rehearsals is not None and candidate.image is not None
    taken = driver.rehearsals._ports(NAME, release)[0].interface  # type: ignore[attr-defined]
    ip("link", "add", taken, "type", "bridge")
    with pytest.raises(DriverError, match=r"could not be rehearsed.*is not ours"):
        declare(node, "v2", options=rehearsing())
    assert taken in lab_support.links() and not state_of(node).held
    serves("v1")


@pytest.mark.skipif(bool(reflinking.why_not()), reason=f"a file system with reflinks: {reflinking.why_not()}")
def test_it_runs_on_copies_of_its_disks(lab: Lab) -> None:
    with reflinking.reflinking_folder() as folder:
        node = node_with_disks(folder)
        lab.watch_over(node.layout.root, NAME)
        disk = node.layout.disk(NAME, "data")
        given = {"networks": [encode(SERVICE)], "block_devices": [{"name": "data", "size_mib": 1}], "stop_grace_s": 1.0}

        def update(version: str, then: str, options: TrialOptions) -> None:
            image = node.store.add_stream([writing(version, then).encode("utf-8")])
            with locked(node, NAME, ME) as transaction:
                transaction.declare(Declaration(image=image, configuration=given), options, None)

        try:
            update("one", "time.sleep(300)", AT_ONCE)
            until(lambda: written(disk) == ["one"])
            # It tells what it found, and ends: what it wrote is seen on its console and not on the disk.
            told = "print(os.read(os.open(path, os.O_RDONLY), 16).decode(), path, flush=True); posix._exit(4)"
            data = DataOptions(compatible=True)
            update("two", told, rehearsing(data=data))
            ended = state_of(node).ended
            assert ended is not None and ended.outcome == "refused" and "exited with status 4" in ended.reason
            console = Path(str(ended.evidence), "console.txt").read_text(encoding="utf-8")
            assert console.startswith("one     two") and f"/rehearsal-disks/{NAME}/data" in console, console
            assert written(disk) == ["one"] and [path.name for path in disk.parent.iterdir()] == ["data", "data.log"]
            assert not traces(lab, node, NAME)
        finally:
            end_all_instances(folder)


def test_disks_that_cannot_be_copied_in_a_moment_are_not_rehearsed(lab: Lab, tmp_path: Path) -> None:
    node = node_with_disks(tmp_path)
    driver = node.open_driver("unix")
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1024))
    release = Release(
        2, Image("0" * 64, 1), Configuration(networks=(SERVICE,), block_devices=(BlockDevice("data", str(disk)),))
    )
    assert driver.rehearsals is not None
    reasons = driver.rehearsals.refusals(NAME, release)
    if not reasons:
        pytest.skip("this file system can copy by reflink")
    assert "cannot be copied by reflink" in reasons[0] and "'data'" in reasons[0]
    assert [path.name for path in tmp_path.iterdir()] == ["disk"], "nothing is left of the try"
