# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Release repositories: what is published is found and compared again, by path and over http."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import (
    BuildNotFound,
    Busy,
    InvalidDeclaration,
    SourceError,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import Abi, Device
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.sources import publishing
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.sources.protocol import (
    ComparisonState,
    Lookup,
    SourceOptions,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.sources.publishing import (
    Publication,
    Published,
    publish,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.sources.release_repository import ReleaseRepository
from ansible_collections.unikernel.fleet.tests.support.builder_web_recorded import new_inputs, old_inputs

LATEST = Lookup(job="web", platform="unix")


class Place:
    """A repository in a folder, and how it is reached."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self._scratch = folder.parent / "scratch"
        self._scratch.mkdir()

    @property
    def source(self) -> ReleaseRepository:
        return ReleaseRepository(SourceOptions("releases", "release_repository", self.url, retries=0))

    def file(self, name: str, content: bytes) -> Path:
        path = self._scratch / name
        path.write_bytes(content)
        return path

    def publication(self, image: bytes, **options: Any) -> Publication:
        texts = options.pop("inputs", {})
        inputs = {name: self.file(name, text.encode()) for name, text in texts.items()}
        path = self.file("image", image)
        return Publication(
            **{"job": "web", "platform": "unix", "image": path, "filename": "web", "inputs": inputs, **options}
        )

    def publish(self, image: bytes, **options: Any) -> Published:
        return publish(self.folder, self.publication(image, **options), "releases")

    def index(self) -> Any:
        return json.loads((self.folder / "index.json").read_text(encoding="utf-8"))

    def rewrite(self, change: Any) -> None:
        index = self.index()
        change(index)
        (self.folder / "index.json").write_text(json.dumps(index), encoding="utf-8")

    def rewrite_manifest(self, change: Any) -> None:
        """Change the first build's manifest, and make the index vouch for it."""

        def vouch(index: Any) -> None:
            entry = index["jobs"]["web"]["platforms"]["unix"]["builds"][0]
            path = self.folder / entry["manifest"]["path"]
            manifest = json.loads(path.read_text(encoding="utf-8"))
            change(manifest)
            content = json.dumps(manifest).encode()
            path.write_bytes(content)
            entry["manifest"].update(sha256=hashlib.sha256(content).hexdigest(), size=len(content))

        self.rewrite(vouch)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        """Nothing."""


@pytest.fixture(params=["path", "http"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    folder = tmp_path / "repository"
    if request.param == "path":
        yield Place(folder, str(folder))
        return
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield Place(folder, f"http://127.0.0.1:{server.server_address[1]}")
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def local(tmp_path: Path) -> Place:
    folder = tmp_path / "repository"
    return Place(folder, str(folder))


def test_what_was_published_last_is_the_latest(place: Place) -> None:
    place.publish(b"first")
    place.publish(b"other platform", platform="freebsd")
    published = place.publish(
        b"second", abi=Abi("hvt", 2), devices=(Device("service", "NET_BASIC"),), finished_at="2026-01-02T03:04:05Z"
    ).build
    found = place.source.find(LATEST)
    assert replace(found, location=published.location) == published
    assert (found.sha256, found.size) == (hashlib.sha256(b"second").hexdigest(), 6)
    assert found.location.startswith(place.url if place.url.startswith("http") else str(place.folder.resolve()))


def test_a_build_is_found_by_id_and_by_sha256_too(place: Place) -> None:
    first = place.publish(b"first").build
    place.publish(b"second")
    assert place.source.find(Lookup(job="web", id=first.id)).sha256 == first.sha256
    assert place.source.find(Lookup(sha256=first.sha256.upper())).id == first.id


@pytest.mark.parametrize(
    "lookup",
    [
        Lookup(job="dns", platform="unix"),
        Lookup(job="web", platform="xen"),
        Lookup(job="web", id="none"),
        Lookup(sha256="0" * 64),
        Lookup(job="web", platform="unix", channel="stable"),
    ],
)
def test_what_is_not_there_is_not_found(place: Place, lookup: Lookup) -> None:
    place.publish(b"first", channels=("beta",))
    with pytest.raises(BuildNotFound):
        place.source.find(lookup)


@pytest.mark.parametrize("lookup", [Lookup(), Lookup(job="web"), Lookup(job="web", id="1", sha256="0" * 64)])
def test_a_look_up_that_cannot_be_meant_is_refused(local: Place, lookup: Lookup) -> None:
    local.publish(b"first")
    with pytest.raises(InvalidDeclaration):
        local.source.find(lookup)


def test_a_channel_points_at_one_build_until_it_is_moved(local: Place) -> None:
    first = local.publish(b"first", channels=("stable", "beta")).build
    second = local.publish(b"second", channels=("beta",))
    assert second.moved_channels == {"beta": first.id}
    stable, beta = (local.source.find(replace(LATEST, channel=name)) for name in ("stable", "beta"))
    assert (stable.id, beta.id) == (first.id, second.build.id)
    moved = local.publish(b"second", channels=("stable",))
    assert (moved.changed, moved.added) == (True, False)
    assert local.source.find(replace(LATEST, channel="stable")).id == second.build.id


def test_the_comparison_is_computed_from_the_inputs(place: Place) -> None:
    old = place.publish(b"old", inputs=old_inputs()).build
    new = place.publish(b"newer", inputs=new_inputs()).build
    answer = place.source.compare(old, new)
    assert answer.state is ComparisonState.AVAILABLE and answer.comparison is not None
    assert [change.name for change in answer.comparison.packages.changed] == ["mirage-crypto"]
    assert (answer.comparison.size_before, answer.comparison.size_after) == (3, 5)


def test_builds_that_cannot_be_compared_have_a_state_and_a_reason(local: Place) -> None:
    bare, full = local.publish(b"bare").build, local.publish(b"full", inputs=new_inputs()).build
    odd = local.publish(b"odd", inputs={**new_inputs(), "opam-switch": "installed: ["}).build
    assert local.source.compare(full, full).state is ComparisonState.SAME
    for old, why in (
        (bare, "without opam-switch"),
        (odd, "cannot be read"),
        (replace(bare, id="gone"), "no build gone"),
    ):
        answer = local.source.compare(old, full)
        assert answer.state is ComparisonState.UNAVAILABLE and why in answer.reason


def test_an_input_that_was_changed_leaves_the_comparison_unknown(local: Place) -> None:
    old, new = local.publish(b"old", inputs=old_inputs()).build, local.publish(b"new", inputs=new_inputs()).build
    (local.folder / "builds" / old.id / "inputs" / "opam-switch").write_text("changed", encoding="utf-8")
    answer = local.source.compare(old, new)
    assert answer.state is ComparisonState.UNKNOWN and "SHA-256" in answer.reason


# --- what is not trusted ------------------------------------------------------------------------


def test_unknown_keys_are_left_alone_when_reading_and_when_publishing(place: Place) -> None:
    place.publish(b"first")
    place.rewrite_manifest(lambda manifest: manifest.update(news={"a": 1}))

    def extend(index: Any) -> None:
        index["keys"] = ["ssh-ed25519 ..."]
        index["jobs"]["web"]["owner"] = "me"

    place.rewrite(extend)
    place.publish(b"second")
    assert place.source.find(LATEST).sha256 == hashlib.sha256(b"second").hexdigest()
    assert place.index()["keys"] == ["ssh-ed25519 ..."] and place.index()["jobs"]["web"]["owner"] == "me"


@pytest.mark.parametrize("version", [2, 0, None, "1"])
def test_another_version_is_refused_when_reading_and_when_publishing(local: Place, version: object) -> None:
    local.publish(b"first")
    local.rewrite(lambda index: index.update(version=version))
    with pytest.raises(SourceError, match="newer collection"):
        local.source.find(LATEST)
    with pytest.raises(SourceError, match="Nothing was changed"):
        local.publish(b"second")


@pytest.mark.parametrize(
    "path", ["../../secret", "/etc/passwd", "image/../../x", "image//x", "", ".", "a\\b", "-rf", 5]
)
def test_a_path_that_leads_out_of_a_build_is_refused(local: Place, path: object) -> None:
    local.publish(b"first")
    local.rewrite_manifest(lambda manifest: manifest["image"].update(path=path))
    with pytest.raises(SourceError, match="not one below its folder"):
        local.source.find(LATEST)


def test_a_link_that_leads_out_of_the_repository_is_not_followed(local: Place, tmp_path: Path) -> None:
    build = local.publish(b"first").build
    image = Path(build.location)
    image.unlink()
    image.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SourceError, match="leads out of the repository"):
        local.source.find(LATEST)


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b"{}", b"[" * 100_000, b"\xff\xfe"])
def test_an_index_that_is_none_is_unknown_and_never_not_found(place: Place, content: bytes) -> None:
    place.publish(b"first")
    (place.folder / "index.json").write_bytes(content)
    with pytest.raises(SourceError) as caught:
        place.source.find(LATEST)
    assert not isinstance(caught.value, BuildNotFound)


def test_a_folder_that_is_no_repository_is_unknown(place: Place) -> None:
    with pytest.raises(SourceError, match="release repository") as caught:
        place.source.find(LATEST)
    assert not isinstance(caught.value, BuildNotFound)


def test_a_manifest_that_the_index_does_not_vouch_for_is_refused(place: Place) -> None:
    build = place.publish(b"first").build
    path = place.folder / "builds" / build.id / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"serial": 1', b'"serial": 2'))
    with pytest.raises(SourceError, match="size or SHA-256"):
        place.source.find(LATEST)


def test_an_index_and_a_manifest_that_contradict_each_other_are_refused(local: Place) -> None:
    local.publish(b"first")
    local.rewrite_manifest(lambda manifest: manifest.update(job="dns"))
    with pytest.raises(SourceError, match="contradict"):
        local.source.find(LATEST)


# --- publishing ---------------------------------------------------------------------------------


def test_publishing_again_changes_nothing(local: Place) -> None:
    first = local.publish(b"first", inputs=new_inputs())
    index = (local.folder / "index.json").read_bytes()
    again = local.publish(b"first", inputs=new_inputs())
    assert (first.changed, again.changed) == (True, False)
    assert again.build == first.build
    assert (local.folder / "index.json").read_bytes() == index


def test_other_content_under_the_same_id_is_refused(local: Place) -> None:
    local.publish(b"first", id="one")
    for other in ({"image": b"other"}, {"image": b"first", "job": "dns"}, {"image": b"first", "inputs": new_inputs()}):
        with pytest.raises(InvalidDeclaration, match="other content"):
            local.publish(id="one", **other)
    assert local.index()["serial"] == 1


def test_check_mode_tells_what_would_be_and_writes_nothing(local: Place) -> None:
    planned = publish(local.folder, local.publication(b"first"), "releases", check_mode=True)
    assert planned.changed and not local.folder.exists()
    assert local.publish(b"first").build == planned.build


@pytest.mark.parametrize("cut_at", ["write_durably", "sync_folder", "_copy"])
def test_a_publication_that_was_cut_off_leaves_the_repository_as_it_was(
    local: Place, cut_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    local.publish(b"first")
    index = (local.folder / "index.json").read_bytes()
    original = getattr(publishing, cut_at)

    def full(*args: Any) -> None:
        if args[0].name not in ("image", "inputs"):
            raise OSError(28, "No space left on device")
        original(*args)

    with monkeypatch.context() as patch:
        patch.setattr(publishing, cut_at, full if cut_at != "_copy" else lambda *_unused: full(local.folder))
        with pytest.raises(SourceError, match="No space left"):
            local.publish(b"second")
    assert (local.folder / "index.json").read_bytes() == index
    assert not list(local.folder.glob("builds/.incoming-*"))
    assert local.publish(b"second").changed
    assert local.source.find(LATEST).sha256 == hashlib.sha256(b"second").hexdigest()


def test_several_publish_at_once_and_every_build_has_its_own_serial(local: Place) -> None:
    publications = []
    for number in range(8):
        publications.append(replace(local.publication(b""), image=local.file(f"image-{number}", b"%d" % number)))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda publication: publish(local.folder, publication), publications))
    builds = local.index()["jobs"]["web"]["platforms"]["unix"]["builds"]
    assert sorted(build["serial"] for build in builds) == list(range(1, 9))


