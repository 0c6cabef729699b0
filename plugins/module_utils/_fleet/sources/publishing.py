# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Putting a build into a release repository: all of it or nothing, and once however often it is asked for."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from ..durable import make_folder, sync_folder, write_durably
from ..errors import Busy, InvalidDeclaration, SourceError
from ..file_lock import locks_within, open_lock
from ..model import Abi, Build, Device
from .comparison import INPUT_NAMES
from .release_documents import (
    FILE_NAME_PATTERN,
    INDEX_FORMAT,
    INDEX_NAME,
    MANIFEST_NAME,
    VERSION,
    Index,
    IndexEntry,
    Manifest,
    Misshapen,
    StoredFile,
    build_of,
    document,
    label,
    manifest_document,
    parsed_index,
    parsed_manifest,
    written,
)

LOCK_NAME = ".lock"
LOCK_TIMEOUT_S = 60.0
CHUNK_BYTES = 1024 * 1024
ID_NAMESPACE = uuid.UUID("6f7a2b0e-6d0c-5b9a-9d5e-0d9a1c7f4e21")
"""Ids of builds that come without one are derived from their content: publishing again finds the same build."""


@dataclass(frozen=True)
class Publication:
    """A build that is to be published."""

    job: str
    platform: str
    image: Path
    filename: str
    """Name of the image in the repository."""
    id: Optional[str] = None
    """None: derived from job, platform, image and inputs."""
    started_at: Optional[str] = None
    finished_at: Optional[str] = None
    abi: Optional[Abi] = None
    devices: Optional[tuple[Device, ...]] = None
    inputs: Mapping[str, Path] = field(default_factory=dict)
    """By the names ``opam-switch``, ``build-environment`` and ``system-packages``."""
    channels: tuple[str, ...] = ()
    """These point at the build afterwards."""


@dataclass(frozen=True)
class Published:
    """What came of it."""

    changed: bool
    build: Build
    added: bool
    """Whether the build was not there before."""
    moved_channels: Mapping[str, Optional[str]] = field(default_factory=dict)
    """Channels that pointed elsewhere before, and to which build; None: nowhere."""


def publish(repository: Path, publication: Publication, source: str = "", check_mode: bool = False) -> Published:
    """Put a build into the repository at that path, which is created if need be.

    The build's folder is complete before the index names it, and the index is replaced by a rename, so a reader sees
    the build whole or not at all. InvalidDeclaration when its id is taken by another build; SourceError when the
    repository cannot be read or written (it is as it was before); Busy when somebody else publishes for too long.
    """
    if not repository.is_absolute():
        raise InvalidDeclaration(f"A release repository is named by an absolute path, not by {str(repository)!r}.")
    _checked(publication)
    try:
        image = _measured(publication.image, f"image/{publication.filename}")
        inputs = {name: _measured(path, f"inputs/{name}") for name, path in sorted(publication.inputs.items())}
        build_id = publication.id or _derived_id(publication, image, inputs)
        if check_mode:
            return _Publishing(repository, publication, source, build_id, image, inputs).planned()
        make_folder(repository, 0o755)
        with _locked(repository):
            return _Publishing(repository, publication, source, build_id, image, inputs).done()
    except OSError as error:
        raise SourceError(
            f"The build of {publication.job!r} could not be published in {repository}: {error}. "
            "The repository is as it was before."
        ) from None
    except Misshapen as error:
        raise SourceError(f"The release repository {repository} is not usable: {error}. Nothing was changed.") from None


