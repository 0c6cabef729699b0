# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a check is, and what comes of it, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Optional


class Outcome(str, Enum):
    """The three verdicts: an error of the check itself is ``inconclusive``, never a crash and never a pass."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


class Vantage(str, Enum):
    """From where a check looks."""

    NODE = "node"
    CONTROLLER = "controller"


@dataclass(frozen=True)
class CheckSpec:
    """One declared test of liveliness."""

    kind: str
    """A key of the registry: ``http``, ``dns``, ``tcp``, ``process``, ``console``."""
    name: str
    """Unique among the checks of a unikernel; for people."""
    required: bool = True
    """False: ``wanted``; it reports and decides nothing."""
    vantage: Vantage = Vantage.NODE
    timeout_s: float = 5.0
    """Per attempt."""
    options: dict[str, Any] = field(default_factory=dict, metadata={"secret": True})
    """The options of its kind, validated when the declaration was read. They may hold credentials."""


@dataclass(frozen=True)
class Schedule:
    """When a set of checks is tried, and when it is enough."""

    deadline_s: float = 30.0
    """From the start: by then all required checks must have been passing for ``stable_for_s``."""
    stable_for_s: float = 3.0
    """All required checks must pass, without one failing, for that long."""
    consecutive: int = 2
    """And each required check at least that often in a row."""
    delays_s: tuple[float, ...] = (1.0, 1.0, 1.0, 2.0, 3.0, 3.0, 4.0, 5.0)
    """Between attempts, while a check fails; the last one repeats. The first attempt is made at once."""
    interval_s: float = 1.0
    """Between attempts, while a check passes."""


@dataclass(frozen=True)
class Attempt:
    """One try of one check."""

    at_s: float
    """Seconds since the checking began."""
    outcome: Outcome
    latency_s: float
    detail: str
    """What was seen, in words; bounded; no secret."""


@dataclass(frozen=True)
class CheckResult:
    """All that is known of one check."""

    name: str
    kind: str
    required: bool
    outcome: Outcome
    attempts: tuple[Attempt, ...] = ()
    """The first few and the last ones."""
    attempts_left_out: int = 0
    """How many were made between those."""
    answered: bool = False
    """At least one attempt had an answer, right or wrong."""


@dataclass(frozen=True)
class Verdict:
    """What the checks say together."""

    outcome: Outcome
    reason: str
    """One sentence that names the checks which decided."""
    duration_s: float = 0.0
    results: tuple[CheckResult, ...] = ()
    instance: Optional[str] = None
    """Identity of the instance that was checked; a confirmation counts only while that one still runs."""
