# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The image store: whole or not at all, whoever dies or runs out of room in the middle."""

from __future__ import annotations

import hashlib
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import (
    Busy,
    ImageError,
    ImageMissing,
    StateUnreadable,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.images.store import ImageStore
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.images.store_lock import adding
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import Image
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.retention import marked_images

CONTENT = b"#!/bin/sh\necho whole\n" * 1000
HOURS = 3600


def image_of(content: bytes) -> Image:
    return Image(sha256=hashlib.sha256(content).hexdigest(), size=len(content))


IMAGE = image_of(CONTENT)


@pytest.fixture
def layout(tmp_path: Path) -> NodeLayout:
    return NodeLayout(tmp_path / "fleet")


@pytest.fixture
def store(layout: NodeLayout) -> ImageStore:
    return ImageStore(layout)


def aged(layout: NodeLayout, image: Image, hours: float) -> None:
    then = time.time() - hours * HOURS
    os.utime(layout.image(image.sha256), (then, then))


def names(layout: NodeLayout) -> list[str]:
    return sorted(entry.name for entry in layout.images.iterdir())


def test_an_added_image_is_held_verified_and_executable_by_nobody_writable(
    store: ImageStore, layout: NodeLayout
) -> None:
    assert not store.holds(IMAGE.sha256)
    assert store.add_stream([CONTENT[:100], CONTENT[100:]], IMAGE) == IMAGE
    assert store.holds(IMAGE.sha256)
    path = store.verify(IMAGE)
    assert path == layout.image(IMAGE.sha256)
    assert stat.S_IMODE(path.stat().st_mode) == 0o555
    assert stat.S_IMODE(layout.images.stat().st_mode) == 0o711
    assert subprocess.run([str(path)], capture_output=True, check=True).stdout.startswith(b"whole\n")


def test_a_file_is_stored_under_the_digest_that_it_has(store: ImageStore, tmp_path: Path) -> None:
    source = tmp_path / "image"
    source.write_bytes(CONTENT)
    assert store.add_file(source) == IMAGE


@pytest.mark.parametrize("kind", ["absent", "folder", "fifo"])
def test_what_is_no_regular_file_is_refused(kind: str, store: ImageStore, layout: NodeLayout, tmp_path: Path) -> None:
    source = tmp_path / "image"
    if kind == "folder":
        source.mkdir()
    elif kind == "fifo":
        os.mkfifo(source)
    with pytest.raises(ImageError, match=str(source)):
        store.add_file(source)
    assert names(layout) == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (CONTENT[:-1], f"and {len(CONTENT) - 1} came"),
        (CONTENT + b"!", "more bytes than the"),
        (b"?" + CONTENT[1:], "instead of " + IMAGE.sha256),
        (b"", "empty"),
    ],
)
def test_other_bytes_than_expected_are_refused(
    content: bytes, says: str, store: ImageStore, layout: NodeLayout
) -> None:
    with pytest.raises(ImageError, match=says):
        store.add_stream([content], IMAGE)
    assert names(layout) == []


def test_a_stream_without_end_is_cut_at_the_limit(store: ImageStore, layout: NodeLayout) -> None:
    asked = 0

    def endless() -> Iterator[bytes]:
        nonlocal asked
        while True:
            asked += 1
            yield b"x" * 1000

    with pytest.raises(ImageError, match=r"more bytes than the 5000 that are allowed \(max_bytes\)"):
        store.add_stream(endless(), max_bytes=5000)
    assert asked == 6
    assert names(layout) == []


def test_an_image_that_is_larger_than_allowed_is_refused_before_a_byte_is_read(store: ImageStore) -> None:
    with pytest.raises(ImageError, match="max_bytes"):
        store.add_stream(iter(lambda: pytest.fail("was read"), None), IMAGE, max_bytes=10)


