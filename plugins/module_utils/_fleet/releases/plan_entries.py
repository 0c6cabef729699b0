# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a plan is made of: what is declared, and what is to be done about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Optional

from ..sources.protocol import Lookup
from .proposal import Wanted

UNKNOWN_NODE = "?"
"""Where a unikernel is declared whose declaration does not say it."""


class PlanAction(str, Enum):
    UNCHANGED = "unchanged"
    DEPLOY = "deploy"
    UPDATE = "update"
    RECONFIGURE = "reconfigure"
    ADOPT = "adopt"
    MOVE = "move"
    STOP = "stop"
    REMOVE = "remove"
    HELD = "held"
    UNKNOWN = "unknown"


CHANGING = (
    PlanAction.DEPLOY,
    PlanAction.UPDATE,
    PlanAction.RECONFIGURE,
    PlanAction.ADOPT,
    PlanAction.MOVE,
    PlanAction.STOP,
)
"""Actions that the deployment play carries out."""

SWAPPING_IN = (PlanAction.DEPLOY, PlanAction.UPDATE, PlanAction.RECONFIGURE, PlanAction.MOVE)
"""Actions by which a release comes to run that did not."""

UNSATISFIED = (PlanAction.HELD, PlanAction.UNKNOWN)
"""Actions after which what is declared is not so, and nothing was done about it."""


@dataclass(frozen=True)
class Declared:
    """One unikernel as the inventory declares it."""

    host: str
    """Its name in the inventory."""
    name: str
    """Its name on its node."""
    node: str
    wanted: Wanted = Wanted.RUNNING
    lookup: Lookup = field(default_factory=Lookup)
    lookup_key: Optional[str] = None
    """Its entry among the builds that were looked up; None when no source is needed."""
    configuration: dict[str, Any] = field(default_factory=dict, metadata={"secret": True})
    """The given fields, encoded."""
    retry_failed: bool = False
    rehearse: bool = False
    """Whatever is swapped in is rehearsed first."""
    path: str = ""
    """On albatross. It is part of the name from which MACs are derived."""
    quarantine_bridge: Optional[str] = None
    """On albatross, for rehearsals."""
    error: Optional[str] = None
    """Why its declaration cannot be read."""


@dataclass(frozen=True)
class FieldChange:
    """One option of the configuration that changes."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True)
class PlanEntry:
    """What is to be done about one unikernel."""

    host: Optional[str]
    """None for what is not declared (any more)."""
    name: str
    node: str
    action: PlanAction
    reason: str
    release: Optional[dict[str, Any]] = None
    """What is confirmed on the node."""
    build: Optional[dict[str, Any]] = None
    """What is declared, as the source knows it."""
    comparison: Optional[dict[str, Any]] = None
    comparison_state: str = "not_asked"
    configuration: tuple[FieldChange, ...] = ()
    inherited: tuple[str, ...] = ()
    drift: tuple[str, ...] = ()
    moved_from: Optional[str] = None
    rehearsed: bool = False
    """It is rehearsed before it is swapped in."""
    unseen: Optional[str] = None
    """Why no check that needs the network can be made in its rehearsal; None: all can, as far as is known."""
    unguarded: Optional[str] = None
    """Why nobody is sure to end its trial; None: its guard is."""


@dataclass(frozen=True)
class Plan:
    """All entries, in the order of the inventory."""

    entries: tuple[PlanEntry, ...]
    undeclared: tuple[PlanEntry, ...] = ()
    """What we run on a node that was asked and nobody declares; acted upon only on request."""
    frozen: Mapping[str, str] = field(default_factory=dict)
    """Nodes that refuse all changes at present, and what they say about it."""

    @property
    def changing(self) -> tuple[str, ...]:
        """Inventory names for the deployment play."""
        return tuple(e.host for e in self.entries if e.action in CHANGING and e.host is not None)

    @property
    def unsatisfied(self) -> tuple[PlanEntry, ...]:
        return tuple(e for e in self.entries if e.action in UNSATISFIED)

    @property
    def summary(self) -> dict[str, int]:
        """How many declared unikernels there are of each action, and how many others are to be removed."""
        counts = Counter(entry.action for entry in self.entries)
        counts[PlanAction.REMOVE] += sum(entry.action is PlanAction.REMOVE for entry in self.undeclared)
        return {action.value: counts[action] for action in PlanAction}


NodeReports = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Node to name to what ``report.report`` says; a node that did not answer is missing."""
