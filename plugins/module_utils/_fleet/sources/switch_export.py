# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Switch exports of opam: which versions are installed, and how each package is defined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from .opam import Item, OpamSyntaxError, Value, strings
from .opam_parsing import parse


@dataclass(frozen=True)
class SwitchExport:
    """What ``opam switch export`` wrote: which versions are installed, and how each package is defined."""

    installed: dict[str, str]
    """Version by name."""
    roots: tuple[str, ...]
    """Names of the packages that were asked for."""
    definitions: dict[str, tuple[Item, ...]]
    """The opam file of each package, by name."""


def parse_switch_export(text: str) -> SwitchExport:
    """The export that the text is, or OpamSyntaxError."""
    file = parse(text)
    installed = _packages(file.variable("installed"), "installed")
    roots = _packages(file.variable("roots"), "roots")
    definitions = {}
    for section in file.sections("package"):
        if section.name is None:
            raise OpamSyntaxError("a package section without a name")
        definitions[section.name] = section.items
    return SwitchExport(dict(installed), tuple(name for name, _unused in roots), definitions)


def _packages(value: Optional[Value], where: str) -> tuple[tuple[str, str], ...]:
    packages = []
    for text in strings(value):
        # Names of opam packages hold no dot; versions do.
        name, dot, version = text.partition(".")
        if not name or not dot or not version:
            raise OpamSyntaxError(f"{text[:80]!r} in {where!r} is no package with a version")
        packages.append((name, version))
    return tuple(packages)
