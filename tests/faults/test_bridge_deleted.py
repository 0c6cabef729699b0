# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real bridge that somebody deletes, in the middle of service, of a trial, and of a swap.

Without it nobody can be served, whatever a node does. What it can do: say so, stop nothing that lives, come to rest
with the old release, and serve by itself once the bridge is there again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.declaration import checks_from
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import DriverError, ReleaseRefused
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import Instance
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases import guard
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.guard_install import arm
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.report import report
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import Phase, State
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import TrialOptions, locked
from ansible_collections.unikernel.fleet.tests.support.fleet_node import ME
from ansible_collections.unikernel.fleet.tests.support.guarded import guards_of, kill_guards, with_its_guards
from ansible_collections.unikernel.fleet.tests.support.guest_answers import answering_version
from ansible_collections.unikernel.fleet.tests.support.network_lab import (
    BRIDGE,
    GUEST_V4,
    Lab,
    ip,
    links,
    make_bridge,
    network_lab,
    why_not_here,
)
from ansible_collections.unikernel.fleet.tests.support.real_node import AT_ONCE, real_node, within
from ansible_collections.unikernel.fleet.tests.support.rehearsing import QUICK, declared

WHY_NOT = why_not_here()
pytestmark = [pytest.mark.skipif(bool(WHY_NOT), reason=f"a real bridge: {WHY_NOT}")]
NAME = "hello"
GONE = f"the bridge {BRIDGE} does not exist on this node"
READY = {"http": {"url": f"http://{GUEST_V4}/health"}, "within": 5}
METHODS: dict[str, dict[str, Any]] = {"cut_over": {"swap": "cut_over", "ready": READY}, "stop_start": {}}


class Served:
    """A unikernel that is on the lab's bridge, and its real guards."""

    def __init__(self, root: Path, lab: Lab) -> None:
        self.root = root
        self.node = real_node(root)
        lab.watch_over(self.node.layout.root, NAME)

    def declare(self, version: str, options: TrialOptions = AT_ONCE, at: str = "", **configuration: Any) -> State:
        """With ``at``, the bridge is deleted when the change reaches that step."""

        def reached(step: str) -> None:
            if step == at and BRIDGE in links():
                ip("link", "delete", BRIDGE)

        with locked(real_node(self.root, reached), NAME, ME) as transaction:
            declaration = declared(self.node, version, **configuration)
            return transaction.declare(declaration, options, functools.partial(arm, self.node.layout)).after

    def state(self) -> State:
        return self.node.journal(NAME).read()

    def instances(self) -> dict[int, Instance]:
        return {instance.release: instance for instance in self.node.inspect(self.state()) if instance.alive}

    def drift(self) -> list[str]:
        return list(report(self.node, NAME)["drift"])

    def sweep(self) -> State:
        return guard.sweep(self.node, NAME)

    def guards(self) -> list[int]:
        return guards_of(self.root)

    def at_rest_with_the_first(self) -> None:
        """Nothing is stranded, no candidate is left; and it serves as soon as there is a bridge."""
        state = self.state()
        assert state.phase is Phase.STABLE and state.current is not None and state.current.number == 1
        assert state.ended is not None and state.ended.outcome == "rolled_back" and GONE in state.ended.reason
        assert set(self.instances()) <= {1}
        with pytest.raises(DriverError, match=GONE):
            self.sweep()
        make_bridge()
        assert self.sweep().phase is Phase.STABLE
        assert answers("v1")
        assert self.drift() == []
        assert [i.serving for i in self.instances().values()] == [True]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with network_lab() as lab, with_its_guards(tmp_path):
        yield Served(tmp_path, lab)


def answers(expected: str) -> bool:
    return within(5.0, lambda: answering_version(within_s=0.5) == expected)


def on_trial() -> TrialOptions:
    checks = checks_from([{"process": {}}, {"http": f"http://{GUEST_V4}/health", "timeout": 0.5}], None)
    return TrialOptions(30.0, checks, QUICK)


def test_in_service_it_is_noticed_and_nothing_is_stopped_for_it(served: Served) -> None:
    served.declare("v1")
    assert answers("v1")
    before = served.instances()[1].identity
    ip("link", "delete", BRIDGE)
    assert served.drift() == ["it runs, but off its bridge"]
    with pytest.raises(DriverError, match=f"it should run and does not.*{GONE}"):
        served.sweep()
    for version in ("v1", "v2"):
        with pytest.raises(ReleaseRefused, match=f"{GONE}.*Nothing was stopped"):
            served.declare(version)
    assert served.instances()[1].identity == before
    make_bridge()
    served.sweep()
    assert answers("v1") and served.instances()[1].identity == before


def test_a_deployment_puts_it_right_once_the_bridge_is_back(served: Served) -> None:
    served.declare("v1")
    before = served.instances()[1].identity
    ip("link", "delete", BRIDGE)
    make_bridge()
    assert answering_version(within_s=0.5) == ""
    served.declare("v1")
    assert answers("v1") and served.instances()[1].identity == before


