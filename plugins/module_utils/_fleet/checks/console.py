# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The check ``console``: what the unikernel printed has what it must have, and nothing that it must not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Optional

from .. import codec
from ..errors import InvalidDeclaration
from .bounded import bounded
from .deadline import Deadline, OutOfTime
from .matching import CannotMatch, found
from .model import CheckSpec, Outcome
from .options import Options
from .protocol import Check, Sighting, Surroundings

MAX_CHARACTERS = 262144


@dataclass(frozen=True)
class ConsoleOptions:
    must_match: tuple[str, ...] = ()
    """Regular expressions, each to be found; '^' and '$' match at every line."""
    must_not_match: tuple[str, ...] = ()
    """Regular expressions of which none may be found."""
    lines: int = 200
    """Of the end of the console."""


@dataclass(frozen=True)
class ConsoleCheck:
    options: ConsoleOptions
    console: Optional[Callable[[int], tuple[str, ...]]]

    def attempt(self, timeout_s: float) -> Sighting:
        if self.console is None:
            return Sighting(Outcome.INCONCLUSIVE, "the console can only be read on the node", final=True)
        deadline = Deadline.after(timeout_s)
        text = "\n".join(self.console(self.options.lines))[-MAX_CHARACTERS:]
        patterns = [*self.options.must_not_match, *self.options.must_match]
        try:
            seen = dict(zip(patterns, found(patterns, text, deadline)))
        except OutOfTime:
            return Sighting(Outcome.INCONCLUSIVE, f"matching the console took longer than {timeout_s:g} s")
        except CannotMatch as error:
            return Sighting(Outcome.INCONCLUSIVE, str(error))
        for pattern in self.options.must_not_match:
            if seen[pattern]:
                # What is printed stays printed: waiting would only lengthen the outage.
                return Sighting(Outcome.FAIL, f"the console has {pattern!r}, which it must not have", final=True)
        missing = [pattern for pattern in self.options.must_match if not seen[pattern]]
        if missing:
            last = bounded(text.rpartition("\n")[2], 80) or "nothing"
            detail = f"the console does not have {missing[0]!r} (its last line: {last})"
            return Sighting(Outcome.FAIL, detail, silent=True)
        return Sighting(Outcome.PASS, "the console has what it must have, and nothing that it must not")


@dataclass(frozen=True)
class ConsoleKind:
    kind: str = "console"
    node_only: bool = True

    def spelled_out(self, value: Any) -> Any:
        """A bare text is a pattern that must appear."""
        return {"must_match": value} if isinstance(value, str) else value

    def validated(self, options: Mapping[str, Any], address: Optional[str]) -> dict[str, Any]:
        given = Options(options)
        validated = ConsoleOptions(
            must_match=given.patterns("must_match"),
            must_not_match=given.patterns("must_not_match"),
            lines=given.integer("lines", 200, 1, 10000),
        )
        given.done()
        if not validated.must_match and not validated.must_not_match:
            raise InvalidDeclaration("must_match or must_not_match is missing: there is nothing to look for.")
        return dict(codec.encode(validated))

    def described(self, options: Mapping[str, Any]) -> str:
        patterns = [*options["must_match"], *(f"not {pattern}" for pattern in options["must_not_match"])]
        return bounded(", ".join(patterns), 80)

    def require(self, options: Mapping[str, Any]) -> None:
        """Nothing but the standard library."""

    def bind(self, spec: CheckSpec, surroundings: Surroundings) -> Check:
        return ConsoleCheck(codec.decode(ConsoleOptions, spec.options), surroundings.console)
