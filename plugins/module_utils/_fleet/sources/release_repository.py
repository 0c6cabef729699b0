# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds from a release repository: a folder of files, by absolute path or over http(s).

Every document and input is checked against the SHA-256 that named it before it is believed. One instance looks at one
index: what is published later is seen by the next instance.
"""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Optional, Protocol
from urllib.parse import quote

from ..errors import BuildNotFound, InvalidDeclaration, SourceError
from ..model import Build, checked_sha256
from . import comparison
from .http_client import MAX_ANSWER_BYTES, Deadline, HttpClient
from .protocol import ComparisonAnswer, ComparisonState, Lookup, SourceOptions
from .release_documents import (
    INDEX_NAME,
    Index,
    IndexEntry,
    Manifest,
    Misshapen,
    StoredFile,
    build_of,
    parsed_index,
    parsed_manifest,
)
from .source_urls import checked_url


class Files(Protocol):
    """Where the files of a repository are."""

    def read(self, path: str, deadline: Deadline) -> bytes:
        """A whole small file; SourceError when it cannot be had."""

    def location(self, path: str) -> str:
        """Where an image can be fetched."""


class FolderFiles:
    """A folder of this machine."""

    def __init__(self, options: SourceOptions) -> None:
        self._name = options.name
        self._root = Path(options.url)

    def read(self, path: str, deadline: Deadline) -> bytes:
        try:
            with open(self._inside(path), "rb") as stream:
                content = stream.read(MAX_ANSWER_BYTES + 1)
        except OSError as error:
            raise SourceError(
                f"The source {self._name!r} ({self._root}) cannot be read: {path}: {error.strerror}. "
                "Is it a release repository, and readable for this user?"
            ) from None
        if len(content) > MAX_ANSWER_BYTES:
            raise SourceError(f"The source {self._name!r} ({self._root}) has a file {path} of unlikely size: not read.")
        return content

    def location(self, path: str) -> str:
        return str(self._inside(path))

    def _inside(self, path: str) -> Path:
        # The path is a checked one; a symbolic link in the repository could still lead out of it.
        root = self._root.resolve()
        resolved = (root / path).resolve()
        if root not in resolved.parents:
            raise SourceError(f"The source {self._name!r}: {path} leads out of the repository: not followed.")
        return resolved


class HttpFiles:
    """A folder behind a web server."""

    def __init__(self, options: SourceOptions) -> None:
        self._name = options.name
        self._base = checked_url(options.url, f"the source {options.name!r}")
        self._http = HttpClient(options)

    def read(self, path: str, deadline: Deadline) -> bytes:
        answer = self._http.get(self.location(path), deadline, accept="*/*")
        if answer.status != 200:
            raise SourceError(
                f"The source {self._name!r} ({self._base}) answered {path} with status {answer.status}. "
                "Is it a release repository?"
            )
        return answer.body

    def location(self, path: str) -> str:
        return f"{self._base}/{quote(path)}"


class ReleaseRepository:
    """A release repository, read only. Unsigned: it is trusted as much as the way to it."""

    def __init__(self, options: SourceOptions) -> None:
        self._name = options.name
        self._total_s = options.total_timeout_s
        self._files: Files
        if options.url.startswith("/"):
            self._files = FolderFiles(options)
        elif options.url.startswith(("http://", "https://")):
            self._files = HttpFiles(options)
        else:
            raise InvalidDeclaration(
                f"The source {options.name!r} is a release repository: its 'url' is an absolute path or an http(s) URL."
            )
        self._lock = threading.Lock()
        self._index: Optional[Index] = None

    def find(self, lookup: Lookup) -> Build:
        """See Source.find. The latest build is the one published last."""
        if lookup.id is not None and lookup.sha256 is not None:
            raise InvalidDeclaration("A build is looked up by its id or by its sha256, not by both.")
        if lookup.sha256 is None and not lookup.job:
            raise InvalidDeclaration("A look-up needs the name of a job, unless it is by sha256.")
        if lookup.sha256 is None and lookup.id is None and not lookup.platform:
            raise InvalidDeclaration(f"The latest build of {lookup.job!r} needs a platform.")
        deadline = Deadline(self._total_s)
        entry = self._chosen(self._whole_index(deadline), lookup)
        return self._build(entry, self._manifest(entry, deadline))

    def _chosen(self, index: Index, lookup: Lookup) -> IndexEntry:
        entries = [
            entry
            for entry in index.entries
            if lookup.job in (None, entry.job)
            and lookup.platform in (None, entry.platform)
            and lookup.id in (None, entry.id)
            and (lookup.sha256 is None or checked_sha256(lookup.sha256) == entry.image_sha256)
            and (lookup.channel is None or entry.id == _target(index, entry, lookup.channel))
        ]
        if not entries:
            raise BuildNotFound(f"The source {self._name!r} has no build with {_described(lookup)}.")
        return entries[-1]

    def _build(self, entry: IndexEntry, manifest: Manifest) -> Build:
        return build_of(manifest, self._name, self._files.location(_beside(entry, manifest.image)))

    def compare(self, old: Build, new: Build) -> ComparisonAnswer:
        """See Source.compare: computed here, from the inputs of both builds."""
        if old.sha256 == new.sha256:
            return ComparisonAnswer(ComparisonState.SAME, reason="Both builds have the same image.")
        deadline = Deadline(self._total_s)
        try:
            index = self._whole_index(deadline)
            inputs = [self._inputs(index, build, deadline) for build in (old, new)]
            found = comparison.compare(old.id, inputs[0], new.id, inputs[1], (old.size, new.size))
        except (BuildNotFound, comparison.NotComparable) as error:
            return ComparisonAnswer(ComparisonState.UNAVAILABLE, reason=str(error))
        except SourceError as error:
            return ComparisonAnswer(ComparisonState.UNKNOWN, reason=str(error))
        return ComparisonAnswer(ComparisonState.AVAILABLE, found)

    def _inputs(self, index: Index, build: Build, deadline: Deadline) -> comparison.Inputs:
        entry = next((entry for entry in index.entries if entry.id == build.id), None)
        if entry is None:
            raise BuildNotFound(f"The source {self._name!r} has no build {build.id or 'without an id'}.")
        manifest = self._manifest(entry, deadline)
        texts = []
        for name in comparison.INPUT_NAMES:
            file = manifest.inputs.get(name)
            if file is None:
                raise BuildNotFound(f"The build {build.id} of the source {self._name!r} was published without {name}.")
            texts.append(self._verified(_beside(entry, file), file, deadline).decode("utf-8", "replace"))
        return comparison.Inputs(*texts)

    def _whole_index(self, deadline: Deadline) -> Index:
        with self._lock:
            if self._index is None:
                content = self._files.read(INDEX_NAME, deadline)
                try:
                    self._index = parsed_index(content)
                except Misshapen as error:
                    raise self._misshapen(INDEX_NAME, error) from None
            return self._index

    def _manifest(self, entry: IndexEntry, deadline: Deadline) -> Manifest:
        content = self._verified(entry.manifest.path, entry.manifest, deadline)
        try:
            manifest = parsed_manifest(content)
        except Misshapen as error:
            raise self._misshapen(entry.manifest.path, error) from None
        told = (manifest.id, manifest.job, manifest.platform, manifest.serial, manifest.image.sha256)
        if told != (entry.id, entry.job, entry.platform, entry.serial, entry.image_sha256):
            raise SourceError(
                f"The source {self._name!r}: its index and {entry.manifest.path} contradict each other; publish again."
            )
        return manifest

    def _verified(self, path: str, file: StoredFile, deadline: Deadline) -> bytes:
        content = self._files.read(path, deadline)
        if len(content) != file.size or hashlib.sha256(content).hexdigest() != file.sha256:
            raise SourceError(
                f"The source {self._name!r}: {path} is not what the repository says it is (size or SHA-256): not used."
            )
        return content

    def _misshapen(self, path: str, error: Misshapen) -> SourceError:
        return SourceError(f"The source {self._name!r}: {path} is not usable: {error}.")


def _target(index: Index, entry: IndexEntry, channel: str) -> Optional[str]:
    return index.channels.get((entry.job, entry.platform, channel))


def _beside(entry: IndexEntry, file: StoredFile) -> str:
    """A file of a build, relative to the repository: its path is relative to where the manifest is."""
    return f"{entry.manifest.path.rpartition('/')[0]}/{file.path}"


def _described(lookup: Lookup) -> str:
    wanted = {
        "job": lookup.job,
        "platform": lookup.platform,
        "id": lookup.id,
        "sha256": lookup.sha256,
        "channel": lookup.channel,
    }
    return ", ".join(f"{name} {value!r}" for name, value in wanted.items() if value is not None)
