# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a person reads in ``--diff``: the release before and after, line by line, with what is inherited marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

_MOST_PACKAGES = 40


def diff_of(
    name: str,
    before: Optional[Mapping[str, Any]],
    after: Optional[Mapping[str, Any]],
    inherited: Sequence[str] = (),
    comparison: Optional[Mapping[str, Any]] = None,
    remarks: Sequence[str] = (),
) -> dict[str, str]:
    """The ``diff`` of a result from two releases as :func:`report.shown_release` gives them; ``remarks`` say how the
    one comes to take the place of the other."""
    secrets_changed = bool(before and after and before.get("secrets_digests") != after.get("secrets_digests"))
    after_lines = release_lines(after, inherited, secrets_changed)
    if comparison:
        after_lines += ["what is in the build:", *("  " + line for line in comparison_lines(comparison))]
    return {
        "before_header": f"{name} (what is)",
        "after_header": f"{name} (what is declared)",
        "before": _text(release_lines(before)),
        "after": _text([*after_lines, *remarks]),
    }


def release_lines(
    release: Optional[Mapping[str, Any]], inherited: Sequence[str] = (), secrets_changed: bool = False
) -> list[str]:
    """A release in lines of ``key: value``; secrets only by their number, and whether they changed."""
    if release is None:
        return ["state: absent"]
    build = release.get("build") or {}
    lines = [
        f"state: {'running' if release.get('running', True) else 'stopped'}",
        f"build: {build.get('job') or '?'} {build.get('id') or '?'}"
        + (f" ({build['platform']})" if build.get("platform") else ""),
        f"sha256: {release['image']['sha256']}",
        f"size: {release['image']['size']} bytes",
    ]
    for field, value in sorted(release["configuration"].items()):
        if value in (None, [], {}) or (isinstance(value, dict) and not any(v is not None for v in value.values())):
            continue
        shown = _shown(field, value, secrets_changed)
        lines.append(f"{field}: {shown}" + ("   (inherited)" if field in inherited else ""))
    return lines


def comparison_lines(comparison: Mapping[str, Any]) -> list[str]:
    """What lies between two builds, old to new, in lines."""
    lines: list[str] = []
    for title, key in (("package", "packages"), ("system package", "system_packages"), ("environment", "environment")):
        changes = comparison.get(key) or {}
        lines += [f"{title} {c['name']}: {c['before']} -> {c['after']}" for c in changes.get("changed", ())]
        lines += [f"{title} {c['name']}: new, {c['version']}" for c in changes.get("added", ())]
        lines += [f"{title} {c['name']}: gone, was {c['version']}" for c in changes.get("removed", ())]
    lines += [
        f"opam file of {c['package']} changed" for c in comparison.get("opam_files", ()) if not c["effectively_equal"]
    ]
    trees = comparison.get("source_trees") or {}
    lines += [f"source tree {name} changed" for name in trees.get("changed", ())]
    lines += [f"source tree {t['name']}: new, {t['version']}" for t in trees.get("added", ())]
    lines += [f"source tree {t['name']}: gone" for t in trees.get("removed", ())]
    sizes = comparison.get("size_before"), comparison.get("size_after")
    if None not in sizes and sizes[0] != sizes[1]:
        lines.append(f"size: {sizes[0]} -> {sizes[1]} bytes")
    if len(lines) > _MOST_PACKAGES:
        lines = [*lines[:_MOST_PACKAGES], f"and {len(lines) - _MOST_PACKAGES} more"]
    return lines


def _shown(field: str, value: Any, secrets_changed: bool) -> str:
    if field.startswith("secret_"):
        names = ", ".join(sorted(value)) if isinstance(value, Mapping) else f"{len(value)}"
        return f"{names} (hidden{', changed' if secrets_changed else ''})"
    if isinstance(value, Mapping):
        return ", ".join(f"{k}={v}" for k, v in sorted(value.items()) if v is not None)
    if isinstance(value, (list, tuple)):
        return " ".join(str(item) for item in value)
    return str(value)


def _text(lines: Sequence[str]) -> str:
    return "".join(line + "\n" for line in lines)
