# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The two documents of a release repository: its index, and one manifest per build.

A release repository is a folder of files, by path or behind any web server::

    index.json                        which builds there are, per job and platform, and what the channels point at
    builds/<id>/manifest.json         what one build is; never changed once it is in the index
    builds/<id>/image/<filename>      its image
    builds/<id>/inputs/<name>         what it was made from, as builder-web keeps it

The index names each manifest's SHA-256, and a manifest those of its files, so that a signature over the index or over
a manifest vouches for all of it. What is to come has its place already: signatures lie beside what they sign
(``index.json.sig``, ``manifest.json.sig``), ``serial`` only ever grows, ``not_after`` is when a document ends to be
good (null: never), ``deltas`` lists ways to an image from another one. Unknown keys are left alone, an unknown
``version`` is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Optional

from ..errors import SourceError
from ..model import SHA256_PATTERN, Abi, Build, Device

INDEX_FORMAT = "unikernel-release-repository"
MANIFEST_FORMAT = "unikernel-build"
VERSION = 1
INDEX_NAME = "index.json"
MANIFEST_NAME = "manifest.json"
MAX_SIZE = 2**40
LABEL_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}", re.ASCII)
"""Jobs, platforms, channels and build ids: they become parts of paths."""
FILE_NAME_PATTERN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+@-]{0,199}", re.ASCII)


class Misshapen(SourceError):
    """A document that is no JSON, of another format, or not safe to follow."""


@dataclass(frozen=True)
class StoredFile:
    """A file of a build."""

    path: str
    """Relative to the folder of the build; never leaves it."""
    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """What one build is."""

    id: str
    job: str
    platform: str
    serial: int
    image: StoredFile
    started_at: Optional[str] = None
    finished_at: Optional[str] = None
    abi: Optional[Abi] = None
    devices: Optional[tuple[Device, ...]] = None
    inputs: Mapping[str, StoredFile] = field(default_factory=dict)

    @property
    def filename(self) -> str:
        return PurePosixPath(self.image.path).name


def build_of(manifest: Manifest, source: str, location: str) -> Build:
    """The build that it describes, as ``source`` tells of it."""
    return Build(
        source=source,
        job=manifest.job,
        id=manifest.id,
        platform=manifest.platform,
        sha256=manifest.image.sha256,
        size=manifest.image.size,
        filename=manifest.filename,
        location=location,
        started_at=manifest.started_at,
        finished_at=manifest.finished_at,
        abi=manifest.abi,
        devices=manifest.devices,
    )


@dataclass(frozen=True)
class IndexEntry:
    """A build as the index lists it."""

    id: str
    job: str
    platform: str
    serial: int
    manifest: StoredFile
    """Its path is relative to the repository."""
    image_sha256: str


@dataclass(frozen=True)
class Index:
    """All builds, in the order of their serials, and where the channels point."""

    serial: int
    entries: tuple[IndexEntry, ...]
    channels: Mapping[tuple[str, str, str], str]
    """(job, platform, channel) to build id."""


def parsed_index(body: bytes) -> Index:
    """The index in a file, or Misshapen."""
    data = document(body, INDEX_FORMAT, "the index")
    entries: list[IndexEntry] = []
    channels = {}
    for job, about_job in _mapping(data, "jobs", "the index").items():
        for platform, about_platform in _mapping(about_job, "platforms", job).items():
            label(job), label(platform)
            builds = _get(about_platform, "builds", platform)
            if not isinstance(builds, list):
                raise Misshapen(f"the builds of {job} for {platform} are no list")
            entries.extend(_entry(job, platform, build) for build in builds)
            for channel, target in _mapping(about_platform, "channels", platform).items():
                channels[(job, platform, label(channel))] = label(_get(target, "build", f"the channel {channel}"))
    return Index(_serial(data, "the index"), tuple(sorted(entries, key=lambda entry: entry.serial)), channels)


def parsed_manifest(body: bytes) -> Manifest:
    """The manifest in a file, or Misshapen."""
    where = "the manifest"
    data = document(body, MANIFEST_FORMAT, where)
    inputs = _mapping(data, "inputs", where)
    abi, devices = data.get("abi"), data.get("devices")
    return Manifest(
        id=label(_get(data, "id", where)),
        job=label(_get(data, "job", where)),
        platform=label(_get(data, "platform", where)),
        serial=_serial(data, where),
        image=_file(_get(data, "image", where), "the image"),
        started_at=_optional_text(data, "started_at"),
        finished_at=_optional_text(data, "finished_at"),
        abi=None if abi is None else Abi(_text(_get(abi, "target", "abi"), "abi"), _number(abi, "version", "abi")),
        devices=None if devices is None else tuple(_device(device) for device in _listed(devices)),
        inputs={_file_name(name): _file(about, name) for name, about in inputs.items()},
    )


