# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots of LVM, against a double of its programs that keeps volumes as files. What it answers has the shape of what
lvs 2.03 answers with ``--reportformat json``; ``tests/machines/test_lvm.py`` has the real ones."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import DriverError
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import Snapshot, SnapshotMethod
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime import lvm, snapshots

DOUBLE = """#!{python}
import json, os, pathlib, sys
program, words = os.path.basename(sys.argv[0]), sys.argv[1:]
path = pathlib.Path({state!r})
state = json.loads(path.read_text())
state["called"].append([program, *words])
volumes = state["volumes"]
name = words[-1].rpartition("/")[2]

def done(status=0, said=""):
    path.write_text(json.dumps(state))
    sys.stderr.write(said)
    sys.exit(status)

if program == "lvs":
    if name not in volumes:
        done(5, f"Failed to find logical volume {{name}}")
    entry = volumes[name]
    print(json.dumps({{"report": [{{"lv": [{{"vg_name": "vg", "lv_name": name, "lv_attr": entry["attr"],
        "pool_lv": entry["pool"], "lv_size": str(entry["size"]), "vg_free": str(state["free"])}}]}}]}}))
elif program == "lvcreate":
    made = words[words.index("--name") + 1]
    if made in volumes:
        done(5, f"Logical Volume {{made}} already exists in volume group vg.")
    volumes[made] = dict(volumes[name], attr="swi-a-s---", content=volumes[name]["content"], origin=name)
elif program == "lvconvert":
    origin = volumes[name]["origin"]
    volumes[origin]["content"] = volumes[name]["content"]
    if state["slow"]:
        volumes[origin]["attr"] = "Owi-a-s---"
        volumes[name]["attr"] = "Swi-a-s---"
    else:
        del volumes[name]
elif program == "dmsetup":
    if volumes[name]["attr"][0] == "O":
        print("0 204800 snapshot-merge 7:0 7:1 P 8")
elif program == "lvremove":
    del volumes[name]
done()
"""


class Group:
    """A volume group of the double."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "state.json"
        self.write(
            {
                "volumes": {
                    "data": {"attr": "-wi-a-----", "pool": "", "size": 100 << 20, "content": "old", "origin": ""}
                },
                "free": 200 << 20,
                "slow": False,
                "called": [],
            }
        )
        for program in ("lvs", "lvcreate", "lvconvert", "lvremove", "dmsetup"):
            path = folder / program
            path.write_text(DOUBLE.format(python=sys.executable, state=str(self.path)), encoding="utf-8")
            path.chmod(0o755)

    def read(self) -> Any:
        return json.loads(self.path.read_text(encoding="utf-8"))

    def write(self, state: Any) -> None:
        self.path.write_text(json.dumps(state), encoding="utf-8")

    def change(self, volume: str = "data", **values: Any) -> None:
        state = self.read()
        target = state["volumes"][volume] if not set(values) <= set(state) else state
        target.update(values)
        self.write(state)

    def volumes(self) -> dict[str, str]:
        return {name: entry["content"] for name, entry in self.read()["volumes"].items()}


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Group:
    monkeypatch.setattr(lvm, "PATH", str(tmp_path))
    return Group(tmp_path)


SOURCE = "/dev/vg/data"
SNAPSHOT = Snapshot(SnapshotMethod.LVM, "t1", (SOURCE,), (snapshots.copy_of(SnapshotMethod.LVM, SOURCE, "t1"),))


def test_a_rollback_merges_it_back(group: Group) -> None:
    assert snapshots.faults(SnapshotMethod.LVM, [SOURCE], None) == []
    snapshots.take(SNAPSHOT)
    assert group.volumes() == {"data": "old", "data-fleet-t1": "old"}
    (made,) = [words for words in group.read()["called"] if words[0] == "lvcreate"]
    assert made[-1] == "vg/data" and "100%ORIGIN" in made
    group.change(content="new")
    snapshots.restore(SNAPSHOT)
    snapshots.restore(SNAPSHOT)
    snapshots.remove(SNAPSHOT)
    assert group.volumes() == {"data": "old"}


def test_a_confirmation_removes_it(group: Group) -> None:
    snapshots.take(SNAPSHOT)
    group.change(content="new")
    snapshots.remove(SNAPSHOT)
    snapshots.remove(SNAPSHOT)
    assert group.volumes() == {"data": "new"}


def test_what_a_killed_take_left_is_made_anew(group: Group) -> None:
    snapshots.take(SNAPSHOT)
    group.change(content="newer, and still before any release ran on it")
    snapshots.take(SNAPSHOT)
    assert group.volumes()["data-fleet-t1"].startswith("newer")


def test_a_merge_that_goes_on_is_neither_begun_again_nor_removed(group: Group) -> None:
    group.change(slow=True)
    snapshots.take(SNAPSHOT)
    snapshots.restore(SNAPSHOT)
    group.change(content="written by the old release meanwhile")
    snapshots.restore(SNAPSHOT)
    snapshots.remove(SNAPSHOT)
    assert group.volumes()["data"].startswith("written by the old release") and "data-fleet-t1" in group.volumes()
    assert "is still being merged" in lvm.why_no_snapshot(SOURCE)


def test_what_somebody_has_open_is_not_restored(group: Group) -> None:
    snapshots.take(SNAPSHOT)
    group.change(content="new", attr="owi-aos---")
    with pytest.raises(DriverError, match="/dev/vg/data cannot be restored while it is open"):
        snapshots.restore(SNAPSHOT)
    assert group.volumes() == {"data": "new", "data-fleet-t1": "old"}


def test_a_thin_volume_needs_no_room_of_its_group(group: Group) -> None:
    group.change(pool="pool")
    group.change(free=0)
    assert lvm.why_no_snapshot(SOURCE) == ""
    snapshots.take(SNAPSHOT)
    (made,) = [words for words in group.read()["called"] if words[0] == "lvcreate"]
    assert "--extents" not in made and made[made.index("--setactivationskip") + 1] == "n"


def test_what_cannot_be_is_said_beforehand(group: Group, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    group.change(free=1 << 20)
    assert "vg has 1 MiB free, and a snapshot of /dev/vg/data may need 100 MiB" in lvm.why_no_snapshot(SOURCE)
    assert "is no volume of LVM" in lvm.why_no_snapshot("/dev/vg/other")
    with pytest.raises(DriverError, match="is no volume of LVM any more"):
        lvm.take("/dev/vg/other", "x")
    monkeypatch.setattr(lvm, "PATH", str(tmp_path / "nowhere"))
    assert "install the package lvm2" in lvm.why_no_snapshot(SOURCE)
