# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a change would do, for check mode: the transaction's own decisions, without its effects.

Whatever a transaction refuses, a forecast refuses, with the same words. It takes no lock, so somebody else may change
things meanwhile; and an image that is still to be brought to the node cannot be examined yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Optional

from ..drivers.protocol import Driver
from ..model import Instance, Release
from . import steps
from .admission import admit
from .change import Arm, TrialOptions
from .node import Node
from .settlement import BeginRevert, EndRehearsal, FinishConfirm, FinishRevert, Strand, settle
from .state import Holder, Phase, State
from .transaction import Transaction
from .unikernel import Unikernel


def forecast(node: Node, name: str, holder: Holder) -> Transaction:
    """The unikernel's transaction with all its methods, none of which changes anything outside of it."""
    foreseen = Forecast(Foreseen(node, name, holder))
    foreseen.open()
    return foreseen


class Foreseen(Unikernel):
    """A unikernel of which only what is known here is moved on."""

    runs: Optional[tuple[Instance, ...]] = None
    """What will run once all that was left open is settled; None while nothing was."""

    def open(self) -> bool:
        existed = self._journal.exists
        self.state = self._journal.read()
        return existed

    def write(self, state: State) -> None:
        self.state = state

    def what_runs(self) -> Sequence[Instance]:
        return super().what_runs() if self.runs is None else self.runs

    def discovered(self, driver: Driver) -> Optional[Release]:
        found = driver.discovered(self.name, self.state.next_number) if driver.capabilities.discovers else None
        if found is not None and driver.capabilities.shared:
            self.runs = (Instance(self.name, found.number, True),)
        return found

    def ensure_image(self, release: Release) -> None:
        self.node.check_image(self.name, release)

    def validate(self, candidate: Release) -> tuple[str, ...]:
        # In check mode its image may not have been brought yet.
        is_here = all(self.node.store.holds(file.sha256) for file in candidate.files)
        return self.node.driver_for(candidate).validate(self.name, candidate) if is_here else ()

    def end_lost_rehearsal(self) -> None:
        """It stays."""

    def remove_disks(self) -> None:
        """They stay."""


class Forecast(Transaction):
    """A transaction that only moves its own state on. A trial that it would begin has no id."""

    def __init__(self, unikernel: Foreseen) -> None:
        super().__init__(unikernel)
        self._foreseen = unikernel

    def _settle(self) -> None:
        """To where the real one would come to rest, if every step of it succeeds."""
        state = self.state
        now, at = self._foreseen.node.now(), self._foreseen.node.clock.wall()
        actions = settle(state, self._foreseen.what_runs(), now)
        for action in actions:
            if isinstance(action, BeginRevert):
                state = steps.reverting(state, action.reason, action.blame)
            elif isinstance(action, FinishRevert):
                state = steps.reverted(state, at, now.boot_id, None)
            elif isinstance(action, Strand):
                state = steps.stranded(state, at, None)
            elif isinstance(action, EndRehearsal):
                state = steps.refused(state, at, action.reason)
            elif isinstance(action, FinishConfirm):
                state = steps.confirmed(state, at)
        self._foreseen.state = state
        if actions and state.phase is not Phase.STRANDED:
            current = state.current
            runs = current is not None and current.running
            self._foreseen.runs = (Instance(state.name, current.number, True),) if current is not None and runs else ()

    def _try(
        self, candidate: Optional[Release], options: TrialOptions, arm: Optional[Arm], hold_origin: bool = False
    ) -> tuple[str, tuple[str, ...]]:
        admitted = admit(self._foreseen, candidate, options, "")
        self._foreseen.state = replace(self.state, current=candidate)
        return "", admitted.remarks
