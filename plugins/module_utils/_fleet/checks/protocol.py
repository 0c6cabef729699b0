# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a kind of check is: it tries once and says what it saw. When and how often is ``schedule``'s business."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Optional, Protocol

from ..model import Instance
from .model import CheckSpec, Outcome


@dataclass(frozen=True)
class Sighting:
    """What one attempt saw."""

    outcome: Outcome
    detail: str
    final: bool = False
    """No later attempt can see anything better: the process is gone, a library is missing."""
    silent: bool = False
    """A failure by silence: nothing answered, rightly or wrongly. Where a target may lack what it needs to come up, as
    in a rehearsal, that proves nothing against it."""


@dataclass(frozen=True)
class Surroundings:
    """What checks may look at besides the network. Both are None on the controller."""

    inspect: Optional[Callable[[], Optional[Instance]]] = None
    """The instance that is checked, freshly looked at; None when it is gone."""
    console: Optional[Callable[[int], tuple[str, ...]]] = None
    """The last N lines of its console."""


class Check(Protocol):
    """One kind of check, bound to its options."""

    def attempt(self, timeout_s: float) -> Sighting:
        """Try once, within the time-out. What the *target* does wrong is a FAIL with a detail; what hinders the
        check itself (a missing library, no permission) is INCONCLUSIVE. Anything raised counts as INCONCLUSIVE."""


class CheckKind(Protocol):
    """A line of the registry."""

    @property
    def kind(self) -> str: ...

    @property
    def node_only(self) -> bool:
        """It looks at the instance itself, so it can only be made from the node."""

    def spelled_out(self, value: Any) -> Any:
        """The options that a short form stands for (a URL, a port); anything else as it is."""

    def described(self, options: Mapping[str, Any]) -> str:
        """Validated options in a few words, without secrets: the second half of a check's default name."""

    def validated(self, options: Mapping[str, Any], address: Optional[str]) -> dict[str, Any]:
        """The options, completed with their defaults (``address`` is the default target), or InvalidDeclaration."""

    def require(self, options: Mapping[str, Any]) -> None:
        """Raise MissingLibrary when a check with these validated options cannot be made on this machine."""

    def bind(self, spec: CheckSpec, surroundings: Surroundings) -> Check: ...
