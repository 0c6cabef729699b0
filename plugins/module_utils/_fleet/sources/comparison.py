# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What lies between two builds, computed from the inputs that builds keep.

Means the same as builder-web's ``/compare``, but names its sides old and new, and shows opam files of equal meaning
that read differently too (builder-web leaves those out).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from . import opam
from .opam_printing import printed
from .protocol import Changes, Comparison, NameAndVersion, OpamChange, SourceTreeChanges, VersionChange
from .switch_export import SwitchExport, parse_switch_export

OPAM_SWITCH = "opam-switch"
BUILD_ENVIRONMENT = "build-environment"
SYSTEM_PACKAGES = "system-packages"
INPUT_NAMES = (OPAM_SWITCH, BUILD_ENVIRONMENT, SYSTEM_PACKAGES)
"""Names of the files that builder-web keeps of what a build was made from."""

MAX_DIFF = 64 * 1024
"""Characters of one opam file's diff that are kept."""
SOURCE_TREES = "x-opam-monorepo-duniverse-dirs"
HASH_PATTERN = re.compile(r"(md5|sha256|sha512)=[0-9a-f]+", re.ASCII | re.IGNORECASE)

EFFECTIVE_FIELDS = frozenset(
    [
        "name",
        "version",
        "depends",
        "depopts",
        "conflicts",
        "conflict-class",
        "available",
        "flags",
        "setenv",
        "build",
        "build-test",
        "run-test",
        "install",
        "remove",
        "substs",
        "patches",
        "build-env",
        "features",
        "extra-files",
        "build-doc",
        "x-env-path-rewrite",
    ]
)
"""Fields that what is built depends on, as opam counts them (``effective_part``)."""
COMMAND_FIELDS = frozenset(("build", "build-test", "run-test", "install", "remove", "build-doc"))
EFFECTIVE_FLAGS = ("plugin",)


class NotComparable(ValueError):
    """The inputs of a build cannot be read; the message says which and why."""


@dataclass(frozen=True)
class Inputs:
    """What a build was made from, as text."""

    opam_switch: str
    build_environment: str
    system_packages: str


def compare(old_id: str, old: Inputs, new_id: str, new: Inputs, sizes: tuple[int, int]) -> Comparison:
    """From old to new; sizes of the two images in bytes. NotComparable when an opam switch does not parse."""
    before, after = _switch(old_id, old), _switch(new_id, new)
    return Comparison(
        old=old_id,
        new=new_id,
        packages=_changes(before.installed, after.installed),
        opam_files=_opam_files(before, after),
        source_trees=_source_trees(before, after),
        environment=_changes(environment(old.build_environment), environment(new.build_environment)),
        system_packages=_changes(packages(old.system_packages), packages(new.system_packages)),
        size_before=sizes[0],
        size_after=sizes[1],
    )


def environment(text: str) -> dict[str, str]:
    """``KEY=VALUE`` lines; a line without ``=`` is a key with an empty value."""
    return {key: value for key, _unused, value in (line.partition("=") for line in _lines(text))}


def packages(text: str) -> dict[str, str]:
    """``name=version`` lines; where there is no ``=``, the first ``-`` separates, as builder-web reads it."""
    found = {}
    for line in _lines(text):
        separator = "=" if "=" in line else "-"
        name, _unused, version = line.partition(separator)
        found[name] = version
    return found


def _lines(text: str) -> list[str]:
    return [line for line in text.split("\n") if line]


def _switch(build_id: str, inputs: Inputs) -> SwitchExport:
    try:
        return parse_switch_export(inputs.opam_switch)
    except opam.OpamSyntaxError as error:
        raise NotComparable(f"the {OPAM_SWITCH} of the build {build_id} cannot be read: {error}") from None


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> Changes:
    return Changes(
        added=tuple(NameAndVersion(name, after[name]) for name in sorted(after) if name not in before),
        removed=tuple(NameAndVersion(name, before[name]) for name in sorted(before) if name not in after),
        changed=tuple(
            VersionChange(name, before[name], after[name])
            for name in sorted(before)
            if name in after and before[name] != after[name]
        ),
    )


# --- opam files of packages that kept their version --------------------------------------------


def _opam_files(before: SwitchExport, after: SwitchExport) -> tuple[OpamChange, ...]:
    changes = []
    for name, version in before.installed.items():
        old, new = before.definitions.get(name), after.definitions.get(name)
        if after.installed.get(name) != version or old is None or new is None or old == new:
            continue
        diff = _diff(name, printed(old), printed(new))
        if diff:
            changes.append(OpamChange(f"{name}.{version}", effective_part(old) == effective_part(new), diff))
    return tuple(sorted(changes, key=lambda change: change.package))


