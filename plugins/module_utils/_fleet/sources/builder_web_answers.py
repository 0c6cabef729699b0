# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What builder-web's JSON means, read strictly: what does not have the known shape is an error, never a guess."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Optional, TypeVar
from uuid import UUID

from ..errors import SourceError
from ..model import SHA256_PATTERN, Abi, Device
from .protocol import Changes, Comparison, NameAndVersion, OpamChange, SourceTreeChanges, VersionChange

T = TypeVar("T")

UUID_PATTERN = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
TIME_PATTERN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
MAX_NAME = 255
MAX_SIZE = 2**40
MAX_DIFF = 64 * 1024
"""Characters of one opam file's diff that are kept."""


class Misshapen(SourceError):
    """An answer that is no JSON, or JSON of another shape."""


@dataclass(frozen=True)
class ListedBinary:
    """One entry of ``/job/J``: a main binary, and the newest build that has it (maybe another job's)."""

    id: str
    filename: str
    sha256: str
    size: int


@dataclass(frozen=True)
class BuildAnswer:
    """``/job/J/build/U``. The job in it only echoes the path, so it is not kept."""

    id: str
    platform: str
    started_at: str
    finished_at: str
    main_binary: bool
    abi: Optional[Abi]
    devices: Optional[tuple[Device, ...]]


def parsed_json(body: bytes, media_type: str) -> Any:
    """The JSON value, or Misshapen; a page is never quoted."""
    if media_type != "application/json":
        raise Misshapen(f"JSON was asked for, and {media_type or 'something without a content type'} came")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Misshapen("what came as JSON cannot be parsed") from None


def listing(data: Any) -> tuple[ListedBinary, ...]:
    """``/job/J``; failed builds (no main binary) are left out."""
    binaries = []
    for i, entry in enumerate(_list(_field(data, "builds", "the listing"), "builds")):
        where = f"builds[{i}]"
        binary = _field(entry, "main_binary", where)
        if binary is None:
            continue
        binaries.append(
            ListedBinary(
                id=_uuid(_field(entry, "uuid", where), where),
                filename=file_name(_field(binary, "filename", where), where),
                sha256=_sha256(_field(binary, "sha256", where), where),
                size=_size(_field(binary, "size", where), where),
            )
        )
    return tuple(binaries)


def build(data: Any) -> BuildAnswer:
    """``/job/J/build/U``."""
    where = "the build"
    return BuildAnswer(
        id=_uuid(_field(data, "uuid", where), where),
        platform=_text(_field(data, "platform", where), "platform", MAX_NAME),
        started_at=_time(_field(data, "start_time", where)),
        finished_at=_time(_field(data, "finish_time", where)),
        main_binary=_bool(_field(data, "main_binary", where), "main_binary"),
        abi=_optional(data, "solo5_abi", _abi),
        devices=_optional(data, "solo5_manifest", _devices),
    )


def comparison(data: Any, old: str, new: str) -> Comparison:
    """``/compare/OLD/NEW``, with the swapped labels of env_diff and package_diff undone."""
    left, right = _field(data, "left", "the comparison"), _field(data, "right", "the comparison")
    if _uuid(_field(left, "uuid", "left"), "left") != old or _uuid(_field(right, "uuid", "right"), "right") != new:
        raise Misshapen("the comparison is of other builds than those asked for")
    opam = _field(data, "opam_diff", "the comparison")
    return Comparison(
        old=old,
        new=new,
        packages=Changes(
            added=_versions(_field(opam, "only_in_right", "opam_diff"), "only_in_right"),
            removed=_versions(_field(opam, "only_in_left", "opam_diff"), "only_in_left"),
            changed=_version_changes(_field(opam, "version_diff", "opam_diff"), "version_diff"),
        ),
        opam_files=_opam_files(_field(opam, "opam_diff", "opam_diff")),
        source_trees=_source_trees(_field(opam, "duniverse_diff", "opam_diff")),
        environment=_swapped(_field(data, "env_diff", "the comparison"), "env_diff"),
        system_packages=_swapped(_field(data, "package_diff", "the comparison"), "package_diff"),
        size_before=_optional(left, "main_binary_size", _size),
        size_after=_optional(right, "main_binary_size", _size),
    )


def file_name(value: Any, where: str) -> str:
    """A bare file name: nothing that could leave a folder or change the meaning of a URL."""
    name = _text(value, f"the file name of {where}", MAX_NAME)
    if name in ("", ".", "..") or "/" in name or not name.isprintable():
        raise Misshapen(f"{where} names a file that is no bare file name")
    return name