def test_an_image_that_its_inspection_refuses_never_gets_its_name(store: ImageStore, layout: NodeLayout) -> None:
    def refuse(path: Path) -> None:
        assert path.read_bytes() == CONTENT
        raise ImageError("made for another tender")

    with pytest.raises(ImageError, match="another tender"):
        store.add_stream([CONTENT], IMAGE, inspect=refuse)
    assert names(layout) == []


def test_what_lost_its_bytes_is_missing_and_can_be_brought_again(store: ImageStore, layout: NodeLayout) -> None:
    with pytest.raises(ImageMissing, match="No such file"):
        store.verify(IMAGE)
    store.add_stream([CONTENT], IMAGE)
    path = layout.image(IMAGE.sha256)
    os.chmod(path, 0o755)
    path.write_bytes(b"?" + CONTENT[1:])
    with pytest.raises(ImageMissing, match="its bytes have the SHA-256"):
        store.verify(IMAGE)
    path.write_bytes(b"short")
    with pytest.raises(ImageMissing, match="it has 5 bytes instead of"):
        store.claim(IMAGE)
    store.add_stream([CONTENT], IMAGE)
    assert store.verify(IMAGE).read_bytes() == CONTENT


def test_a_link_in_place_of_an_image_is_not_followed(store: ImageStore, layout: NodeLayout, tmp_path: Path) -> None:
    store.add_stream([b"other"])
    source = tmp_path / "image"
    source.write_bytes(CONTENT)
    layout.image(IMAGE.sha256).symlink_to(source)
    assert not store.holds(IMAGE.sha256)
    with pytest.raises(ImageMissing, match="no regular file"):
        store.verify(IMAGE)


def test_any_number_of_adders_of_the_same_image_are_fine(store: ImageStore, layout: NodeLayout) -> None:
    together = threading.Barrier(8)
    failures: list[BaseException] = []

    def add() -> None:
        def slowly() -> Iterator[bytes]:
            together.wait(10)
            yield CONTENT

        try:
            store.add_stream(slowly(), IMAGE)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=add) for _unused in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert names(layout) == [IMAGE.sha256]


ADDER = """
import os, resource, sys
from pathlib import Path
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import ImageError
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.images.store import ImageStore
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
store = ImageStore(NodeLayout(Path(sys.argv[1])))
def chunks():
    yield b"x" * 100000
    if sys.argv[2] == "hang":
        print("half", flush=True)
        sys.stdin.read()
    yield b"x" * 100000
if sys.argv[2] == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (150000, 150000))
try:
    store.add_stream(chunks())
except ImageError as error:
    print(error)
"""


def adder(root: Path, how: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", ADDER, str(root), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_a_killed_adder_leaves_no_visible_image_and_its_remains_are_swept(
    store: ImageStore, layout: NodeLayout
) -> None:
    with adder(layout.root, "hang") as process:
        assert process.stdout is not None and process.stdout.readline() == "half\n"
        process.send_signal(signal.SIGKILL)
    (remains,) = names(layout)
    assert remains.startswith(".incoming-")
    store.add_stream([CONTENT], IMAGE)
    assert names(layout) == sorted([remains, IMAGE.sha256]), "it is young: who knows on which machine its writer is"
    old = time.time() - 2 * HOURS
    os.utime(layout.images / remains, (old, old))
    store.add_stream([CONTENT], IMAGE)
    assert names(layout) == [IMAGE.sha256]


def test_a_limit_on_file_sizes_is_a_clear_error_that_names_the_free_space(layout: NodeLayout) -> None:
    with adder(layout.root, "limit") as process:
        said, _unused = process.communicate(timeout=30)
    assert "does not fit into" in said and "File too large" in said and "bytes are free there" in said
    assert "store is as before" in said
    assert names(layout) == []