def _diff(name: str, old: str, new: str) -> str:
    lines = difflib.unified_diff(
        old.splitlines(), new.splitlines(), f"old/{name}/opam", f"new/{name}/opam", lineterm=""
    )
    return "\n".join(lines)[:MAX_DIFF]


def effective_part(items: Sequence[opam.Item]) -> dict[str, object]:
    """What two opam files must share to build the same: no descriptions, no maintainers, no mirrors."""
    effective: dict[str, object] = {}
    for item in items:
        if isinstance(item, opam.Variable):
            if item.name in EFFECTIVE_FIELDS and (value := _normal(item.name, item.value)):
                effective[item.name] = value
        elif item.kind in ("url", "extra-source"):
            effective[f"{item.kind} {item.name or ''}"] = _origin_of(item)
    return effective


def _normal(name: str, value: opam.Value) -> tuple[opam.Value, ...]:
    """Lists, where a lone value is the same as a list of one; commands, where a lone command is a list of one."""
    items = value.items if isinstance(value, opam.List) else (value,)
    if name in COMMAND_FIELDS:
        if items and not any(_is_command(item) for item in items):
            items = (opam.List(items),)
        return tuple(item for item in items if item != opam.List(()))
    if name == "flags":
        return tuple(item for item in items if isinstance(item, opam.Identifier) and item.name in EFFECTIVE_FLAGS)
    return items


def _is_command(value: opam.Value) -> bool:
    return isinstance(value.value if isinstance(value, opam.Option) else value, opam.List)


def _origin_of(section: opam.Section) -> object:
    """The first checksum, where there is one, stands for the content, wherever it comes from."""
    fields = {item.name: item.value for item in section.items if isinstance(item, opam.Variable)}
    checksums = opam.strings(fields.get("checksum"))
    if checksums:
        return checksums[0]
    return opam.strings(fields.get("src") or fields.get("http") or fields.get("git") or fields.get("archive"))


# --- sources of the monorepo --------------------------------------------------------------------


@dataclass(frozen=True)
class _Tree:
    url: str
    hashes: frozenset[str]


def _source_trees(before: SwitchExport, after: SwitchExport) -> SourceTreeChanges:
    try:
        old, new = _trees(before), _trees(after)
    except NotComparable as error:
        return SourceTreeChanges(error=str(error))
    return SourceTreeChanges(
        added=tuple(NameAndVersion(name, new[name].url) for name in sorted(new) if name not in old),
        removed=tuple(NameAndVersion(name, old[name].url) for name in sorted(old) if name not in new),
        changed=tuple(name for name in sorted(old) if name in new and not _same_tree(old[name], new[name])),
    )


def _same_tree(old: _Tree, new: _Tree) -> bool:
    """Equal hashes are equal sources wherever they come from; without any (a git remote) the URL decides."""
    if old.hashes and new.hashes:
        return old.hashes == new.hashes
    return not old.hashes and not new.hashes and old.url == new.url


def _trees(switch: SwitchExport) -> dict[str, _Tree]:
    if len(switch.roots) != 1:
        raise NotComparable("not a single root package in the opam switch export")
    definition = switch.definitions.get(switch.roots[0])
    if definition is None:
        raise NotComparable("the opam switch export does not contain its main package")
    value = opam.File(definition).variable(SOURCE_TREES)
    if value is None:
        return {}
    if not isinstance(value, opam.List):
        raise NotComparable(f"{SOURCE_TREES} is no list")
    trees = {}
    for entry in value.items:
        name, tree = _tree(entry)
        trees[name] = tree
    return trees


def _tree(entry: opam.Value) -> tuple[str, _Tree]:
    """``[ URL DIRECTORY [ HASH* ] ]``, the hashes optional."""
    parts = entry.items if isinstance(entry, opam.List) else ()
    url, folder = _text(parts, 0), _text(parts, 1)
    if url is None or folder is None or len(parts) > 3:
        raise NotComparable(f"an entry of {SOURCE_TREES} is not of the form [ URL DIRECTORY [ HASHES ] ]")
    if len(parts) == 2:
        return folder, _Tree(url, frozenset())
    hashes = opam.strings(parts[2])
    if not isinstance(parts[2], opam.List) or len(hashes) != len(parts[2].items):
        raise NotComparable(f"the hashes of {folder!r} in {SOURCE_TREES} cannot be read")
    for text in hashes:
        if not HASH_PATTERN.fullmatch(text):
            raise NotComparable(f"{text[:80]!r} in {SOURCE_TREES} is no hash")
    return folder, _Tree(url, frozenset(text.lower() for text in hashes))


def _text(parts: Sequence[opam.Value], index: int) -> Optional[str]:
    part = parts[index] if index < len(parts) else None
    return part.text if isinstance(part, opam.String) else None
