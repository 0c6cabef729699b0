# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Trials that nobody is sure to end are called so: in the plan, in the result, in what is shown of what runs."""

from __future__ import annotations

import os
import signal
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
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.declared_trial import unguarded_by_choice
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.node_answers import NodeAnswers
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.plan_text import plan_text
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.status_text import status_of, status_text
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.albatross_place import Places
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases import guard_setup, guarding
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.plan import plan
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.plan_entries import Declared
from ansible_collections.unikernel.fleet.tests.support import programs
from ansible_collections.unikernel.fleet.tests.support.albatross.double import Albatross
from ansible_collections.unikernel.fleet.tests.support.albatross_node import (
    BRIDGE,
    NAME,
    AlbatrossNode,
    over_sockets,
    over_tls,
    program,
)
from ansible_collections.unikernel.fleet.tests.support.real_node import processes_of


class Modules:
    """The modules' functions, one after the other, for a unikernel of an albatross."""

    def __init__(self, root: Path, albatross: Albatross, tls: bool) -> None:
        self.place = over_tls(albatross) if tls else over_sockets(albatross)
        self.node = AlbatrossNode(root, self.place)
        told = {"sockets": self.place.sockets}
        if tls:
            words = ("address", "port", "certificates", "key", "server_ca")
            told = {word: getattr(self.place, word) for word in words}
        self.albatross = told

    def _parameters(self, arguments: tuple[options.Option, ...], given: dict[str, Any]) -> dict[str, Any]:
        defaults = {name: entry.get("default") for name, entry in options.specs(arguments).items()}
        return {**defaults, "name": NAME, "root": str(self.node.layout.root), **given}

    def declare(self, octets: bytes, check_mode: bool = False, **given: Any) -> dict[str, Any]:
        image = self.node.image(octets)
        quick = {"deadline": 5.0, "stable_for": 0.02, "interval": 0.02, "delays": [0.02]}
        networks = [{"name": "service", "bridge": BRIDGE}]
        where = {"driver": "albatross", "albatross": self.albatross, "networks": networks}
        parameters = {"sha256": image.sha256, "size": image.size, **where, **quick, **given}
        return unikernel.declare(self._parameters(unikernel.ARGUMENTS, parameters), check_mode)

    def finish(self, trial: str) -> str:
        verdict = liveliness.judge(self._parameters(liveliness.ARGUMENTS, {"trial": trial}))
        assert verdict["alive"], verdict
        done = release.change_release(
            self._parameters(release.ARGUMENTS, {"state": "confirmed", "trial": trial}), False
        )
        return str(done["trial"]["standing"])

    def report(self) -> dict[str, Any]:
        given = {"names": None, "albatross": {NAME: self.albatross}}
        found = unikernel_info.inform(self._parameters(unikernel_info.ARGUMENTS, given))
        return dict(found["unikernels"][NAME])


@pytest.fixture
def albatross(tmp_path: Path) -> Iterator[Albatross]:
    with Albatross(tmp_path / "albatross", bridges=(BRIDGE,), tls_port=0) as double:
        yield double
    for pid, line in processes_of(tmp_path).items():
        if ".pyz" in line:
            os.kill(pid, signal.SIGKILL)
    programs.end_all_instances(tmp_path)


def planned(modules: Modules, **variables: Any) -> str:
    given = {"driver": "albatross", "networks": [{"name": "service", "bridge": BRIDGE}], "memory_mib": 64}
    made = plan([Declared(NAME, NAME, "n1", configuration=given)], {}, {"n1": {NAME: modules.report()}}, {})
    return plan_text(unguarded_by_choice(made, lambda host: variables))


def shown(modules: Modules) -> str:
    answers = NodeAnswers(reports={"n1": {NAME: modules.report()}})
    return status_text(status_of([Declared(NAME, NAME, "n1")], answers), {})


