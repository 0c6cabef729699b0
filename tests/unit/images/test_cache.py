# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's cache: one download for all who need the same image at the same time."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import ImageError
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.images.cache import ImageCache
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.images.store import ImageStore
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import Image

CONTENT = b"an image"
IMAGE = Image(sha256=hashlib.sha256(CONTENT).hexdigest(), size=len(CONTENT))

OBTAINER = """
import sys
from pathlib import Path
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.images.cache import ImageCache
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import Image
def bring(store):
    print("brings", flush=True)
    sys.stdin.readline()
    store.add_stream([b"an image"])
print("asks", flush=True)
ImageCache(Path(sys.argv[1])).obtain(Image(sys.argv[2], 8), bring, wait_s=30)
print("has it", flush=True)
"""


def obtainer(root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", OBTAINER, str(root), IMAGE.sha256],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_processes_that_need_the_same_image_bring_it_once(tmp_path: Path) -> None:
    with obtainer(tmp_path) as first:
        assert first.stdout is not None
        assert [first.stdout.readline() for _unused in range(2)] == ["asks\n", "brings\n"]
        with obtainer(tmp_path) as second:
            assert second.stdout is not None and second.stdout.readline() == "asks\n"
            with pytest.raises(ImageError, match="Another process has been downloading"):
                ImageCache(tmp_path).obtain(IMAGE, lambda store: pytest.fail("brought twice"), wait_s=0.1)
            first.communicate("go\n", timeout=30)
            said, _unused = second.communicate("", timeout=30)
    assert said == "has it\n"


def test_what_is_cached_is_not_brought_again_unless_it_lost_its_bytes(tmp_path: Path) -> None:
    brought = []

    def bring(store: ImageStore) -> None:
        brought.append(store.add_stream([CONTENT], IMAGE))

    cache = ImageCache(tmp_path / "new" / "cache")
    path = cache.obtain(IMAGE, bring, wait_s=0)
    assert cache.obtain(IMAGE, bring, wait_s=0) == path
    assert brought == [IMAGE]
    os.chmod(path, 0o755)
    path.write_bytes(b"an_image")
    assert cache.obtain(IMAGE, bring, wait_s=0).read_bytes() == CONTENT


def test_what_nobody_used_for_a_month_leaves_the_cache(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path)
    other = cache.store.add_stream([b"other"])
    long_ago = time.time() - 31 * 86400
    os.utime(cache.store.verify(other), (long_ago, long_ago))
    cache.obtain(IMAGE, lambda store: store.add_stream([CONTENT], IMAGE), wait_s=0)
    assert cache.store.holds(IMAGE.sha256) and not cache.store.holds(other.sha256)


def test_a_cache_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ImageError, match="controller_cache"):
        ImageCache(tmp_path / "file").obtain(IMAGE, lambda store: None, wait_s=0)
