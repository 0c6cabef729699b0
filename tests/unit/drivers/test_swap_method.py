# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a release comes up beside the one that runs, and when instead of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.swap_method import (
    cuts_over,
    obstacles_to_cut_over,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import (
    BlockDevice,
    Configuration,
    Network,
    SwapMethod,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.memory_room import Room

READY = Configuration(
    networks=(Network("service", "br0", addresses=("192.0.2.10/24",)),), ready={"http": "http://192.0.2.10/health"}
)
DATA = (BlockDevice("data", "/dev/vg/data"),)


def test_auto_cuts_over_when_nothing_is_in_its_way() -> None:
    assert obstacles_to_cut_over(READY, [READY], 32, Room(1000.0)) == []
    assert cuts_over(READY, [])


def test_stop_start_is_obeyed() -> None:
    assert not cuts_over(replace(READY, swap=SwapMethod.STOP_START), [])


@pytest.mark.parametrize(
    ("configuration", "predecessor", "memory_mib", "reason"),
    [
        (replace(READY, ready=None), READY, 32, "no ready check"),
        (replace(READY, networks=()), READY, 32, "no networks of its own"),
        (replace(READY, networks=(Network("service", "br0"),)), READY, 32, "declares its addresses"),
        (replace(READY, block_devices=DATA), replace(READY, block_devices=DATA), 32, "uses /dev/vg/data as well"),
        (READY, READY, 1001, "needs 1001 MiB, and only 1000 MiB are free"),
    ],
)
def test_what_is_in_its_way_is_told_and_auto_goes_round_it(
    configuration: Configuration, predecessor: Configuration, memory_mib: int, reason: str
) -> None:
    obstacles = obstacles_to_cut_over(configuration, [predecessor], memory_mib, Room(1000.0))
    assert len(obstacles) == 1 and reason in obstacles[0]
    assert not cuts_over(configuration, obstacles)


def test_a_volume_of_its_own_is_no_obstacle() -> None:
    own = replace(READY, block_devices=DATA)
    assert obstacles_to_cut_over(own, [READY], 32, Room(1000.0)) == []


def test_it_is_told_whose_limit_leaves_no_more() -> None:
    (reason,) = obstacles_to_cut_over(READY, [READY], 32, Room(20.7, "/unikernel_fleet.slice"))
    assert reason.endswith("only 20 MiB are free (the control group /unikernel_fleet.slice may use no more)")
