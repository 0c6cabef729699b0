# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rehearsals on albatross, on real bridges: under a label of their own, with the addresses of what serves meanwhile."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import (
    NetworkUse,
    Policy,
    UnikernelConfig,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.model import Outcome
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.codec import encode
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.albatross_rehearsal_label import (
    rehearsal_label,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import DriverError, ReleaseRefused
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import Network
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.report import report
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import State
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import Change, TrialOptions
from ansible_collections.unikernel.fleet.tests.support.albatross_node import NAME
from ansible_collections.unikernel.fleet.tests.support.albatross_rehearsing import (
    ARGUMENTS,
    GIVEN,
    NETWORK,
    QUARANTINE,
    Site,
    make_quarantine,
    rehearsing,
    site,
    web_image,
)
from ansible_collections.unikernel.fleet.tests.support.guest_answers import asking, serves
from ansible_collections.unikernel.fleet.tests.support.network_lab import (
    BRIDGE,
    NODE_V4,
    Lab,
    ip,
    network_lab,
    why_not_here,
)
from ansible_collections.unikernel.fleet.tests.support.programs import until
from ansible_collections.unikernel.fleet.tests.support.trials import AT_ONCE, PASSED

WHY_NOT = why_not_here()
pytestmark = [pytest.mark.skipif(bool(WHY_NOT), reason=f"a real bridge: {WHY_NOT}")]


@pytest.fixture
def lab() -> Iterator[Lab]:
    with network_lab() as made:
        yield made


@pytest.fixture
def here(lab: Lab, tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as made:
        lab.watch_over(made.node.layout.root, NAME)
        yield made


def declare(here: Site, version: str, behaviour: str = "well", options: TrialOptions = AT_ONCE, **given: Any) -> Change:
    return here.node.declare(web_image(version, behaviour), options=options, **{**GIVEN, **given})


def state_of(here: Site) -> State:
    return here.node.node().journal(NAME).read()


def an_uplink() -> None:
    """Of a kind that this kernel has."""
    for kind in ("dummy", "ifb"):
        with suppress(subprocess.CalledProcessError):
            ip("link", "add", "up0", "master", QUARANTINE, "type", kind)
            return
    pytest.skip("this kernel has no interface that is like an uplink")


def test_a_first_deployment_is_rehearsed_and_then_serves(here: Site) -> None:
    declare(here, "v1", options=rehearsing())
    serves("v1")
    assert not here.traces()


def test_an_update_is_rehearsed_under_the_addresses_that_are_in_use(here: Site) -> None:
    declare(here, "v1")
    serves("v1")
    change = declare(here, "v2", options=rehearsing(timeout_s=30.0))
    trial = state_of(here).trial
    assert trial is not None and trial.rehearsal is not None and trial.rehearsal.outcome is Outcome.PASS
    assert {result.outcome for result in trial.rehearsal.results} == {Outcome.PASS}
    here.node.end_trial(change, PASSED)
    serves("v2")
    assert not here.traces()


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [("crash", "its last words: no configuration"), ("sick", "answered 503")],
)
def test_a_broken_build_that_is_rehearsed_costs_no_request(here: Site, behaviour: str, reason: str) -> None:
    declare(here, "v1")
    serves("v1")
    with asking() as client:
        time.sleep(0.1)
        declare(here, "v2", behaviour, options=rehearsing(deadline_s=0.8))
        time.sleep(0.1)
    assert client.failed() == [] and {r.body for r in client.requests if r.outcome} == {b"v1"}
    state = state_of(here)
    assert state.ended is not None and state.ended.outcome == "refused" and reason in state.ended.reason
    assert len(state.held) == 1 and state.current is not None and state.current.number == 1
    assert not here.traces()
    console = Path(str(state.ended.evidence), "console.txt").read_text(encoding="utf-8")
    assert ("no configuration" in console) == (behaviour == "crash")


def test_the_words_of_one_rehearsal_are_not_those_of_the_next(here: Site) -> None:
    declare(here, "v1")
    declare(here, "v2", "crash", options=rehearsing(deadline_s=0.8))
    declare(here, "v3", "sick", options=rehearsing(deadline_s=0.8))
    ended = state_of(here).ended
    assert ended is not None and "503" in ended.reason
    assert "no configuration" not in Path(str(ended.evidence), "console.txt").read_text(encoding="utf-8")


def test_what_lives_and_never_answers_is_inconclusive(here: Site) -> None:
    declare(here, "v1")
    declare(here, "v2", "hang", options=rehearsing(deadline_s=0.8))
    state = state_of(here)
    assert state.ended is not None and state.ended.verdict is not None
    assert state.ended.verdict.outcome is Outcome.INCONCLUSIVE and not state.held
    serves("v1")


def test_it_runs_as_in_production_and_nobody_takes_it_for_a_unikernel(here: Site) -> None:
    declare(here, "v1")
    seen: list[Any] = []
    client, name = here.node.place.client(), here.node.place.name(rehearsal_label(NAME))

    def look() -> None:
        until(lambda: client.unikernel(name) is not None)
        seen.extend([client.unikernel(name), client.unikernel(here.node.full), report(here.node.node(), NAME)])

    looking = threading.Thread(target=look)
    looking.start()
    declare(here, "v2", "hang", options=rehearsing(deadline_s=0.8), restart="always", memory_mib=40)
    looking.join()
    rehearsed, serving, told = seen
    assert rehearsed.networks[0].mac == serving.networks[0].mac and rehearsed.arguments == tuple(ARGUMENTS)
    assert rehearsed.networks[0].bridge == QUARANTINE and serving.networks[0].bridge == BRIDGE
    assert rehearsed.memory_mib == 40 and not rehearsed.fail_behaviour.restart
    assert told["phase"] == "rehearsing" and told["alive"] and [i["release"] for i in told["instances"]] == [1]
    assert here.node.driver.discovered(rehearsal_label(NAME), 1) is None


def test_two_on_one_quarantine_bridge_take_turns(here: Site) -> None:
    declare(here, "v1")
    rehearsals, other = here.node.driver.rehearsals, here.node.driver.rehearsals
    release = here.node.release(2, web_image("v2"), networks=(NETWORK,), arguments=tuple(ARGUMENTS))
    rehearsals.prepare(NAME, release)
    waiting = threading.Thread(target=other._wait_for_turn, args=(QUARANTINE,))  # type: ignore[attr-defined]
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    rehearsals.end(NAME)
    waiting.join(5.0)
    assert not waiting.is_alive()
    other.end(NAME)
    assert not here.traces()


@pytest.mark.parametrize(
    ("spoil", "given", "reason"),
    [
        (lambda here: None, {"networks": [encode(replace(NETWORK, bridge=QUARANTINE))]}, "bridge that it serves on"),
        (lambda here: ip("addr", "add", "198.51.100.1/24", "dev", QUARANTINE), {}, "has addresses of this node"),
        (lambda here: an_uplink(), {}, "has the port up0"),
        (lambda here: here.node.place.client().force_create(
            here.node.place.name("other"),
            UnikernelConfig(image=web_image("v1"), memory_mib=24_040, networks=(NetworkUse("service", BRIDGE),)),
        ), {"memory_mib": 64}, "MiB are used by others"),
    ],
    ids=["its own bridge", "addresses", "uplink", "memory"],
)  # fmt: skip
def test_what_cannot_be_rehearsed_is_refused_beforehand(
    here: Site, spoil: Any, given: dict[str, Any], reason: str
) -> None:
    declare(here, "v1")
    spoil(here)
    with pytest.raises(ReleaseRefused, match=reason):
        declare(here, "v2", options=rehearsing(), **given)
    serves("v1")
    assert not here.traces()


def test_a_bridge_that_albatross_does_not_know_is_no_quarantine(here: Site) -> None:
    declare(here, "v1")
    make_quarantine("br-later")
    object.__setattr__(here.node, "place", replace(here.node.place, quarantine_bridge="br-later"))
    with pytest.raises(ReleaseRefused, match=r"does not know the bridge br-later; it knows br-lab, br-quarantine"):
        declare(here, "v2", options=rehearsing())
    serves("v1")


def test_somebody_elses_unikernel_under_the_label_is_left_alone(here: Site) -> None:
    declare(here, "v1")
    client, name = here.node.place.client(), here.node.place.name(rehearsal_label(NAME))
    client.create(name, UnikernelConfig(image=web_image("v9"), networks=(NetworkUse("service", BRIDGE),)))
    with pytest.raises(DriverError, match="is no rehearsal of ours"):
        declare(here, "v2", options=rehearsing())
    assert client.unikernel(name) is not None and not state_of(here).held
    assert here.node.runs() is not None


def test_what_a_killed_run_left_is_gone_before_anything_else(here: Site) -> None:
    declare(here, "v1")
    release = here.node.release(2, web_image("v2"), networks=(NETWORK,), arguments=tuple(ARGUMENTS))
    rehearsals = here.node.driver.rehearsals
    rehearsals.prepare(NAME, release)
    rehearsals.start(NAME, release)
    assert here.traces()
    declare(here, "v1")
    assert not here.traces()
    serves("v1")


def test_an_albatross_with_another_bridge_of_that_name_is_found_out(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(here, "v1")
    from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers import albatross_rehearsals

    monkeypatch.setattr(albatross_rehearsals, "guests_on", lambda bridge: [])
    with pytest.raises(DriverError, match="its albatross has another one of that name"):
        declare(here, "v2", options=rehearsing())
    assert not here.traces() and not state_of(here).held


def test_a_daemon_that_is_restarted_keeps_nothing_of_a_rehearsal(here: Site) -> None:
    declare(here, "v1")
    release = here.node.release(2, web_image("v2"), networks=(NETWORK,), arguments=tuple(ARGUMENTS))
    rehearsals = here.node.driver.rehearsals
    rehearsals.prepare(NAME, release)
    rehearsals.start(NAME, release)
    here.albatross.stop_daemon()
    with pytest.raises(DriverError):
        rehearsals.end(NAME)
    assert here.node.layout.rehearsal(NAME).is_dir()
    here.albatross.start_daemon()
    here.node.driver.rehearsals.end(NAME)
    assert not here.traces()


def test_the_node_itself_is_not_reached_from_there(here: Site) -> None:
    """Under the node's own address answers the namespace, with the MAC that the node has on the bridge."""
    declare(here, "v1")
    release = here.node.release(2, web_image("v2"), networks=(NETWORK,), arguments=tuple(ARGUMENTS))
    rehearsals = here.node.driver.rehearsals
    rehearsals.prepare(NAME, release)
    try:
        rehearsals.start(NAME, release)
        shown = rehearsals.inside(NAME, lambda: ip("addr", "show"))
        assert NODE_V4 in shown and "192.0.2.254" in shown
        assert "NOARP" in ip("link", "show", QUARANTINE)
    finally:
        rehearsals.end(NAME)
    assert Network("service", BRIDGE) and not here.traces()


def test_a_tenants_policy_leaves_no_room_for_two(lab: Lab, tmp_path: Path) -> None:
    with site(tmp_path) as here:
        client = here.node.place.client()
        object.__setattr__(here.node, "place", replace(here.node.place, path="dev"))
        client.add_policy(here.node.place.name(None), Policy((0,), 1, 512, (BRIDGE, QUARANTINE), None))
        declare(here, "v1")
        with pytest.raises(ReleaseRefused, match="the policy of its path allows 1 unikernels, and 1 others run"):
            declare(here, "v2", options=rehearsing())
        serves("v1")
