# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a source of builds is, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Optional, Protocol

from ..model import Build


@dataclass(frozen=True)
class Lookup:
    """Which build is meant. Exactly one of ``id`` and ``sha256`` is given, or neither: the latest one."""

    job: Optional[str] = None
    """Needed unless a sha256 is given."""
    platform: Optional[str] = None
    """Needed for the latest one: without it the newest of *any* platform would win."""
    id: Optional[str] = None
    sha256: Optional[str] = None
    channel: Optional[str] = None
    """None: the builds as they come; sources without channels refuse any."""


@dataclass(frozen=True)
class VersionChange:
    name: str
    before: str
    after: str


@dataclass(frozen=True)
class NameAndVersion:
    name: str
    version: str


@dataclass(frozen=True)
class Changes:
    """How one list of versioned things became another. Always old to new, whatever the source calls its sides."""

    added: tuple[NameAndVersion, ...] = ()
    removed: tuple[NameAndVersion, ...] = ()
    changed: tuple[VersionChange, ...] = ()


@dataclass(frozen=True)
class OpamChange:
    """Same version, other opam file (another build recipe, other dependencies)."""

    package: str
    """``name.version``"""
    effectively_equal: bool
    diff: str
    """Unified diff; bounded."""


@dataclass(frozen=True)
class SourceTreeChanges:
    """What changed in the monorepo sources (``x-opam-monorepo-duniverse-dirs``)."""

    added: tuple[NameAndVersion, ...] = ()
    """``version`` is the URL."""
    removed: tuple[NameAndVersion, ...] = ()
    changed: tuple[str, ...] = ()
    error: Optional[str] = None
    """The source could not read its own data."""


@dataclass(frozen=True)
class Comparison:
    """What lies between two builds."""

    old: str
    """Build id."""
    new: str
    packages: Changes = Changes()
    """opam packages."""
    opam_files: tuple[OpamChange, ...] = ()
    source_trees: SourceTreeChanges = SourceTreeChanges()
    environment: Changes = Changes()
    system_packages: Changes = Changes()
    size_before: Optional[int] = None
    """Bytes."""
    size_after: Optional[int] = None


class ComparisonState(str, Enum):
    AVAILABLE = "available"
    UNAVAILABLE = "unavailable"
    """The source cannot compare these two (a build lacks its inputs): a state, not an error."""
    SAME = "same"
    """Equal images: nothing to compare."""
    UNKNOWN = "unknown"
    """The source did not answer."""
    NOT_ASKED = "not_asked"


@dataclass(frozen=True)
class ComparisonAnswer:
    state: ComparisonState
    comparison: Optional[Comparison] = None
    reason: str = ""


@dataclass(frozen=True)
class SourceOptions:
    """How a source is reached; one entry of ``unikernel_sources``."""

    name: str
    type: str
    """A key of the registry: ``builder_web``, ``release_repository``."""
    url: str
    """http(s) URL, or an absolute path where the type allows it."""
    username: Optional[str] = None
    password: Optional[str] = field(default=None, metadata={"secret": True})
    ca_path: Optional[str] = None
    """PEM file of a private CA."""
    validate_certs: bool = True
    proxy: Optional[str] = None
    """URL; None: the environment's proxies."""
    timeout_s: float = 15.0
    """Per request: to connect, and between two reads."""
    total_timeout_s: float = 120.0
    """Per look-up, retries included."""
    retries: int = 4
    """Further tries after the first, for connection errors and 5xx, with back-off."""


class Source(Protocol):
    """A place where builds come from. Safe for use from several threads.

    SourceError means *unknown* (no answer, no sense in it); BuildNotFound means that the source says no.
    """

    def find(self, lookup: Lookup) -> Build:
        """The one build that is meant, complete with sha256, size and a location by id."""

    def compare(self, old: Build, new: Build) -> ComparisonAnswer:
        """What lies between two builds; never raises for what a source merely cannot compare."""
