# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A swap that fails before anything was stopped has taken nothing from what runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers import process_swaps
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.process_instances import Instances
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.process_swaps import Swaps
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.solo5 import Solo5Guest
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import DriverError
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.images.store import ImageStore
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import BlockDevice, Configuration, Release
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime import disks
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.detached import DetachedSupervisor


@pytest.mark.parametrize("fails", ["record", "make"])
def test_its_disks_are_not_given_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    layout = NodeLayout(tmp_path)
    store, supervisor, guest = ImageStore(layout), DetachedSupervisor(), Solo5Guest(layout)
    image = store.add_stream([b"an image"])
    release = Release(2, image, Configuration(driver="solo5", block_devices=(BlockDevice("data", size_mib=1),)))
    given: list[Path] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)  # only root gives files away
    monkeypatch.setattr(disks, "give", lambda path, user_id: given.append(path))

    def full(*unused: object) -> None:
        raise DriverError("no space is left")

    monkeypatch.setattr(*((Instances, "record") if fails == "record" else (process_swaps.network, "make")), full)
    swaps = Swaps(guest, layout, store, supervisor, Instances(guest, layout, supervisor))
    with pytest.raises(DriverError, match="no space is left"):
        swaps.swap("www", release)
    assert layout.disk("www", "data").exists() and given == []
