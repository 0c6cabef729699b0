# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The check ``process``: the instance lives, is still the one that was there first, and does not spin."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from .. import codec
from ..model import Instance
from .model import CheckSpec, Outcome
from .options import Options
from .protocol import Check, Sighting, Surroundings

_SHORTEST_INTERVAL_S = 0.2
"""Between two readings of the CPU time: its clock ticks are too coarse for less."""


@dataclass(frozen=True)
class ProcessOptions:
    max_restarts: int = 0
    max_cpu_percent: Optional[float] = None
    """Of one CPU, on average between two attempts; None: it may spin."""


class ProcessCheck:
    """Remembers the instance of the first attempt."""

    def __init__(self, options: ProcessOptions, surroundings: Surroundings) -> None:
        self._options = options
        self._inspect = surroundings.inspect
        self._identity: Optional[str] = None
        self._restarts = 0
        self._read_at_s: Optional[float] = None
        self._cpu_time_s = 0.0

    def attempt(self, timeout_s: float) -> Sighting:
        if self._inspect is None:
            return Sighting(Outcome.INCONCLUSIVE, "the process can only be looked at from the node", final=True)
        instance = self._inspect()
        # While restarts are allowed, one that is down now may be up again at the next attempt.
        lasting = self._options.max_restarts == 0
        if instance is None:
            return Sighting(Outcome.FAIL, "there is no such process any more", final=lasting)
        if not instance.alive:
            how = instance.exit.meaning if instance.exit is not None else "ended, and nobody saw how"
            return Sighting(Outcome.FAIL, f"the process {how}", final=lasting)
        if instance.restarts > self._options.max_restarts:
            return Sighting(
                Outcome.FAIL,
                f"the process was restarted {instance.restarts} times, {self._options.max_restarts} are allowed",
                final=True,
            )
        if self._identity is None:
            self._remember(instance)
        elif instance.identity != self._identity:
            if instance.restarts <= self._restarts:
                return Sighting(Outcome.FAIL, "another process runs in the place of the one that was checked", True)
            self._remember(instance)
        return self._not_spinning(instance)

    def _remember(self, instance: Instance) -> None:
        self._identity, self._restarts, self._read_at_s = instance.identity, instance.restarts, None

    def _not_spinning(self, instance: Instance) -> Sighting:
        most = self._options.max_cpu_percent
        if most is None:
            return Sighting(Outcome.PASS, "the process lives")
        if instance.cpu_time_s is None:
            return Sighting(Outcome.INCONCLUSIVE, "the driver does not tell how much CPU time the process used")
        now = time.monotonic()
        if self._read_at_s is None:
            self._read_at_s, self._cpu_time_s = now, instance.cpu_time_s
            return Sighting(Outcome.PASS, "the process lives; how busy it is shows from the next attempt on")
        elapsed_s = now - self._read_at_s
        if elapsed_s < _SHORTEST_INTERVAL_S:
            return Sighting(Outcome.PASS, "the process lives")
        percent = 100.0 * (instance.cpu_time_s - self._cpu_time_s) / elapsed_s
        self._read_at_s, self._cpu_time_s = now, instance.cpu_time_s
        if percent > most:
            return Sighting(Outcome.FAIL, f"the process uses {percent:.0f} % of a CPU, at most {most:g} % are allowed")
        return Sighting(Outcome.PASS, f"the process lives and uses {percent:.0f} % of a CPU")


@dataclass(frozen=True)
class ProcessKind:
    kind: str = "process"
    node_only: bool = True

    def spelled_out(self, value: Any) -> Any:
        """Without options it is enough to name it."""
        return {} if value is None or value is True else value

    def validated(self, options: Mapping[str, Any], address: Optional[str]) -> dict[str, Any]:
        given = Options(options)
        validated = ProcessOptions(
            max_restarts=given.integer("max_restarts", 0, 0, 1000),
            max_cpu_percent=given.number("max_cpu_percent", 100000.0),
        )
        given.done()
        return dict(codec.encode(validated))

    def described(self, options: Mapping[str, Any]) -> str:
        return "lives"

    def require(self, options: Mapping[str, Any]) -> None:
        """Nothing but the standard library."""

    def bind(self, spec: CheckSpec, surroundings: Surroundings) -> Check:
        return ProcessCheck(codec.decode(ProcessOptions, spec.options), surroundings)
