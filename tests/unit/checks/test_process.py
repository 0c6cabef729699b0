# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The check ``process`` on instances as a driver sees them."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, Optional

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks import process
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.model import CheckSpec, Outcome
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.protocol import Sighting, Surroundings
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.registry import CHECKS
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import InvalidDeclaration
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import Exit, Instance

PROCESS = CHECKS["process"]


def instance(**seen: Any) -> Instance:
    return Instance(**{"name": "web", "release": 1, "alive": True, "identity": "1-100-boot", **seen})


def sightings(*instances: Optional[Instance], **options: Any) -> list[Sighting]:
    """What consecutive attempts of one check see."""
    remaining = list(instances)

    def inspect() -> Optional[Instance]:
        return remaining.pop(0)

    validated = json.loads(json.dumps(PROCESS.validated(options, None)))
    check = PROCESS.bind(CheckSpec("process", "p", options=validated), Surroundings(inspect=inspect))
    return [check.attempt(5) for _unused in instances]


def test_a_process_that_lives_on_passes() -> None:
    assert {sighting.outcome for sighting in sightings(instance(), instance())} == {Outcome.PASS}


def test_a_process_that_ended_fails_for_good_and_says_how() -> None:
    (sighting,) = sightings(instance(alive=False, exit=Exit(signal=11, meaning="was killed by SIGSEGV")))
    assert sighting == Sighting(Outcome.FAIL, "the process was killed by SIGSEGV", final=True)


def test_a_process_that_is_gone_fails_for_good() -> None:
    (sighting,) = sightings(None)
    assert sighting.outcome is Outcome.FAIL
    assert sighting.final


def test_another_process_in_its_place_fails_for_good() -> None:
    first, second = sightings(instance(), instance(identity="2-200-boot"))
    assert first.outcome is Outcome.PASS
    assert (second.outcome, second.final) == (Outcome.FAIL, True)


def test_a_restart_fails_unless_it_is_allowed() -> None:
    restarted = instance(identity="2-200-boot", restarts=1)
    assert sightings(instance(), restarted)[1].final
    assert sightings(instance(), restarted, max_restarts=1)[1].outcome is Outcome.PASS


def test_a_process_that_may_be_restarted_is_given_the_time_for_it() -> None:
    down, up = sightings(instance(alive=False), instance(identity="2-200-boot", restarts=1), max_restarts=1)
    assert (down.outcome, down.final) == (Outcome.FAIL, False)
    assert up.outcome is Outcome.PASS


def test_a_spinning_process_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter((10.0, 11.0, 12.0))
    monkeypatch.setattr(process, "time", SimpleNamespace(monotonic=lambda: next(now)))
    seen = sightings(*(instance(cpu_time_s=cpu) for cpu in (1.0, 1.5, 2.5)), max_cpu_percent=90)
    assert [sighting.outcome for sighting in seen] == [Outcome.PASS, Outcome.PASS, Outcome.FAIL]
    assert "uses 100 % of a CPU" in seen[2].detail


def test_a_cpu_time_that_nobody_knows_is_inconclusive() -> None:
    assert sightings(instance(), max_cpu_percent=90)[0].outcome is Outcome.INCONCLUSIVE


def test_from_the_controller_it_is_inconclusive() -> None:
    check = PROCESS.bind(CheckSpec("process", "p", options=PROCESS.validated({}, None)), Surroundings())
    assert check.attempt(5).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize("options", [{"max_restarts": -1}, {"max_cpu_percent": "a lot"}, {"alive": True}])
def test_what_cannot_be_meant_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidDeclaration):
        PROCESS.validated(options, None)
