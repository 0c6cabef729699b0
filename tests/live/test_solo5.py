# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real Solo5 tenders and images: ``SOLO5_BIN`` names the folder of the tenders, ``SOLO5_IMAGES`` that of the images
v1, v2, v3-unhealthy, v4-crash and v5-hang, each for spt and hvt. Everything happens in a network namespace."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.declaration import checks_from
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.model import CheckSpec, Outcome, Schedule
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.clock import SystemClock
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.process_driver import ProcessDriver
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.solo5 import Solo5Guest
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import ReleaseRefused
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.images.store import ImageStore
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import Image, Instance
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.guard import watch
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.node import Node
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.proposal import Declaration
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import Ended, Holder, Phase
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import (
    Change,
    TrialOptions,
    locked,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.detached import DetachedSupervisor
from ansible_collections.unikernel.fleet.tests.support import network_lab as lab_support
from ansible_collections.unikernel.fleet.tests.support.network_lab import BRIDGE, GUEST_V4, Lab, ip, links, network_lab
from ansible_collections.unikernel.fleet.tests.support.programs import end_all_instances, until
from ansible_collections.unikernel.fleet.tests.support.requests_without_end import Client

TENDERS, IMAGES = os.environ.get("SOLO5_BIN"), os.environ.get("SOLO5_IMAGES")
WHY_NOT_NET = lab_support.why_not_here()
pytestmark = [
    pytest.mark.skipif(not TENDERS, reason="Solo5's tenders: SOLO5_BIN is not set"),
    pytest.mark.skipif(not IMAGES, reason="Solo5 images: SOLO5_IMAGES is not set"),
    pytest.mark.skipif(bool(WHY_NOT_NET), reason=f"a real bridge: {WHY_NOT_NET}"),
]

NAME = "hello"
HEALTH = {"http": {"url": f"http://{GUEST_V4}/health"}, "timeout": 1}
PROCESS = {"process": {}, "name": "the process lives"}
QUICK = Schedule(deadline_s=4.0, stable_for_s=0.3, consecutive=2, delays_s=(0.1, 0.2), interval_s=0.1)


def debug_tender() -> Optional[Path]:
    """The tender that can leave cores: beside the ordinary one, or beside the file that this is a link to."""
    ordinary = Path(str(TENDERS)) / "solo5-hvt"
    beside = [folder / "solo5-hvt-debug" for folder in (ordinary.parent, ordinary.resolve().parent)]
    return next((path for path in beside if os.access(path, os.X_OK)), None)


class World:
    """A node with one unikernel, its driver and its guard, on a bridge of its own."""

    def __init__(self, root: Path, target: str) -> None:
        assert TENDERS is not None and IMAGES is not None
        self.target = target
        self.layout = NodeLayout(root / "state")
        self.layout.root.mkdir()
        tenders = {name: str(Path(TENDERS) / f"solo5-{name}") for name in ("spt", "hvt")}
        debug = debug_tender()
        if debug is not None:
            tenders["hvt-debug"] = str(debug)
        self.layout.tenders.write_text(json.dumps(tenders), encoding="utf-8")
        self.store = ImageStore(self.layout)
        self.driver = ProcessDriver(Solo5Guest(self.layout), self.layout, self.store, DetachedSupervisor())
        self.node = Node(self.layout, self.store, lambda name: self.driver, SystemClock())

    def image(self, variant: str, target: Optional[str] = None) -> Image:
        return self.store.add_file(Path(str(IMAGES)) / f"{variant}.{target or self.target}")

    def client(self) -> Client:
        """One that an emulated guest can bear as well: where KVM runs guests step by step, an answer takes 20 ms."""
        return Client(GUEST_V4, every_s=0.01 if self.target == "spt" else 0.1, limit_s=0.5)

    def declare(
        self, variant: str, checks: Sequence[CheckSpec] = (), rehearse: Optional[Schedule] = None, **configuration: Any
    ) -> Change:
        given: dict[str, Any] = {
            "driver": "solo5",
            "memory_mib": 32,
            "networks": [{"name": "service", "bridge": BRIDGE, "addresses": [f"{GUEST_V4}/24"]}],
            "arguments": [f"--ipv4={GUEST_V4}/24"],
            "stop_grace_s": 1.0,
            **configuration,
        }
        declaration = Declaration(image=self.image(variant), configuration=given)
        trial = TrialOptions(
            timeout_s=30.0,
            checks=tuple(checks) or checks_from([PROCESS, HEALTH], None),
            schedule=rehearse or QUICK,
            rehearse=rehearse is not None,
        )
        with locked(self.node, NAME, Holder(who="the test")) as transaction:
            return transaction.declare(declaration, trial, arm=None)

    def judged(self, change: Change) -> Ended:
        """The trial's end after its guard has watched it; a good one is confirmed."""
        if change.trial is not None and change.after.phase is Phase.ON_TRIAL:
            # A guard returns when its trial has ended, and it ends by our confirmation: so the guard has a thread.
            guard = threading.Thread(target=watch, args=(self.node, NAME, change.trial), daemon=True)
            guard.start()
            until(self._decided, within_s=15.0)
            with locked(self.node, NAME, Holder(who="the test")) as transaction:
                if transaction.state.phase is Phase.ON_TRIAL:
                    transaction.confirm(change.trial)
            guard.join(10.0)
        ended = self.node.journal(NAME).read().ended
        assert ended is not None and ended.trial == change.trial
        return ended

    def _decided(self) -> bool:
        state = self.node.journal(NAME).read()
        return state.phase is not Phase.ON_TRIAL or (state.trial is not None and state.trial.verdict is not None)

    def deployed(self, variant: str, **configuration: Any) -> Ended:
        return self.judged(self.declare(variant, **configuration))

    def instances(self) -> dict[int, Instance]:
        return {i.release: i for i in self.driver.inspect([NAME])[NAME]}

    def alive(self) -> list[int]:
        return [number for number, instance in self.instances().items() if instance.alive]

    def remove(self) -> None:
        for number in self.alive():
            self.driver.stop(NAME, number)
            self.driver.discard(NAME, number)


def version() -> str:
    try:
        with socket.create_connection((GUEST_V4, 80), timeout=1.0) as sock:
            sock.settimeout(1.0)
            sock.sendall(b"GET /version HTTP/1.0\r\n\r\n")
            said = b""
            while chunk := sock.recv(4096):
                said += chunk
            return said.rpartition(b"\r\n")[2].decode().strip()
    except OSError:
        return ""


@pytest.fixture
def lab() -> Iterator[Lab]:
    with network_lab() as made:
        yield made


@pytest.fixture(params=["spt", "hvt"])
def world(lab: Lab, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "hvt" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("hvt: /dev/kvm is not there or may not be used")
    made = World(tmp_path, request.param)
    lab.watch_over(made.layout.root, NAME)
    yield made
    end_all_instances(tmp_path)


def test_deploy_update_and_removal_leave_no_trace(world: World, lab: Lab) -> None:
    assert world.deployed("v1").outcome == "confirmed" and version() == "v1"
    assert world.deployed("v2").outcome == "confirmed" and version() == "v2"
    assert len(world.alive()) == 1
    world.remove()
    assert lab.leftovers() == []


def test_an_unhealthy_build_is_rolled_back(world: World) -> None:
    world.deployed("v1")
    ended = world.deployed("v3-unhealthy")
    assert ended.outcome == "rolled_back" and "503" in ended.reason
    until(lambda: version() == "v1")


def test_a_build_that_crashes_is_rolled_back_and_its_end_is_told(world: World) -> None:
    world.deployed("v1")
    world.declare("v4-crash")
    until(lambda: len(world.alive()) == 0, within_s=8.0)
    with locked(world.node, NAME, Holder(who="the guard")) as transaction:
        ended = transaction.state.ended
    assert ended is not None and ended.outcome == "rolled_back"
    assert "exited with status 255: the guest aborted (solo5_abort)" in ended.reason
    until(lambda: version() == "v1")


def test_a_build_that_hangs_is_rolled_back(world: World) -> None:
    world.deployed("v1")
    assert world.deployed("v5-hang").outcome == "rolled_back"
    until(lambda: version() == "v1")


def test_a_cut_over_loses_no_request_and_the_way_back_neither(world: World, lab: Lab) -> None:
    world.deployed("v1", ready=HEALTH)
    with world.client() as client:
        time.sleep(0.2)
        change = world.declare("v2", ready=HEALTH)
        assert len(world.alive()) == 2, "the old one is parked"
        time.sleep(0.2)
        with locked(world.node, NAME, Holder(who="the test")) as transaction:
            transaction.roll_back(change.trial, "changed my mind", False)
        time.sleep(0.2)
    assert client.failed() == []
    assert {request.body.strip() for request in client.requests} == {b"v1", b"v2"}
    assert len(world.alive()) == 1 and version() == "v1"


@pytest.mark.parametrize("variant", ["v3-unhealthy", "v5-hang"])
def test_a_broken_build_that_is_to_cut_over_costs_no_request(world: World, variant: str) -> None:
    world.deployed("v1", ready=HEALTH)
    with world.client() as client:
        ended = world.deployed(variant, ready={**HEALTH, "within": 1})
    assert ended.outcome == "rolled_back" and "did not take over" in ended.reason
    assert client.failed() == [] and {request.body.strip() for request in client.requests} == {b"v1"}


@pytest.mark.parametrize(
    ("variant", "outcome", "reason"),
    [
        ("v3-unhealthy", Outcome.FAIL, "503"),
        ("v4-crash", Outcome.FAIL, "exited with status 255: the guest aborted (solo5_abort)"),
        ("v5-hang", Outcome.INCONCLUSIVE, "it lives, and on a network of its own it did not answer"),
    ],
)
def test_a_broken_build_that_is_rehearsed_costs_no_request(
    world: World, lab: Lab, variant: str, outcome: Outcome, reason: str
) -> None:
    world.deployed("v1")
    before = lab.leftovers()
    # v4-crash serves well for two seconds.
    schedule = replace(
        QUICK, deadline_s=5.0 if variant == "v4-crash" else 1.5, stable_for_s=3.0 if variant == "v4-crash" else 0.3
    )
    with world.client() as client:
        ended = world.judged(world.declare(variant, rehearse=schedule))
    assert client.failed() == [] and {request.body.strip() for request in client.requests} == {b"v1"}
    assert ended.outcome == "refused" and reason in ended.reason
    assert ended.verdict is not None and ended.verdict.outcome is outcome
    assert bool(world.node.journal(NAME).read().held) == (outcome is Outcome.FAIL)
    assert lab.leftovers() == before and world.alive() == [1] and version() == "v1"


def test_a_good_build_is_rehearsed_and_then_swapped_in(world: World) -> None:
    world.deployed("v1")
    assert world.judged(world.declare("v2", rehearse=QUICK)).outcome == "confirmed" and version() == "v2"


def test_solo5s_own_test_of_block_devices_passes_on_a_disk_that_was_made_for_it(world: World) -> None:
    """And again on the same one, which outlived it. ``test_blk`` is no image of the usual ones."""
    if not (Path(str(IMAGES)) / f"test_blk.{world.target}").exists():
        pytest.skip(f"the image test_blk.{world.target} is not in SOLO5_IMAGES")
    given = {"networks": [], "arguments": [], "block_devices": [{"name": "storage", "size_mib": 1}]}
    for number in (1, 2):
        world.declare("test_blk", memory_mib=32 * number, **given)
        until(lambda: world.alive() == [], within_s=15.0)
        with locked(world.node, NAME, Holder(who="the test")) as transaction:
            ended = transaction.state.ended
        assert ended is not None and "exited with status 0" in ended.reason
        assert "SUCCESS" in (Path(str(ended.evidence)) / "console.txt").read_text(encoding="utf-8")
    assert world.layout.disk(NAME, "storage").stat().st_size == 1 << 20


def test_a_tender_that_lost_its_tap_is_noticed(world: World) -> None:
    world.deployed("v1")
    (number,) = world.alive()
    (tap,) = (name for name, link in links().items() if link.get("ifalias", "").endswith(f"/{number}/service"))
    ip("link", "delete", tap)
    found = world.instances()[number]
    assert found.alive and not found.works and tap in str(found.unreachable)


@pytest.mark.parametrize(
    ("configuration", "reason"),
    [
        ({"networks": []}, "wants the network 'service', and none is declared"),
        ({"networks": [{"name": "service", "bridge": "br-none"}]}, "the bridge br-none does not exist"),
        ({"memory_mib": 10_000_000}, "MiB are free"),
        ({"swap": "cut_over"}, "no ready check is declared"),
    ],
)
def test_what_cannot_run_is_refused_and_nothing_is_stopped(
    world: World, configuration: dict[str, Any], reason: str
) -> None:
    world.deployed("v1")
    with pytest.raises(ReleaseRefused, match=reason):
        world.declare("v2", **configuration)
    assert version() == "v1"


# --- cores ------------------------------------------------------------------------------------------------------

CORE = {"enabled": True, "most_mib": 32}


@pytest.fixture
def dumping(lab: Lab, tmp_path: Path) -> Iterator[World]:
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("cores of guests for hvt: /dev/kvm is not there or may not be used")
    if debug_tender() is None:
        pytest.skip("cores of guests for hvt: there is no solo5-hvt-debug beside solo5-hvt in SOLO5_BIN")
    made = World(tmp_path, "hvt")
    lab.watch_over(made.layout.root, NAME)
    yield made
    end_all_instances(tmp_path)


def assert_memory_of_v4_crash(evidence: str) -> None:
    core = Path(evidence, "core")
    content = core.read_bytes()
    assert content[:4] == b"\x7fELF" and content[16:18] == b"\x04\x00", "an ELF file of type ET_CORE"
    assert len(content) > 32 << 20 > core.stat().st_blocks * 512, "all of its memory, with holes"
    assert b"httpd: ready v4-crash" in content or b"v4-crash" in content
    assert stat.S_IMODE(core.stat().st_mode) == 0o600
    report = json.loads(Path(evidence, "report.json").read_bytes())
    assert report["core"]["file"] == "core" and report["core"]["size"] == len(content)


def test_a_build_that_crashes_leaves_its_memory_as_evidence(dumping: World) -> None:
    dumping.deployed("v1", core_dump=CORE)
    dumping.declare("v4-crash")
    until(lambda: len(dumping.alive()) == 0, within_s=15.0)
    with locked(dumping.node, NAME, Holder(who="the guard")) as transaction:
        ended = transaction.state.ended
    assert ended is not None and "the guest aborted (solo5_abort)" in ended.reason
    assert_memory_of_v4_crash(str(ended.evidence))
    until(lambda: version() == "v1")
    assert not dumping.layout.scratch(NAME, 2).exists()


def test_so_does_one_that_crashes_in_its_rehearsal(dumping: World) -> None:
    dumping.deployed("v1")
    ended = dumping.judged(
        dumping.declare("v4-crash", core_dump=CORE, rehearse=replace(QUICK, deadline_s=6.0, stable_for_s=4.0))
    )
    assert ended.outcome == "refused"
    assert_memory_of_v4_crash(str(ended.evidence))
    assert version() == "v1" and not (dumping.layout.root / "scratch").joinpath(NAME).exists()


def test_a_core_is_refused_where_there_can_be_none(dumping: World) -> None:
    dumping.deployed("v1")
    dumping.target = "spt"
    with pytest.raises(ReleaseRefused, match="is for spt, whose tender leaves none"):
        dumping.declare("v2", core_dump=CORE)
    assert version() == "v1"
