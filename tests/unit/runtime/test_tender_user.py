# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which user a tender is: only on a prepared node, and only where that user could do all that a tender does."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import (
    BlockDevice,
    Configuration,
    Image,
    Release,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime import tender_user as module
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.tender_user import tender_user

NOBODY = pwd.getpwnam("nobody")


def release(driver: str = "solo5", block: bool = False) -> Release:
    devices = (BlockDevice("data", "/srv/data"),) if block else ()
    return Release(1, Image("0" * 64, 1), Configuration(driver=driver, block_devices=devices))


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NodeLayout:
    """A prepared node, whose devices are files and where every folder above may be passed."""
    tun = tmp_path / "tun"
    tun.touch()
    tun.chmod(0o666)
    monkeypatch.setattr(module, "TUN", str(tun))
    monkeypatch.setattr(module, "KVM", str(tmp_path / "kvm"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    layout = NodeLayout(tmp_path / "root")
    layout.images.mkdir(parents=True)
    monkeypatch.setattr(NodeLayout, "images", property(lambda self: Path("/")))
    layout.node.write_text(json.dumps({"tender_user": "nobody"}), encoding="ascii")
    return layout


@pytest.mark.parametrize("driver", ["solo5", "qemu"])
def test_a_tender_is_the_recorded_user(layout: NodeLayout, driver: str) -> None:
    user = tender_user(layout, release(driver))
    assert user is not None
    assert (user.name, user.user_id, user.group_id) == ("nobody", NOBODY.pw_uid, NOBODY.pw_gid)


def test_root_stays_where_the_machine_was_not_prepared(layout: NodeLayout) -> None:
    layout.node.unlink()
    assert tender_user(layout, release()) is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"tender_user": "no-such-user-here"}', '{"tender_user": 7}'])
def test_root_stays_where_no_such_user_is(layout: NodeLayout, content: str) -> None:
    layout.node.write_text(content, encoding="ascii")
    assert tender_user(layout, release()) is None


def test_root_stays_where_the_user_may_not_use_a_device(layout: NodeLayout) -> None:
    kvm = Path(module.KVM)
    kvm.touch()
    kvm.chmod(0o600)
    assert tender_user(layout, release()) is None
    kvm.chmod(0o666)
    assert tender_user(layout, release()) is not None
    Path(module.TUN).unlink()
    assert tender_user(layout, release()) is None


def test_other_drivers_and_block_devices_keep_root(layout: NodeLayout) -> None:
    assert tender_user(layout, release("unix")) is None
    assert tender_user(layout, release(block=True)) is None
    assert tender_user(layout, release("qemu", block=True)) is None


def test_who_is_not_root_changes_nothing(layout: NodeLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert tender_user(layout, release()) is None
