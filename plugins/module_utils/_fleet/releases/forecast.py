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
from .change import Arm, TrialOptions
from .node import Node
from .settlement import BeginRevert, EndRehearsal, FinishConfirm, FinishRevert, Strand, settle
from .state import Holder, Phase, State
from .transaction import Transaction


def forecast(node: Node, name: str, holder: Holder) -> Transaction:
    """The unikernel's transaction with all its methods, none of which changes anything outside of it."""
    foreseen = Forecast(node, name, holder)
    foreseen.open()
    return foreseen


class Forecast(Transaction):
    """A transaction that only moves its own state on. A trial that it would begin has no id."""

    def __init__(self, node: Node, name: str, holder: Holder) -> None:
        super().__init__(node, name, holder)
        self._foreseen: Optional[tuple[Instance, ...]] = None
        """What will run once all that was left open is settled; None while nothing was."""

    def open(self) -> None:
        existed = self._journal.exists
        self.state = self._journal.read()
        if not existed:
            self._adopt(self._node.drivers_of(self.state))
        self.settle()

    def settle(self) -> None:
        """To where the real one would come to rest, if every step of it succeeds."""
        state = self.state
        now, at = self._node.now(), self._node.clock.wall()
        actions = settle(state, self._what_runs(), now)
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
        self.state = state
        if actions and state.phase is not Phase.STRANDED:
            current = state.current
            runs = current is not None and current.running
            self._foreseen = (Instance(state.name, current.number, True),) if current is not None and runs else ()

    def _what_runs(self) -> Sequence[Instance]:
        return self._node.inspect(self.state) if self._foreseen is None else self._foreseen

    def _discovered(self, driver: Driver) -> Optional[Release]:
        found = driver.discovered(self._name, self.state.next_number) if driver.capabilities.discovers else None
        if found is not None and driver.capabilities.shared:
            self._foreseen = (Instance(self._name, found.number, True),)
        return found

    def _write(self, state: State) -> None:
        self.state = state

    def _remove_disks(self) -> None:
        """They stay."""

    def _ensure_image(self, release: Release) -> None:
        self._node.check_image(self._name, release)

    def _change(
        self, candidate: Optional[Release], options: TrialOptions, arm: Optional[Arm], hold_origin: bool = False
    ) -> str:
        self._refuse_what_cannot_be_done(candidate, options, "")
        self.state = replace(self.state, current=candidate)
        return ""

    def _refuse_what_cannot_run(self, candidate: Optional[Release]) -> None:
        if candidate is not None and not self._is_only_stopped_by(candidate) and self._is_here(candidate):
            self._remarks = self._node.driver_for(candidate).validate(self._name, candidate)

    def _is_here(self, candidate: Release) -> bool:
        """In check mode its image may not have been brought yet."""
        return all(self._node.store.holds(file.sha256) for file in candidate.files)
