# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who may open a volume: a block device, and so one that only root can make."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import (
    BlockDevice,
    Configuration,
    Image,
    Release,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.tender_user import tender_user
from ansible_collections.unikernel.fleet.tests.support.prepared_node import prepared_for_tenders

DISK = 6
"""The group ``disk`` of Debian; any will do."""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a volume: only root may make a loop device")


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NodeLayout:
    return prepared_for_tenders(tmp_path, monkeypatch)


@pytest.fixture
def volume() -> Iterator[Path]:
    """A loop device, as udev leaves volumes: root's, and of a group that may read and write it."""
    with tempfile.NamedTemporaryFile() as behind:
        behind.truncate(1 << 20)
        made = subprocess.run(["losetup", "--find", "--show", behind.name], capture_output=True, text=True, check=False)
        if made.returncode != 0:
            pytest.skip(f"a volume: no loop device can be made here ({made.stderr.strip()})")
        device = Path(made.stdout.strip())
        before = device.stat()
        os.chown(device, 0, DISK)
        device.chmod(0o660)
        try:
            yield device
        finally:
            os.chown(device, before.st_uid, before.st_gid)
            device.chmod(before.st_mode & 0o777)
            subprocess.run(["losetup", "--detach", str(device)], check=True)


def with_disk(path: Path) -> Release:
    configuration = Configuration(driver="solo5", block_devices=(BlockDevice("data", str(path)),))
    return Release(1, Image("0" * 64, 1), configuration)


def test_its_group_is_one_of_its_tender(layout: NodeLayout, volume: Path) -> None:
    user = tender_user(layout, "www", with_disk(volume))
    assert user is not None and user.further_group_ids == (DISK,)


@pytest.mark.parametrize("group, mode", [(0, 0o660), (DISK, 0o600), (DISK, 0o640)])
def test_one_that_no_group_may_use_is_roots(layout: NodeLayout, volume: Path, group: int, mode: int) -> None:
    os.chown(volume, 0, group)
    volume.chmod(mode)
    assert tender_user(layout, "www", with_disk(volume)) is None


def test_the_group_of_a_file_is_given_to_nobody(layout: NodeLayout) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o711)
        file = Path(folder) / "file"
        file.touch()
        os.chown(file, 0, DISK)
        file.chmod(0o660)
        assert tender_user(layout, "www", with_disk(file)) is None
