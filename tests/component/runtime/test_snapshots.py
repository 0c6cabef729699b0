# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copies of disks: on a real file system that shares blocks where there can be one, and byte for byte."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import DriverError
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import Snapshot, SnapshotMethod
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime import disks, reflink, snapshots
from ansible_collections.unikernel.fleet.tests.support import reflinking

WHY_NOT = reflinking.why_not()
MIB = 1 << 20


@pytest.fixture(scope="module")
def sharing() -> Iterator[Path]:
    if WHY_NOT:
        pytest.skip(f"a file system with reflinks: {WHY_NOT}")
    with reflinking.reflinking_folder() as folder:
        yield folder


def sparse(path: Path, size: int, parts: dict[int, bytes]) -> Path:
    with open(path, "wb") as file:
        file.truncate(size)
        for position, content in parts.items():
            file.seek(position)
            file.write(content)
    return path


def test_a_reflink_is_a_copy_of_its_own_that_takes_no_room(sharing: Path) -> None:
    content = random.Random(1).randbytes(32 * MIB)
    disk = sparse(sharing / "disk", 64 * MIB, {0: content})
    before = os.statvfs(sharing).f_bfree
    assert reflink.why_no_reflink(str(disk), str(sharing / "copy")) == ""
    reflink.place(str(disk), str(sharing / "copy"), reflink=True)
    os.sync()
    assert (before - os.statvfs(sharing).f_bfree) * os.statvfs(sharing).f_frsize < 4 * MIB
    with open(disk, "r+b") as file:
        file.write(b"changed")
    assert (sharing / "copy").read_bytes()[: len(content)] == content
    reflink.place(str(sharing / "copy"), str(disk), reflink=True)
    assert disk.read_bytes()[: len(content)] == content and disk.stat().st_size == 64 * MIB
    assert sorted(path.name for path in sharing.iterdir()) == ["copy", "disk"]
    for path in sharing.iterdir():
        path.unlink()


def test_a_snapshot_by_reflink_is_restored_and_removed(sharing: Path) -> None:
    disk = sparse(sharing / "data", 4 * MIB, {0: b"before"})
    paths = (str(disk),)
    assert snapshots.faults(SnapshotMethod.REFLINK, paths, None) == []
    copies = tuple(snapshots.copy_of(SnapshotMethod.REFLINK, path, "t1") for path in paths)
    snapshot = Snapshot(SnapshotMethod.REFLINK, "t1", paths, copies)
    snapshots.take(snapshot)
    snapshots.take(snapshot)
    disk.write_bytes(b"after")
    snapshots.restore(snapshot)
    snapshots.restore(snapshot)
    assert disk.read_bytes().rstrip(b"\0") == b"before"
    snapshots.remove(snapshot)
    snapshots.remove(snapshot)
    assert [path.name for path in sharing.iterdir()] == ["data"]
    disk.unlink()


def test_where_it_cannot_be_it_is_said_and_nothing_is_left(sharing: Path, tmp_path: Path) -> None:
    """From one file system to another."""
    disk = sparse(sharing / "disk", MIB, {})
    assert "cannot be copied by reflink" in reflink.why_no_reflink(str(disk), str(tmp_path / "copy"))
    with pytest.raises(reflink.CannotReflink):
        reflink.place(str(disk), str(tmp_path / "copy"), reflink=True)
    assert list(tmp_path.iterdir()) == []
    disk.unlink()


@given(
    st.dictionaries(st.integers(0, 60).map(lambda n: n * 65536), st.binary(min_size=1, max_size=200), max_size=5),
    st.integers(0, 4 * MIB),
)
def test_a_copy_byte_for_byte_is_equal_and_keeps_its_holes(parts: dict[int, bytes], size: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        disk = sparse(Path(folder) / "disk", size, parts)
        reflink.place(str(disk), str(Path(folder) / "copy"), reflink=False)
        copy = Path(folder) / "copy"
        assert copy.read_bytes() == disk.read_bytes()
        assert reflink.allocated(str(copy)) <= reflink.allocated(str(disk)) + 65536


@pytest.mark.parametrize("step", ["fsync", "rename", "pwrite"])
def test_a_copy_that_is_cut_short_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    disk, copy = sparse(tmp_path / "disk", MIB, {0: b"new"}), tmp_path / "copy"
    copy.write_bytes(b"old")

    def fails(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, step, fails)
        with pytest.raises(DriverError, match="No space left"):
            reflink.place(str(disk), str(copy), reflink=False)
    assert copy.read_bytes() == b"old" and sorted(p.name for p in tmp_path.iterdir()) == ["copy", "disk"]
    (tmp_path / ".copy.new").write_bytes(b"of one that was killed")
    reflink.place(str(disk), str(copy), reflink=False)
    assert copy.read_bytes() == disk.read_bytes() and len(list(tmp_path.iterdir())) == 2


def test_copies_need_room_for_themselves_and_for_their_way_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = sparse(tmp_path / "disk", 8 * MIB, {0: bytes(range(256)) * 4096})
    assert snapshots.faults(SnapshotMethod.COPY, [str(disk)], None) == []
    room = os.statvfs(tmp_path)
    full = os.statvfs_result((*room[:4], 100, *room[5:]))
    monkeypatch.setattr(os, "statvfs", lambda path: full)
    (fault,) = snapshots.faults(SnapshotMethod.COPY, [str(disk)], None)
    assert "may need 2 MiB in its folder, and 0 MiB are free" in fault


def test_a_disk_is_made_once_whole_and_empty(tmp_path: Path) -> None:
    path = tmp_path / "disks" / "data"
    disks.create(path, 3)
    assert (path.stat().st_size, path.stat().st_blocks, path.stat().st_mode & 0o777) == (3 * MIB, 0, 0o600)
    path.write_bytes(b"something")
    disks.create(path, 3)
    assert path.read_bytes() == b"something", "what is there is left alone"


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("relative", "is no absolute path"),
        ("/nowhere", "is not on this node"),
        ("/proc", "is neither a file nor a volume"),
        ("/dev/null", "is neither a file nor a volume"),
        ("ODD", "no whole sectors"),
        ("EMPTY", "no whole sectors"),
    ],
)
def test_what_is_no_disk_is_refused(tmp_path: Path, path: str, why: str) -> None:
    (tmp_path / "ODD").write_bytes(bytes(700))
    (tmp_path / "EMPTY").write_bytes(b"")
    declared = str(tmp_path / path) if path.isupper() else path
    assert why in str(disks.why_unfit(declared))


@pytest.mark.skipif(os.geteuid() != 0 or bool(WHY_NOT), reason=f"a mounted loop device: {WHY_NOT or 'needs root'}")
def test_a_volume_that_is_mounted_is_refused(sharing: Path) -> None:
    device = next(line.split()[0] for line in Path("/proc/mounts").read_text().splitlines() if str(sharing) in line)
    assert "is in use by this node itself" in str(disks.why_unfit(device))
    assert str(disks.identity(device)).startswith("device 7:")