def manifest_document(manifest: Manifest) -> dict[str, Any]:
    """The manifest as it is written."""
    abi, devices = manifest.abi, manifest.devices
    return {
        "format": MANIFEST_FORMAT,
        "version": VERSION,
        "id": manifest.id,
        "job": manifest.job,
        "platform": manifest.platform,
        "serial": manifest.serial,
        "started_at": manifest.started_at,
        "finished_at": manifest.finished_at,
        "not_after": None,
        "image": {**_stored(manifest.image), "filename": manifest.filename},
        "abi": None if abi is None else {"target": abi.target, "version": abi.version},
        "devices": None if devices is None else [{"name": d.name, "type": d.type} for d in devices],
        "inputs": {name: _stored(file) for name, file in sorted(manifest.inputs.items())},
        "deltas": [],
    }


def written(document: Mapping[str, Any]) -> bytes:
    """A document as bytes: for people to read, and always the same for the same content."""
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode("utf-8")


def label(value: Any) -> str:
    """A name that may become part of a path, or Misshapen."""
    if not isinstance(value, str) or not LABEL_PATTERN.fullmatch(value) or ".." in value:
        raise Misshapen(f"{str(value)[:80]!r} is no name for a job, platform, channel or build")
    return value


def inner_path(value: Any, where: str) -> str:
    """A relative path that stays below where it starts, or Misshapen."""
    parts = value.split("/") if isinstance(value, str) else []
    if not parts or not all(FILE_NAME_PATTERN.fullmatch(part) and part != ".." for part in parts):
        raise Misshapen(f"the path of {where} is not one below its folder: {str(value)[:80]!r}")
    return str(value)


def document(body: bytes, expected_format: str, where: str) -> dict[str, Any]:
    """The JSON of a document of that format and version, or Misshapen."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise Misshapen(f"{where} is no JSON") from None
    if not isinstance(data, dict) or data.get("format") != expected_format:
        raise Misshapen(f"{where} is not of the format {expected_format!r}")
    if data.get("version") != VERSION:
        raise Misshapen(
            f"{where} has version {str(data.get('version'))[:20]}, and this collection reads version {VERSION}: "
            "use a newer collection"
        )
    return data


def _entry(job: str, platform: str, data: Any) -> IndexEntry:
    build_id = label(_get(data, "id", "a build"))
    return IndexEntry(
        id=build_id,
        job=job,
        platform=platform,
        serial=_serial(data, build_id),
        manifest=_file(_get(data, "manifest", build_id), "the manifest"),
        image_sha256=_sha256(_get(data, "image_sha256", build_id), build_id),
    )


def _file(data: Any, where: str) -> StoredFile:
    size = _number(data, "size", where)
    if not 0 <= size <= MAX_SIZE:
        raise Misshapen(f"the size of {where} is none")
    return StoredFile(inner_path(_get(data, "path", where), where), _sha256(_get(data, "sha256", where), where), size)


def _stored(file: StoredFile) -> dict[str, Any]:
    return {"path": file.path, "sha256": file.sha256, "size": file.size}


def _device(data: Any) -> Device:
    return Device(_text(_get(data, "name", "a device"), "a device"), _text(_get(data, "type", "a device"), "a device"))


def _listed(data: Any) -> list[Any]:
    if not isinstance(data, list):
        raise Misshapen("the devices are no list")
    return data


def _file_name(value: str) -> str:
    if not FILE_NAME_PATTERN.fullmatch(value):
        raise Misshapen(f"{value[:80]!r} is no name of an input")
    return value


def _get(data: Any, name: str, where: str) -> Any:
    if not isinstance(data, dict) or name not in data:
        raise Misshapen(f"{name!r} is missing in {where}")
    return data[name]


def _mapping(data: Any, name: str, where: str) -> dict[str, Any]:
    value = _get(data, name, where)
    if not isinstance(value, dict):
        raise Misshapen(f"{name!r} in {where} is no mapping")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or len(value) > 4096:
        raise Misshapen(f"{where} holds no text of sensible length where one is needed")
    return value


def _optional_text(data: Mapping[str, Any], name: str) -> Optional[str]:
    value = data.get(name)
    return None if value is None else _text(value, name)


def _number(data: Any, name: str, where: str) -> int:
    value = _get(data, name, where)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Misshapen(f"{name!r} in {where} is no whole number")
    return value


def _serial(data: Any, where: str) -> int:
    return _number(data, "serial", where)


def _sha256(value: Any, where: str) -> str:
    if not isinstance(value, str) or not SHA256_PATTERN.fullmatch(value):
        raise Misshapen(f"the sha256 of {where} is none")
    return value
