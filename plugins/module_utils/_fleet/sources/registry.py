# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The types of sources there are. A new one is a new file and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import FleetError, InvalidDeclaration
from ..model import Build
from .builder_web import BuilderWeb
from .protocol import ComparisonAnswer, ComparisonState, Lookup, Source, SourceOptions
from .release_repository import ReleaseRepository

SOURCES: dict[str, Callable[[SourceOptions], Source]] = {
    "builder_web": BuilderWeb,
    "release_repository": ReleaseRepository,
}


def open_source(options: SourceOptions) -> Source:
    """The source that the options describe; nothing is asked yet. InvalidDeclaration for options that cannot be."""
    kind = SOURCES.get(options.type)
    if kind is None:
        raise InvalidDeclaration(
            f"The source {options.name!r} is of the unknown type {options.type!r}; known are {', '.join(SOURCES)}."
        )
    if options.timeout_s <= 0 or options.total_timeout_s <= 0 or options.retries < 0:
        raise InvalidDeclaration(f"The source {options.name!r} has a time-out not above 0, or negative retries.")
    return kind(options)


def source_options(entries: Mapping[str, Any]) -> SourceOptions:
    """Options from an entry as modules get it: ``timeout`` and ``total_timeout`` in seconds; None means the default."""
    given = {key: value for key, value in entries.items() if value is not None}
    for key in ("timeout", "total_timeout"):
        if key in given:
            given[f"{key}_s"] = given.pop(key)
    try:
        return SourceOptions(**given)
    except TypeError as error:
        raise InvalidDeclaration(f"A source is described with unknown or missing options: {error}.") from None


def open_sources(entries: list[dict[str, Any]]) -> dict[str, Source]:
    """All sources by their names, which must differ. One that cannot be used is no reason to do without the others:
    it answers every question with why."""
    sources: dict[str, Source] = {}
    for entry in entries:
        options = source_options(entry)
        if options.name in sources:
            raise InvalidDeclaration(f"There are two sources named {options.name!r}.")
        try:
            sources[options.name] = open_source(options)
        except FleetError as error:
            sources[options.name] = Unusable(error)
    return sources


class Unusable:
    """Stands in for a source that is declared in a way that cannot work here."""

    def __init__(self, why: FleetError) -> None:
        self._why = why

    def find(self, lookup: Lookup) -> Build:
        raise self._why

    def compare(self, old: Build, new: Build) -> ComparisonAnswer:
        return ComparisonAnswer(ComparisonState.UNKNOWN, reason=str(self._why))
