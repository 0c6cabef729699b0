# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots of volumes, carried out by the library itself with the real LVM on a kernel that has a device mapper: in a
virtual machine, since the kernel of the machine that tests may have none."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.unikernel.fleet.tests.support.nspawn.base import why_not
from ansible_collections.unikernel.fleet.tests.support.nspawn.machine import COLLECTION
from ansible_collections.unikernel.fleet.tests.support.virtual_machine import guest
from ansible_collections.unikernel.fleet.tests.support.virtual_machine.python_guest import Tools, run_in_guest

REASON = why_not()
pytestmark = [
    pytest.mark.systemd,
    pytest.mark.skipif(REASON is not None, reason=f"LVM, on the root file system of the nodes: {REASON}"),
]
THIN_MODULES = ("libcrc32c", "dm-persistent-data", "dm-bio-prison", "dm-thin-pool")
MODULES = ("loop", "dm-mod", "dm-bufio", "dm-snapshot", *THIN_MODULES)
LVM = Tools(
    ("lvm2", "dmsetup", "libdevmapper1.02.1", "libdevmapper-event1.02.1", "libaio1", "libedit2", "libbsd0", "libmd0"),
    tuple(
        f"/sbin/{name}"
        for name in ("lvm", "lvs", "lvcreate", "lvconvert", "lvremove", "lvchange", "pvcreate", "vgcreate", "dmsetup")
    ),
)


def test_volumes_are_kept_restored_and_released_by_the_real_lvm(tmp_path: Path) -> None:
    reason = guest.why_not()
    if reason is not None:
        pytest.skip(reason)
    seen = run_in_guest(COLLECTION / "tests" / "support" / "lvm_in_guest.py", MODULES, tmp_path, LVM)
    assert "failed" not in seen, seen["failed"]
    for kind in ("thick", "thin"):
        told = seen[kind]
        before = ["pool", "thick", "thin"]
        taken = sorted([*before, f"{kind}-fleet-first"])
        assert (told["fault"], told["taken"]) == ([], taken)
        # What was left of an interrupted taking is not what is restored.
        assert told["at_once"] == told["restored"] == ["left by an interruption, and taken anew"] * 2
        assert (told["merged"], told["after_restore"]) == (True, before)
        assert (told["kept"], told["after_remove"]) == (["good"] * 2, before)
        # LVM calls it a success when it puts a merge off until the next activation.
        assert f"/dev/group/{kind} cannot be restored while it is open" in told["open"]
        assert told["while_open"] == ["open"] * 2
        assert told["in_the_end"] == ["good"] * 2
        assert told["put_off"] == ["put off"] * 2
        assert told["left"] == before
    assert seen["no_room"] == ["its group group has 27 MiB free, and a snapshot of /dev/group/large may need 80 MiB"]
    assert seen["no_volume"] == ["/dev/loop0 is no volume of LVM"]
