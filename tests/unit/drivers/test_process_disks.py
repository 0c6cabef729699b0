# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The disks of process guests: never replaced by empty ones, and given away only when it is time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.process_disks import (
    give_disks,
    make_disks,
    refusals_of_disks,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import DriverError
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import (
    BlockDevice,
    Configuration,
    Image,
    Release,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.tender_user import TenderUser

RELEASE = Release(
    1, Image("0" * 64, 1), Configuration(driver="solo5", block_devices=(BlockDevice("data", size_mib=1),))
)


@pytest.fixture
def layout(tmp_path: Path) -> NodeLayout:
    return NodeLayout(tmp_path)


def test_a_disk_of_an_earlier_version_is_not_replaced_by_an_empty_one(layout: NodeLayout) -> None:
    before = layout.unikernel("www") / "disks" / "data"
    before.parent.mkdir(parents=True)
    before.write_bytes(b"x" * (1 << 20))
    (reason,) = refusals_of_disks(layout, "www", RELEASE)
    assert str(before) in reason and "move it there" in reason
    with pytest.raises(DriverError, match="where an earlier version kept it"):
        make_disks(layout, "www", RELEASE)
    assert not layout.disk("www", "data").exists()
    layout.disks("www").mkdir(parents=True)
    before.rename(layout.disk("www", "data"))
    assert refusals_of_disks(layout, "www", RELEASE) == []
    make_disks(layout, "www", RELEASE)
    assert layout.disk("www", "data").read_bytes() == b"x" * (1 << 20)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_disk_that_is_made_is_roots_until_it_is_given(layout: NodeLayout) -> None:
    disk = layout.disk("www", "data")
    make_disks(layout, "www", RELEASE)
    assert disk.stat().st_uid == 0
    give_disks(layout, "www", RELEASE, TenderUser(2_100_000_001, 0))
    assert disk.stat().st_uid == 2_100_000_001
    make_disks(layout, "www", RELEASE)
    assert disk.stat().st_uid == 2_100_000_001, "whoever has it may still be running"
    give_disks(layout, "www", RELEASE, None)
    assert disk.stat().st_uid == 0