def _swapped(data: Any, where: str) -> Changes:
    # builder-web labels what it calls (added, removed, changed) as (left, right, different): added is "left".
    return Changes(
        added=_versions(_field(data, "left_packages", where), where),
        removed=_versions(_field(data, "right_packages", where), where),
        changed=_version_changes(_field(data, "different_versions", where), where),
    )


def _versions(data: Any, where: str, version: str = "version") -> tuple[NameAndVersion, ...]:
    found = (
        NameAndVersion(_text(_field(item, "name", where), where), _text(_field(item, version, where), where))
        for item in _list(data, where)
    )
    return tuple(sorted(found, key=lambda item: (item.name, item.version)))


def _version_changes(data: Any, where: str) -> tuple[VersionChange, ...]:
    found = (
        VersionChange(
            name=_text(_field(item, "name", where), where),
            before=_text(_field(item, "version_left", where), where),
            after=_text(_field(item, "version_right", where), where),
        )
        for item in _list(data, where)
    )
    return tuple(sorted(found, key=lambda change: change.name))


def _opam_files(data: Any) -> tuple[OpamChange, ...]:
    where = "opam_diff"
    found = (
        OpamChange(
            package=_text(_field(item, "package_version", where), where),
            effectively_equal=_bool(_field(item, "effectively_equal", where), where),
            diff=_old_and_new(_text(_field(item, "diff", where), where, None)[:MAX_DIFF]),
        )
        for item in _list(data, where)
    )
    return tuple(sorted(found, key=lambda change: change.package))


def _old_and_new(diff: str) -> str:
    """Label the two sides as everywhere else here."""
    lines = diff.split("\n")
    if len(lines) > 1 and lines[0].startswith("--- left/") and lines[1].startswith("+++ right/"):
        lines[0] = "--- old/" + lines[0][len("--- left/") :]
        lines[1] = "+++ new/" + lines[1][len("+++ right/") :]
    return "\n".join(lines)


def _source_trees(data: Any) -> SourceTreeChanges:
    if isinstance(data, str):
        return SourceTreeChanges(error=data[:500])
    where = "duniverse_diff"
    changed = (_text(_field(i, "name", where), where) for i in _list(_field(data, "detailed_diff", where), where))
    return SourceTreeChanges(
        added=_versions(_field(data, "right", where), where, "value"),
        removed=_versions(_field(data, "left", where), where, "value"),
        changed=tuple(sorted(changed)),
    )


def _abi(data: Any, where: str) -> Abi:
    target = _text(_field(data, "target", where), where, 20)
    version = _field(data, "version", where)
    if not isinstance(version, int) or isinstance(version, bool):
        raise Misshapen(f"the version in {where} is no number")
    return Abi(target=target, version=version)


def _devices(data: Any, where: str) -> tuple[Device, ...]:
    return tuple(
        Device(name=_text(_field(item, "name", where), where), type=_text(_field(item, "type", where), where))
        for item in _list(_field(data, "devices", where), where)
    )


def _optional(data: Any, name: str, read: Callable[[Any, str], T]) -> Optional[T]:
    value = data.get(name) if isinstance(data, dict) else None
    return None if value is None else read(value, name)


def _field(data: Any, name: str, where: str) -> Any:
    if not isinstance(data, dict) or name not in data:
        raise Misshapen(f"{name!r} is missing in {where}")
    return data[name]


def _list(data: Any, where: str) -> list[Any]:
    if not isinstance(data, list):
        raise Misshapen(f"{where} is no list")
    return data


def _text(data: Any, where: str, longest: Optional[int] = 4096) -> str:
    if not isinstance(data, str) or (longest is not None and len(data) > longest):
        raise Misshapen(f"{where} holds no text of sensible length where one is needed")
    return data


def _bool(data: Any, where: str) -> bool:
    if not isinstance(data, bool):
        raise Misshapen(f"{where} is neither true nor false")
    return data


def _uuid(data: Any, where: str) -> str:
    if not is_uuid(data):
        raise Misshapen(f"the uuid of {where} is none")
    return str(UUID(data))


def is_uuid(data: Any) -> bool:
    return isinstance(data, str) and UUID_PATTERN.fullmatch(data.lower()) is not None


def _sha256(data: Any, where: str) -> str:
    if not isinstance(data, str) or not SHA256_PATTERN.fullmatch(data.lower()):
        raise Misshapen(f"the sha256 of {where} is none")
    return data.lower()


def _size(data: Any, where: str) -> int:
    if not isinstance(data, int) or isinstance(data, bool) or not 0 <= data <= MAX_SIZE:
        raise Misshapen(f"the size of {where} is none")
    return data


def _time(data: Any) -> str:
    text = _text(data, "a time", 64)
    if not TIME_PATTERN.fullmatch(text):
        raise Misshapen("a time is not in the form of RFC 3339")
    return text
