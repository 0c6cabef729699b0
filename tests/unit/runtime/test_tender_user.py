# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which user a tender is: only on a prepared node, and only where that user could do all that a tender does."""

from __future__ import annotations

import json
import os
import pwd
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
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime import tender_user as module
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.tender_user import (
    expected_tender_user,
    tender_user,
)
from ansible_collections.unikernel.fleet.tests.support.prepared_node import prepared_for_tenders

NOBODY = pwd.getpwnam("nobody")


def release(driver: str = "solo5", *devices: BlockDevice) -> Release:
    return Release(1, Image("0" * 64, 1), Configuration(driver=driver, block_devices=devices))


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NodeLayout:
    return prepared_for_tenders(tmp_path, monkeypatch)


@pytest.fixture
def passable() -> Iterator[Path]:
    """Everybody passes to it; only its user to what pytest makes."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o711)
        yield Path(folder)


@pytest.mark.parametrize("driver", ["solo5", "qemu"])
def test_a_tender_is_a_user_of_its_own_on_record(layout: NodeLayout, driver: str) -> None:
    expected = expected_tender_user(layout, "www", release(driver))
    assert expected is not None and not layout.users.exists()
    user, other = (tender_user(layout, name, release(driver)) for name in ("www", "dns"))
    assert user == expected and other is not None and user.user_id != other.user_id
    assert user.user_id >= 65_536 and user.group_id == NOBODY.pw_gid
    assert sorted(entry.name for entry in layout.users.iterdir()) == sorted([str(user.user_id), str(other.user_id)])


def test_the_numbers_are_those_that_role_node_left_on_record(layout: NodeLayout) -> None:
    recorded = {"tender_user": "nobody", "tender_user_ids": {"first": 70_000, "count": 1}}
    layout.node.write_text(json.dumps(recorded), encoding="ascii")
    user = tender_user(layout, "www", release())
    assert user is not None and user.user_id == 70_000


def test_root_stays_where_the_machine_was_not_prepared(layout: NodeLayout) -> None:
    layout.node.unlink()
    assert tender_user(layout, "www", release()) is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"tender_user": "no-such-user-here"}',
        '{"tender_user": 7}',
        '{"tender_user": "nobody", "tender_user_ids": {"first": 0, "count": 9}}',
        '{"tender_user": "nobody", "tender_user_ids": {"first": "many", "count": 9}}',
        '{"tender_user": "nobody", "tender_user_ids": {"last": 70000}}',
    ],
)
def test_root_stays_where_no_such_user_is(layout: NodeLayout, content: str) -> None:
    layout.node.write_text(content, encoding="ascii")
    assert tender_user(layout, "www", release()) is None


def test_root_stays_where_the_user_may_not_use_a_device(layout: NodeLayout) -> None:
    kvm = Path(module.KVM)
    kvm.touch()
    kvm.chmod(0o600)
    assert tender_user(layout, "www", release()) is None
    kvm.chmod(0o666)
    assert tender_user(layout, "www", release()) is not None
    Path(module.TUN).unlink()
    assert tender_user(layout, "www", release()) is None


def test_another_driver_keeps_root(layout: NodeLayout) -> None:
    assert tender_user(layout, "www", release("unix")) is None
    assert not layout.users.exists()


@pytest.mark.parametrize("driver", ["solo5", "qemu"])
def test_disks_of_its_own_are_its_users_and_others_decide_who_it_is(
    layout: NodeLayout, passable: Path, driver: str
) -> None:
    theirs = passable / "theirs"
    own = BlockDevice("data", size_mib=1)
    assert tender_user(layout, "www", release(driver, own)) is not None
    theirs.touch()
    theirs.chmod(0o600)
    declared = release(driver, own, BlockDevice("more", str(theirs)))
    assert tender_user(layout, "www", declared) is None
    theirs.chmod(0o666)
    assert tender_user(layout, "www", declared) is not None
    passable.chmod(0o700)
    assert tender_user(layout, "www", declared) is None, "nobody else passes to it"


def test_who_is_not_root_changes_nothing(layout: NodeLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert tender_user(layout, "www", release()) is None