@pytest.mark.parametrize("method", METHODS)
def test_in_a_trial_its_guard_goes_back_as_far_as_it_can(served: Served, method: str) -> None:
    served.declare("v1")
    assert answers("v1")
    served.declare("v2", on_trial(), **METHODS[method])
    assert within(10.0, lambda: _verdict(served) == "pass"), "the checks have passed; nobody has confirmed yet"
    ip("link", "delete", BRIDGE)
    assert within(20.0, lambda: served.state().phase is not Phase.ON_TRIAL and not served.guards())
    assert served.state().held == (), "the release is not to blame for it"
    served.at_rest_with_the_first()


def _verdict(served: Served) -> Optional[str]:
    trial = served.state().trial
    return trial.verdict.outcome.value if trial is not None and trial.verdict is not None else None


def test_a_trial_whose_bridge_is_gone_cannot_be_confirmed(served: Served) -> None:
    served.declare("v1")
    served.declare("v2", on_trial())
    assert within(10.0, lambda: _verdict(served) == "pass")
    trial = served.state().trial
    kill_guards(served.root)
    ip("link", "delete", BRIDGE)
    with locked(served.node, NAME, ME) as transaction, pytest.raises(Exception, match="cannot be confirmed any more"):
        transaction.confirm(trial.id if trial is not None else "")
    served.at_rest_with_the_first()


@pytest.mark.parametrize("step", ["before the swap", "2: made ready", "2: before its start", "2: started"])
@pytest.mark.parametrize("method", METHODS)
def test_in_a_swap_the_change_goes_back_as_far_as_it_can(served: Served, method: str, step: str) -> None:
    served.declare("v1")
    assert answers("v1")
    after = served.declare("v2", at=step, **METHODS[method])
    assert after.ended is not None and after.ended.outcome == "rolled_back"
    served.at_rest_with_the_first()


def delete_its_bridge() -> None:
    ip("link", "delete", BRIDGE)


def delete_its_port() -> None:
    (name,) = (
        name
        for name, link in links().items()
        if f"/{NAME}/2/" in link.get("ifalias", "") and link.get("master") == BRIDGE
    )
    ip("link", "delete", name)


def set_its_bridge_down() -> None:
    ip("link", "set", BRIDGE, "down")


TAKEN: dict[str, tuple[Callable[[], None], str]] = {
    "bridge deleted": (delete_its_bridge, "off its bridge"),
    "port deleted": (delete_its_port, "was deleted"),
    "bridge down": (set_its_bridge_down, f"{BRIDGE} is down"),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fault", TAKEN)
def test_while_the_checks_of_a_trial_are_made_it_is_not_the_builds_fault(
    served: Served, method: str, fault: str
) -> None:
    """The verdict is the same as of a broken build: nobody answers."""
    served.declare("v1")
    assert answers("v1")
    take, said = TAKEN[fault]
    served.declare("v2", never_done(), **METHODS[method])
    assert within(5.0, lambda: answering_version(within_s=0.5) != "")
    take()
    assert within(20.0, lambda: served.state().phase is not Phase.ON_TRIAL and not served.guards())
    state = served.state()
    assert state.ended is not None and state.ended.outcome == "rolled_back" and said in state.ended.reason
    assert state.held == ()


@pytest.mark.parametrize("behaviour", ["crash", "hang", "sick"])
def test_a_build_that_fails_by_itself_is_held(served: Served, behaviour: str) -> None:
    served.declare("v1")
    assert answers("v1")
    served.declare("v2", never_done(), behaviour=behaviour)
    assert within(20.0, lambda: served.state().phase is Phase.STABLE and not served.guards())
    assert len(served.state().held) == 1


def never_done() -> TrialOptions:
    """Its checks are being made until they fail, or for longer than a test takes."""
    checks = checks_from([{"process": {}}, {"http": f"http://{GUEST_V4}/health", "timeout": 0.3}], None)
    return TrialOptions(60.0, checks, replace(QUICK, deadline_s=4.0, stable_for_s=3.9))


@pytest.mark.parametrize("method", METHODS)
def test_a_port_that_is_deleted_in_a_trial_ends_it(served: Served, method: str) -> None:
    """A tender whose tap is gone lives on, and nobody can reach it: its process alone says nothing."""
    served.declare("v1")
    assert answers("v1")
    served.declare("v2", on_trial(), **METHODS[method])
    assert within(10.0, lambda: _verdict(served) == "pass")
    delete_its_port()
    assert within(20.0, lambda: served.state().phase is not Phase.ON_TRIAL and not served.guards())
    state = served.state()
    assert state.phase is Phase.STABLE and state.ended is not None and "was deleted" in state.ended.reason
    assert state.held == ()
    assert answers("v1") and set(served.instances()) == {1} and served.drift() == []