def test_a_full_disk_is_a_clear_error_and_leaves_nothing(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount the small tmpfs that this fills")
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("this machine does not let root mount a tmpfs")
    try:
        layout = NodeLayout(small / "fleet")
        with pytest.raises(ImageError, match=r"does not fit .*No space left on device; \d+ bytes are free"):
            ImageStore(layout).add_stream(b"x" * 10000 for _unused in range(20))
        assert names(layout) == []
        assert ImageStore(layout).add_stream([CONTENT], IMAGE) == IMAGE
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_store_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ImageError, match="cannot be used"):
        ImageStore(NodeLayout(tmp_path / "file")).add_stream([CONTENT])


# --- prune --------------------------------------------------------------------------------------


def test_a_prune_keeps_what_is_marked_or_young(store: ImageStore, layout: NodeLayout) -> None:
    marked, old, young = (store.add_stream([content]) for content in (b"marked", b"old", b"young"))
    for image in (marked, old):
        aged(layout, image, hours=2)
    (layout.images / "README").write_bytes(b"not ours")
    looked = store.prune(lambda: frozenset({marked.sha256}), dry_run=True)
    assert store.holds(old.sha256)
    pruned = store.prune(lambda: frozenset({marked.sha256}))
    assert pruned == looked
    assert (pruned.removed, pruned.kept, pruned.freed) == ((old,), 2, 3)
    assert names(layout) == sorted(["README", marked.sha256, young.sha256])


def test_an_image_that_was_just_found_present_survives_a_prune(store: ImageStore, layout: NodeLayout) -> None:
    store.add_stream([CONTENT], IMAGE)
    aged(layout, IMAGE, hours=100)
    store.claim(IMAGE)
    assert store.prune(frozenset).removed == ()
    aged(layout, IMAGE, hours=100)
    assert store.prune(frozenset).removed == (IMAGE,)


def test_nothing_is_pruned_when_the_marks_are_not_known(store: ImageStore, layout: NodeLayout) -> None:
    store.add_stream([CONTENT], IMAGE)
    aged(layout, IMAGE, hours=2)

    def unknown() -> frozenset[str]:
        raise StateUnreadable("web/state.json is cut")

    with pytest.raises(ImageError, match=r"No image was removed.*web/state\.json is cut"):
        store.prune(unknown)
    assert store.holds(IMAGE.sha256)


def test_a_prune_waits_for_adders_and_gives_up_in_time(store: ImageStore, layout: NodeLayout) -> None:
    store.add_stream([CONTENT], IMAGE)
    with adding(layout.store_lock, 0), pytest.raises(Busy, match="an image is being added"):
        store.prune(frozenset, wait_s=0.05)
    assert store.prune(frozenset, wait_s=0).kept == 1


def test_a_prune_of_no_store_does_nothing(store: ImageStore, layout: NodeLayout) -> None:
    assert store.prune(frozenset).removed == ()
    assert not layout.root.exists()


def test_marks_are_all_digests_of_all_states_of_any_schema(layout: NodeLayout) -> None:
    assert marked_images(layout) == frozenset()
    for name, content in {
        "web": '{"current": {"image": {"sha256": "A1"}}, "kept": [{"image": {"sha256": "b2"}}]}',
        "dns": '{"trial": {"candidate": {"image": {"sha256": "c3"}}, "old": null}, "schema": 99}',
    }.items():
        layout.unikernel(name).mkdir(parents=True)
        layout.state(name).write_text(content)
    layout.unikernel("empty").mkdir()
    (layout.unikernels / "a-file").write_bytes(b"")
    assert marked_images(layout) == {"a1", "b2", "c3"}


@pytest.mark.parametrize("content", [b'{"schema": 2, "cur', b"", b"\xff\xfe", b"[1]", b"[" * 100000])
def test_one_state_that_cannot_be_read_hides_all_marks(content: bytes, layout: NodeLayout) -> None:
    layout.unikernel("web").mkdir(parents=True)
    layout.state("web").write_bytes(content)
    with pytest.raises(StateUnreadable, match=str(layout.state("web"))):
        marked_images(layout)
