# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rehearsals on albatross that are cut short: each step of one fails, or its process is killed there, on real bridges.

What serves goes on serving as it was started, and the next one to open the unikernel leaves nothing of the rehearsal:
not on albatross, not on the bridges, not on the disk.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers import albatross_rehearsals
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.albatross_place import Place
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import FleetError
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases import guard
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import Phase
from ansible_collections.unikernel.fleet.tests.support.albatross_ground import failing_around_requests
from ansible_collections.unikernel.fleet.tests.support.albatross_node import NAME, AlbatrossNode
from ansible_collections.unikernel.fleet.tests.support.albatross_rehearsing import (
    GIVEN,
    Site,
    rehearsing,
    site,
    web_image,
)
from ansible_collections.unikernel.fleet.tests.support.fault_cases import Case, all_survived, cases_of
from ansible_collections.unikernel.fleet.tests.support.guest_answers import answering_version
from ansible_collections.unikernel.fleet.tests.support.interruption import Failing, Fault, interrupted
from ansible_collections.unikernel.fleet.tests.support.network_lab import network_lab, why_not_here
from ansible_collections.unikernel.fleet.tests.support.real_node import AT_ONCE, within

WHY_NOT = why_not_here()
pytestmark = [pytest.mark.skipif(bool(WHY_NOT), reason=f"a real bridge: {WHY_NOT}")]
BEHAVIOURS = {"a good build": "well", "a broken build": "crash"}


def _module(failing: Failing, root: Path, place: Place, behaviour: str) -> None:
    """A change from its rehearsal to its confirmation, in the lab's network."""
    failing_around_requests(failing)
    for name in ("look_onto", "look_away"):
        failing.around(albatross_rehearsals, name)
    failing.enabled = True
    with suppress(FleetError):
        AlbatrossNode(root, place).declare(
            web_image("v2", behaviour), options=rehearsing(deadline_s=2.0), reached=failing, **GIVEN
        )


def _interrupted(here: Site, what: str, fault: Fault, number: int) -> tuple[bool, Case]:
    here.node.declare(web_image("v1"), options=AT_ONCE, **GIVEN)
    before = here.node.place.client().unikernel(here.node.full)
    assert before is not None
    hit = interrupted(_module, fault, number, here.node.layout.root, here.node.place, BEHAVIOURS[what])
    return hit, _judged(here, what, fault, number, before.started)


def _judged(here: Site, what: str, fault: Fault, number: int, before: object) -> Case:
    """As the guard finds it."""
    node, lost = here.node.node(), []
    written = node.journal(NAME).read()
    after = guard.sweep(node, NAME)
    info = here.node.place.client().unikernel(here.node.full)
    if after.phase is not Phase.STABLE or after.current is None or info is None:
        lost.append(f"it is {after.phase.value}, and {info} runs")
    elif info.digest.hex() != after.current.image.sha256:
        lost.append("another image runs than the current release's")
    untouched = written.phase is Phase.REHEARSING or BEHAVIOURS[what] != "well"
    if untouched and (info is None or info.started != before):
        lost.append("what served was started again")
    expected = "v1" if after.current is None or after.current.number == 1 else "v2"
    if not within(5.0, lambda: answering_version() == expected):
        lost.append(f"{answering_version()!r} answers instead of {expected!r}")
    if after.held and fault is Fault.MODULE_KILLED and written.phase is Phase.REHEARSING:
        lost.append(f"it is held, and nobody saw why: {after.held[0].reason}")
    left = here.traces()
    full = here.node.place.name(None)
    listed = [str(one.name) for one in here.node.place.client().unikernels(full)]
    left += [] if listed == [str(here.node.full)] else [f"albatross lists {listed}"]
    return Case(f"albatross: rehearsal of {what}", fault, number, tuple(lost), tuple(left))


def _at(what: str, fault: Fault, folder: Path, number: int) -> tuple[bool, Case]:
    with network_lab() as lab, site(folder / str(number)) as here:
        lab.watch_over(here.node.layout.root, NAME)
        return _interrupted(here, what, fault, number)


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.MODULE_KILLED], ids=lambda fault: fault.value)
@pytest.mark.parametrize("what", BEHAVIOURS)
@pytest.mark.long
def test_a_rehearsal_that_is_cut_short_leaves_what_serves_alone_and_nothing_of_itself(
    what: str, fault: Fault, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    all_survived(cases_of(functools.partial(_at, what, fault, tmp_path)), 10, record_property)