class _Publishing:
    """One publication, under the repository's lock."""

    def __init__(
        self,
        repository: Path,
        publication: Publication,
        source: str,
        build_id: str,
        image: StoredFile,
        inputs: Mapping[str, StoredFile],
    ) -> None:
        self._repository = repository
        self._publication = publication
        self._source = source
        self._id = build_id
        self._image = image
        self._inputs = inputs
        self._raw, self._index = _read_index(repository)
        self._existing = next((entry for entry in self._index.entries if entry.id == build_id), None)
        if self._existing is not None:
            self._refuse_other_content(self._existing)

    def planned(self) -> Published:
        moved = self._channels_to_move()
        added = self._existing is None
        return Published(added or bool(moved), self._build(), added, moved)

    def done(self) -> Published:
        outcome = self.planned()
        if not outcome.changed:
            return outcome
        self._raw["serial"] = self._index.serial + 1
        place = self._place()
        if self._existing is None:
            manifest = self._manifest(self._index.serial + 1)
            place["builds"].append(_index_entry(manifest, self._write_folder(manifest)))
        for channel in outcome.moved_channels:
            place["channels"][channel] = {"build": self._id, "serial": self._index.serial + 1}
        write_durably(self._repository / INDEX_NAME, written(self._raw), 0o644)
        return outcome

    def _refuse_other_content(self, entry: IndexEntry) -> None:
        manifest = parsed_manifest((self._repository / entry.manifest.path).read_bytes())
        publication = self._publication
        same = (
            (manifest.job, manifest.platform) == (publication.job, publication.platform)
            and (manifest.image.sha256, manifest.image.size) == (self._image.sha256, self._image.size)
            and {name: file.sha256 for name, file in manifest.inputs.items()}
            == {name: file.sha256 for name, file in self._inputs.items()}
        )
        if not same:
            raise InvalidDeclaration(
                f"The release repository {self._repository} has a build {self._id} with other content. A published "
                "build never changes: publish under another id. Nothing was changed."
            )

    def _channels_to_move(self) -> dict[str, Optional[str]]:
        key = (self._publication.job, self._publication.platform)
        before = {channel: self._index.channels.get((*key, channel)) for channel in self._publication.channels}
        return {channel: target for channel, target in before.items() if target != self._id}

    def _place(self) -> dict[str, Any]:
        """Where the index lists builds and channels of the job and platform; other keys there are left alone."""
        job = self._raw["jobs"].setdefault(self._publication.job, {})
        platform = job.setdefault("platforms", {}).setdefault(self._publication.platform, {})
        platform.setdefault("builds", [])
        platform.setdefault("channels", {})
        found: dict[str, Any] = platform
        return found

    def _manifest(self, serial: int) -> Manifest:
        publication = self._publication
        return Manifest(
            id=self._id,
            job=publication.job,
            platform=publication.platform,
            serial=serial,
            image=self._image,
            started_at=publication.started_at,
            finished_at=publication.finished_at,
            abi=publication.abi,
            devices=publication.devices,
            inputs=self._inputs,
        )

    def _build(self) -> Build:
        location = self._repository.resolve() / "builds" / self._id / self._image.path
        return build_of(self._manifest(self._index.serial + 1), self._source, str(location))

    def _write_folder(self, manifest: Manifest) -> bytes:
        """Write the build's folder beside its place, then move it there; returns the manifest's bytes."""
        builds = self._repository / "builds"
        make_folder(builds, 0o755)
        content = written(manifest_document(manifest))
        incoming = Path(tempfile.mkdtemp(dir=builds, prefix=".incoming-"))
        try:
            incoming.chmod(0o755)
            _copy(self._publication.image, incoming / self._image.path, self._image)
            for name, file in self._inputs.items():
                _copy(self._publication.inputs[name], incoming / file.path, file)
            write_durably(incoming / MANIFEST_NAME, content, 0o644)
            place = builds / manifest.id
            if place.exists():
                # Not in the index, so a publication that was cut off left it.
                shutil.rmtree(place)
            os.rename(incoming, place)
        except BaseException:
            shutil.rmtree(incoming, ignore_errors=True)
            raise
        sync_folder(builds)
        return content


def _checked(publication: Publication) -> None:
    try:
        for value in (publication.job, publication.platform, *publication.channels):
            label(value)
        if publication.id is not None:
            label(publication.id)
    except Misshapen as error:
        raise InvalidDeclaration(f"The build cannot be published: {error}. Nothing was changed.") from None
    if not FILE_NAME_PATTERN.fullmatch(publication.filename) or publication.filename == "..":
        raise InvalidDeclaration(f"{publication.filename[:80]!r} is no file name for a release repository.")
    unknown = sorted(set(publication.inputs) - set(INPUT_NAMES))
    if unknown:
        raise InvalidDeclaration(f"Unknown inputs {', '.join(unknown)}; known are {', '.join(INPUT_NAMES)}.")


def _read_index(repository: Path) -> tuple[dict[str, Any], Index]:
    try:
        content = (repository / INDEX_NAME).read_bytes()
    except FileNotFoundError:
        fresh: dict[str, Any] = {"format": INDEX_FORMAT, "version": VERSION, "serial": 0, "not_after": None, "jobs": {}}
        return fresh, Index(0, (), {})
    return document(content, INDEX_FORMAT, "the index"), parsed_index(content)


def _index_entry(manifest: Manifest, content: bytes) -> dict[str, Any]:
    return {
        "id": manifest.id,
        "serial": manifest.serial,
        "finished_at": manifest.finished_at,
        "image_sha256": manifest.image.sha256,
        "image_size": manifest.image.size,
        "manifest": {
            "path": f"builds/{manifest.id}/{MANIFEST_NAME}",
            "sha256": hashlib.sha256(content).hexdigest(),
            "size": len(content),
        },
    }


def _derived_id(publication: Publication, image: StoredFile, inputs: Mapping[str, StoredFile]) -> str:
    content = [publication.job, publication.platform, image.sha256]
    content += [f"{name}={file.sha256}" for name, file in sorted(inputs.items())]
    return str(uuid.uuid5(ID_NAMESPACE, "\n".join(content)))


def _measured(path: Path, stored_as: str) -> StoredFile:
    digest = hashlib.sha256()
    size = 0
    with open(path, "rb") as stream:
        while part := stream.read(CHUNK_BYTES):
            digest.update(part)
            size += len(part)
    return StoredFile(stored_as, digest.hexdigest(), size)


def _copy(original: Path, copy: Path, expected: StoredFile) -> None:
    """Copy durably; SourceError when the original changed since it was measured."""
    make_folder(copy.parent, 0o755)
    digest = hashlib.sha256()
    with open(original, "rb") as source, open(copy, "xb") as target:
        os.fchmod(target.fileno(), 0o644)
        while part := source.read(CHUNK_BYTES):
            digest.update(part)
            target.write(part)
        target.flush()
        os.fsync(target.fileno())
    sync_folder(copy.parent)
    if digest.hexdigest() != expected.sha256:
        raise SourceError(f"{original} changed while it was being published. The repository is as it was before.")


@contextlib.contextmanager
def _locked(repository: Path) -> Iterator[None]:
    descriptor = open_lock(repository / LOCK_NAME, 0o644)
    try:
        if not locks_within(descriptor, LOCK_TIMEOUT_S):
            raise Busy(
                f"Somebody else has been publishing in {repository} for {LOCK_TIMEOUT_S:g} s; nothing was "
                "changed. Try again when that is done."
            )
        yield
    finally:
        os.close(descriptor)