def test_somebody_who_publishes_for_too_long_is_not_waited_for_forever(
    local: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    local.publish(b"first")
    monkeypatch.setattr(publishing, "LOCK_TIMEOUT_S", 0.0)
    with publishing._locked(local.folder), pytest.raises(Busy, match="nothing was changed"):
        local.publish(b"second")


@pytest.mark.parametrize(
    "options",
    [
        {"job": "../x"},
        {"job": "a/b"},
        {"platform": ""},
        {"id": ".."},
        {"id": "a..b"},
        {"filename": "../x"},
        {"filename": ".."},
        {"filename": "-rf"},
        {"channels": ("a b",)},
        {"inputs": {"other": "x"}},
    ],
)
def test_names_that_could_leave_the_repository_are_refused(local: Place, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidDeclaration):
        local.publish(b"x", **options)
    assert not local.folder.exists()


def test_an_image_that_is_not_there_is_named(local: Place) -> None:
    with pytest.raises(SourceError, match="No such file"):
        publish(local.folder, replace(local.publication(b"x"), image=Path("/nowhere/web")))


def test_files_are_readable_for_a_web_server(local: Place) -> None:
    build = local.publish(b"x", inputs=new_inputs()).build
    for path in (local.folder / "index.json", *(p for p in local.folder.glob(f"builds/{build.id}/**/*"))):
        assert os.stat(path).st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path


@pytest.mark.parametrize("url", ["relative/folder", "ftp://x/", ""])
def test_a_repository_is_named_by_an_absolute_path_or_a_url(url: str) -> None:
    with pytest.raises(InvalidDeclaration):
        ReleaseRepository(SourceOptions("releases", "release_repository", url))
