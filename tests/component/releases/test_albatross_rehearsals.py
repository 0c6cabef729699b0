# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What albatross allows a rehearsal, and what of that a plan foresees: no root, no real bridges, also over TLS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.albatross_inventory import AskedNode, ask
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import ROOT, Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import Policy
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.declaration import checks_from
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.model import Schedule
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.codec import decode
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.albatross_rehearsal_label import (
    is_rehearsal,
    rehearsal_label,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.albatross_rehearsal_room import (
    ELSEWHERE,
    Room,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import FleetError, ReleaseRefused
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.forecast import forecast
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.plan import plan
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.plan_entries import Declared, PlanAction
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.proposal import Declaration
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.rehearsal import Inconclusive
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.report import node_report
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import TrialOptions
from ansible_collections.unikernel.fleet.tests.support.albatross.double import Albatross
from ansible_collections.unikernel.fleet.tests.support.albatross_node import (
    BRIDGE,
    ENDS,
    ME,
    NAME,
    AlbatrossNode,
    over_sockets,
    over_tls,
    program,
)
from ansible_collections.unikernel.fleet.tests.support.fleet_node import no_waiting_for_disks
from ansible_collections.unikernel.fleet.tests.support.trials import PASSED

__all__ = ["no_waiting_for_disks"]

QUARANTINE = "br-quarantine"
FIRST, SECOND = program(1), program(2)
SCHEDULE = Schedule(deadline_s=3.0, stable_for_s=0.1, consecutive=2, delays_s=(0.05,), interval_s=0.05)
OF_ITSELF = checks_from([{"process": {}}, {"console": "is up"}], None)
OF_ITS_NETWORK = checks_from([{"process": {}}, {"http": "http://192.0.2.10/", "timeout": 0.3}], None)


@pytest.fixture
def albatross(tmp_path: Path) -> Iterator[Albatross]:
    with Albatross(tmp_path / "albatross", bridges=(BRIDGE, QUARANTINE), tls_port=0) as double:
        yield double


@pytest.fixture
def far(tmp_path: Path, albatross: Albatross) -> AlbatrossNode:
    return AlbatrossNode(tmp_path / "node", replace(over_tls(albatross), quarantine_bridge=QUARANTINE))


@pytest.fixture
def here(tmp_path: Path, albatross: Albatross) -> AlbatrossNode:
    return AlbatrossNode(tmp_path / "node", replace(over_sockets(albatross), quarantine_bridge=QUARANTINE))


def rehearsing(checks: Any = OF_ITSELF, **rest: Any) -> TrialOptions:
    return TrialOptions(0.0, checks, SCHEDULE, rehearse=True, **rest)


def labels(albatross: Albatross) -> list[str]:
    return [str(one.name.label) for one in over_sockets(albatross).client().unikernels(ROOT)]


# --- names


@pytest.mark.parametrize("name", ["web", "a" * 47, "a" * 48, "www.example.org", "b" * 63])
def test_a_rehearsals_label_is_one_of_albatross_and_of_its_unikernel_alone(name: str) -> None:
    label = rehearsal_label(name)
    assert Name((), label).label == label and is_rehearsal(label)
    assert label != rehearsal_label(name[:-1] + "x") and not is_rehearsal(name) and not is_rehearsal(None)


def test_a_unikernel_that_is_called_as_a_rehearsal_is_refused(here: AlbatrossNode) -> None:
    with pytest.raises(ReleaseRefused, match="are those of rehearsals"):
        here.driver.validate(rehearsal_label(NAME), here.release(1))


def test_the_inventory_has_no_rehearsals(albatross: Albatross, far: AlbatrossNode) -> None:
    far.declare(FIRST)
    release = far.release(2, SECOND)
    rehearsals = far.driver.rehearsals
    rehearsals.prepare(NAME, release)
    rehearsals.start(NAME, release)
    assert sorted(labels(albatross)) == [NAME, rehearsal_label(NAME)]
    (answer,) = ask([AskedNode("alba", far.place.transport(), far.place.generation, ())], 10.0)
    assert [one["unikernel_name"] for one in answer.unikernels] == [NAME]
    rehearsals.end(NAME)
    assert labels(albatross) == [NAME]


# --- over TLS: what albatross itself tells is all there is


def test_over_tls_it_is_judged_by_what_albatross_tells(albatross: Albatross, far: AlbatrossNode) -> None:
    far.declare(FIRST, options=rehearsing())
    assert far.runs() == far.image(FIRST).sha256 and labels(albatross) == [NAME]
    far.declare(program(2, ENDS), options=rehearsing())
    ended = far.node().journal(NAME).read().ended
    assert ended is not None and ended.outcome == "refused" and "version 2 has no configuration" in ended.reason
    assert far.runs() == far.image(FIRST).sha256 and labels(albatross) == [NAME]


def test_over_tls_checks_of_its_network_are_refused_beforehand_or_left_to_the_trial(
    albatross: Albatross, far: AlbatrossNode
) -> None:
    far.end_trial(far.declare(FIRST), PASSED)
    since = far.place.client().unikernel(far.full)
    with pytest.raises(ReleaseRefused, match=r"http .*cannot be seen there .*over TLS.*rehearse_inconclusive: proceed"):
        far.declare(SECOND, options=rehearsing(OF_ITS_NETWORK))
    assert far.place.client().unikernel(far.full) == since
    change = far.declare(SECOND, options=rehearsing(OF_ITS_NETWORK, when_inconclusive=Inconclusive.PROCEED))
    assert change.trial is not None and far.runs() == far.image(SECOND).sha256
    rehearsed = [line for line in far.layout.history(NAME).read_text("utf-8").splitlines() if '"rehearsed"' in line]
    assert rehearsed and "could not be seen there" in rehearsed[0]


def test_over_tls_checks_that_only_report_forbid_nothing(far: AlbatrossNode) -> None:
    wanted = checks_from([{"process": {}}, {"http": "http://192.0.2.10/", "timeout": 0.3, "required": False}], None)
    far.declare(FIRST, options=rehearsing(wanted))
    assert far.runs() == far.image(FIRST).sha256


def test_without_networks_no_quarantine_is_needed(albatross: Albatross, tmp_path: Path) -> None:
    from ansible_collections.unikernel.fleet.tests.support.albatross.images import image
    from ansible_collections.unikernel.fleet.tests.support.albatross_node import LIVES

    node = AlbatrossNode(tmp_path / "node", over_sockets(albatross))
    alone = image(LIVES.format(version=1), networks=())
    node.declare(alone, options=rehearsing(), networks=[])
    assert node.runs() == node.image(alone).sha256 and labels(albatross) == [NAME]


# --- what forbids it, told by the driver, by check mode and by the plan in the same words


def declared(node: AlbatrossNode, quarantine: Any = QUARANTINE, **configuration: Any) -> Declared:
    given = {"driver": "albatross", "networks": [{"name": "service", "bridge": BRIDGE}], **configuration}
    return Declared(
        NAME, NAME, "n1", configuration=given, rehearse=True, path=node.place.path, quarantine_bridge=quarantine
    )


def planned(node: AlbatrossNode, one: Declared) -> Any:
    reports = node_report(node.node())["unikernels"]
    (entry,) = plan([one], {}, {"n1": reports}, {}).entries
    return entry


@pytest.mark.parametrize(
    ("quarantine", "given", "reason"),
    [
        (None, {}, "no quarantine bridge is declared for it"),
        ("br-nope", {}, "does not know the bridge br-nope; it knows br-alb, br-quarantine"),
        (BRIDGE, {}, "is a bridge that it serves on"),
        (QUARANTINE, {"memory_mib": 24_090}, "24105 MiB of memory, 32 MiB are used by others"),
    ],
)
def test_what_forbids_it_is_in_the_plan_in_check_mode_and_before_anything_is_stopped(
    albatross: Albatross, far: AlbatrossNode, quarantine: Any, given: dict[str, Any], reason: str
) -> None:
    far.end_trial(far.declare(FIRST), PASSED)
    node = AlbatrossNode(far.layout.root, replace(far.place, quarantine_bridge=quarantine))
    since = node.place.client().unikernel(node.full)
    changed = {"arguments": ["--new"], **given}
    entry = planned(node, declared(node, quarantine, **changed))
    assert entry.action is PlanAction.UNKNOWN and reason in entry.reason, entry.reason
    assert "it cannot be rehearsed on n1" in entry.reason
    for declare in (
        lambda: node.declare(FIRST, options=rehearsing(), **changed),
        lambda: forecast(node.node(), NAME, ME).declare(
            Declaration(image=node.image(FIRST), configuration=changed), rehearsing(), None
        ),
    ):
        with pytest.raises(ReleaseRefused) as refused:
            declare()
        assert reason in str(refused.value)
    assert node.place.client().unikernel(node.full) == since and labels(albatross) == [NAME]


def test_block_devices_are_never_shared(albatross: Albatross, here: AlbatrossNode) -> None:
    here.place.client().add_block(here.place.name("data"), 1)
    here.end_trial(here.declare(FIRST), PASSED)
    entry = planned(here, declared(here, block_devices=[{"name": "storage", "path": "data"}]))
    assert entry.action is PlanAction.UNKNOWN and "share its block devices (storage)" in entry.reason


def test_a_tenants_room_is_seen_in_the_plan(albatross: Albatross, tmp_path: Path) -> None:
    place = replace(over_sockets(albatross), path="dev", quarantine_bridge=QUARANTINE)
    node = AlbatrossNode(tmp_path / "node", place)
    place.client().add_policy(place.name(None), Policy((0,), 1, 512, (BRIDGE, QUARANTINE), None))
    node.end_trial(node.declare(FIRST), PASSED)
    entry = planned(node, declared(node, memory_mib=64))
    assert entry.action is PlanAction.UNKNOWN
    assert "the policy of its path allows 1 unikernels, and 1 others run" in entry.reason


def test_what_can_be_rehearsed_is_planned_so_and_what_cannot_be_seen_is_said(far: AlbatrossNode) -> None:
    far.end_trial(far.declare(FIRST), PASSED)
    entry = planned(far, declared(far, memory_mib=64))
    assert entry.action is PlanAction.RECONFIGURE and entry.rehearsed and entry.unseen == ELSEWHERE


def test_a_room_of_another_version_is_no_fault_of_the_plan(far: AlbatrossNode) -> None:
    far.end_trial(far.declare(FIRST), PASSED)
    reports = node_report(far.node())["unikernels"]
    reports[NAME]["rehearsal_room"] = {"rooms": "three"}
    (entry,) = plan([declared(far, memory_mib=64)], {}, {"n1": reports}, {}).entries
    assert entry.action is PlanAction.RECONFIGURE and entry.rehearsed


def test_a_room_goes_through_json(far: AlbatrossNode) -> None:
    reports = node_report(far.node())["unikernels"]
    room = decode(Room, reports[NAME]["rehearsal_room"])
    assert room.machine is not None and QUARANTINE in room.machine.bridges


def test_an_albatross_that_does_not_answer_is_no_room(albatross: Albatross, far: AlbatrossNode) -> None:
    albatross.stop_daemon()
    entry = planned(far, declared(far))
    assert entry.action is PlanAction.UNKNOWN
    with pytest.raises(FleetError):
        far.declare(FIRST, options=rehearsing())