def test_a_trial_over_tls_from_a_machine_without_a_guard_is_unguarded(albatross: Albatross, tmp_path: Path) -> None:
    """A process guards it all the same, as long as this machine is there."""
    modules = Modules(tmp_path / "node", albatross, tls=True)
    promised = modules.declare(program(1), check_mode=True)
    done = modules.declare(program(1))
    assert done["diff"] == promised["diff"] and "unguarded" in str(done["diff"]["after"])
    assert done["trial"]["guarded"] is False and "no guard is installed" in done["unguarded"]
    assert "on trial, unguarded:" in shown(modules)
    assert modules.finish(done["trial"]["id"]) == "confirmed"
    assert "    unguarded: its albatross is asked over TLS" in planned(modules)


def test_a_trial_over_tls_from_a_machine_with_a_guard_is_guarded(
    albatross: Albatross, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = Modules(tmp_path / "node", albatross, tls=True)
    installed = tmp_path / "units"
    wanted = guard_setup.enabled_units(modules.node.layout)
    monkeypatch.setattr(guard_setup, "INSTALLED", installed)
    for unit, target in wanted.items():
        (installed / f"{target}.wants").mkdir(parents=True, exist_ok=True)
        (installed / f"{target}.wants" / unit).symlink_to(f"../{unit}")
    done = modules.declare(program(1))
    assert done["trial"]["guarded"] and done["unguarded"] is None
    assert "unguarded" not in shown(modules)
    modules.finish(done["trial"]["id"])
    assert "unguarded" not in planned(modules)


def test_a_trial_through_the_sockets_of_this_machine_is_guarded(albatross: Albatross, tmp_path: Path) -> None:
    modules = Modules(tmp_path / "node", albatross, tls=False)
    done = modules.declare(program(1))
    assert done["trial"]["guarded"] and done["unguarded"] is None
    modules.finish(done["trial"]["id"])
    assert "unguarded" not in planned(modules)


def test_a_guard_that_is_off_is_no_process_and_who_waits_makes_the_checks(albatross: Albatross, tmp_path: Path) -> None:
    modules = Modules(tmp_path / "node", albatross, tls=False)
    done = modules.declare(program(1), guard=False)
    assert done["trial"]["guarded"] is False and done["unguarded"] == guarding.GUARD_IS_OFF
    assert not [line for line in processes_of(modules.node.layout.root).values() if ".pyz" in line]
    assert "on trial, unguarded:" in shown(modules)
    assert modules.finish(done["trial"]["id"]) == "confirmed"
    assert f"    unguarded: {guarding.GUARD_IS_OFF}" in planned(modules, unikernel_guard="no")
    assert "unguarded" not in planned(modules, unikernel_guard=True)


def test_who_waits_finds_a_bad_release_as_a_guard_does(albatross: Albatross, tmp_path: Path) -> None:
    modules = Modules(tmp_path / "node", albatross, tls=False)
    modules.finish(modules.declare(program(1), guard=False)["trial"]["id"])
    done = modules.declare(program(2), guard=False, checks=[{"console": "never said"}], deadline=0.5)
    verdict = liveliness.judge(modules._parameters(liveliness.ARGUMENTS, {"trial": done["trial"]["id"]}))
    assert (verdict["alive"], verdict["standing"]) == (False, "rolled_back")
    assert modules.node.runs() == modules.node.image(program(1)).sha256


def test_what_is_not_tried_needs_no_guard(albatross: Albatross, tmp_path: Path) -> None:
    modules = Modules(tmp_path / "node", albatross, tls=True)
    done = modules.declare(program(1), trial_timeout=0.0)
    assert done["unguarded"] is None
    assert "unguarded" in planned(modules) and "unguarded" not in planned(modules, unikernel_trial_timeout="0")


def test_whether_somebody_guards_needs_no_albatross(tmp_path: Path) -> None:
    layout = NodeLayout(tmp_path)
    assert Places(layout).of(NAME) is None and not guarding.comes_up_again(layout)
