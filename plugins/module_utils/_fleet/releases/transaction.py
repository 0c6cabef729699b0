# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The transaction: every change of a unikernel, and every way out of one, under its lock.

Each step is written to the journal before it is done. What a change leads to is decided by :func:`settlement.settle`
and by the pure :mod:`steps`; how it is done is said where it is done: what forbids one in ``admission.py``, how a trial
is begun in ``beginning.py`` and ``swap.py``, the way back in ``revert.py``, and every end in ``settling.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Optional

from ..checks.model import Outcome, Verdict
from ..errors import TrialRefused
from ..model import Release
from . import data, steps
from .admission import make_sure_of_the_image_to_go_back_to
from .adoption import adopt, adopt_from_others
from .beginning import begin_trial
from .change import Arm, Change, TrialOptions, is_so
from .holds import without_hold
from .lock import exclusive
from .node import Node
from .proposal import Declaration, Proposal, Wanted, propose
from .refusals import (
    kept_release,
    no_such_trial,
    refuse_if_held,
    refuse_open_trial,
    refuse_stranded,
    was_confirmed,
)
from .settling import come_to_rest
from .state import Holder, Phase, State
from .unikernel import Unikernel

LOCK_WAIT_S = 10.0
"""How long a run waits for another one that holds the lock: a guard needs it for the length of a revert."""


@contextmanager
def locked(node: Node, name: str, holder: Holder, wait_s: float = LOCK_WAIT_S) -> Iterator[Transaction]:
    """The unikernel's lock, its state read after it was taken, and whatever was left open settled."""
    with exclusive(node.layout.lock(name), str(holder), name, wait_s):
        transaction = Transaction(Unikernel(node, name, holder))
        transaction.open()
        yield transaction


class Transaction:
    """What may be asked for of one unikernel while its lock is held."""

    def __init__(self, unikernel: Unikernel) -> None:
        self._unikernel = unikernel

    @property
    def state(self) -> State:
        return self._unikernel.state

    @property
    def not_started(self) -> Optional[str]:
        """Why the current release, which should run, could not be started or put on its bridge."""
        return self._unikernel.not_started

    def open(self) -> None:
        """Read the state and settle what is left open; adopt what runs without a state."""
        existed = self._unikernel.open()
        if not existed:
            adopt(self._unikernel)
        self._unikernel.end_lost_rehearsal()
        self._settle()

    # --- changes --------------------------------------------------------------------------------

    def declare(self, declaration: Declaration, options: TrialOptions, arm: Optional[Arm]) -> Change:
        """Begin the trial that leads to what is declared; unchanged when it is so already.

        A candidate that does not even start is rolled back before this returns: ``after.ended`` says so.
        """
        before = self.state
        if self._trial_is_open:
            self._end_open_trial(options.takeover)
        if declaration.wanted is not Wanted.ABSENT:
            adopt_from_others(self._unikernel)
        proposal = propose(self.state.current, declaration, self.state.next_number)
        if is_so(self.state, proposal, self._unikernel.what_runs()):
            leftover = data.to_be_removed(self._unikernel.node, self.state.name, proposal.candidate, options.data)
            if leftover:  # of one that was removed before
                self._unikernel.node.refuse_if_inhibited()
                self._unikernel.remove_disks()
            return Change(leftover, before, self.state, proposal)
        if options.retry_failed:
            self._unikernel.state = without_hold(self.state, proposal.candidate)
        refuse_if_held(self.state, proposal.candidate)
        trial, remarks = self._try(proposal.candidate, options, arm)
        return Change(True, before, self.state, proposal, trial, remarks)

    def roll_back_to(
        self, number: Optional[int], options: TrialOptions, arm: Optional[Arm], hold: bool = True
    ) -> Change:
        """Go back to a kept release: image and configuration as they were. What is left is held (unless told
        otherwise), so that the next run does not bring it back by itself."""
        before = self.state
        if self._trial_is_open:
            self._end_open_trial(options.takeover)
        target = kept_release(self.state, number)
        proposal = Proposal(candidate=target)
        if is_so(self.state, proposal, self._unikernel.what_runs()):
            return Change(False, before, self.state, proposal)
        if target.running:
            make_sure_of_the_image_to_go_back_to(self._unikernel, target)
        # Whoever goes back may want to go back further: nothing that was kept is forgotten by it.
        options = replace(options, keep=max(options.keep, len(self.state.kept)))
        trial, remarks = self._try(target, options, arm, hold_origin=hold)
        return Change(True, before, self.state, proposal, trial, remarks)

    def confirm(self, trial_id: str) -> bool:
        """Confirm the trial with that id; False when it was confirmed before. TrialRefused when it cannot be."""
        if self.state.trial is None or self.state.trial.id != trial_id or self.state.phase is Phase.STRANDED:
            was_confirmed(self.state, trial_id)
            return False
        trial = self.state.trial
        if trial.verdict is None:
            raise TrialRefused(
                f"{self.state.name}: trial {trial_id} has no verdict of the node yet, so there is nothing to confirm. "
                "Wait for it with unikernel.fleet.liveliness; the trial goes on."
            )
        # Being open, the trial was found in order a moment ago, under this lock: by settle(), on opening.
        self._unikernel.write(steps.committed(self.state, self._unikernel.node.clock.wall(), self._unikernel.holder))
        self._settle()
        return True

    def roll_back(self, trial_id: Optional[str], reason: str, blame: bool) -> bool:
        """End the open trial with a rollback; False when it was rolled back before."""
        trial = self.state.trial
        ended = self.state.ended
        if trial is not None and (trial_id is None or trial.id == trial_id):
            if self.state.phase is Phase.STRANDED:
                self._unikernel.write(steps.retried(self.state))
            else:
                self._unikernel.write(steps.reverting(self.state, reason, blame))
            self._settle()
            self._raise_if_stranded()
            return True
        if ended is not None and ended.trial == trial_id and ended.outcome in ("rolled_back", "refused"):
            return False
        if ended is not None and ended.trial == trial_id:
            raise TrialRefused(
                f"{self.state.name}: trial {trial_id} was {ended.outcome} at {ended.at}. Nothing was changed. To leave "
                "the release all the same, roll back without naming the trial."
            )
        raise TrialRefused(no_such_trial(self.state, trial_id))

    def take_over(self, trial_id: Optional[str]) -> bool:
        """Become the holder of an open trial and give it its full time again."""
        trial = self.state.trial
        if trial is None or self.state.phase is not Phase.ON_TRIAL or (trial_id is not None and trial.id != trial_id):
            raise TrialRefused(no_such_trial(self.state, trial_id))
        if (trial.holder.who, trial.holder.run) == (self._unikernel.holder.who, self._unikernel.holder.run):
            return False
        self._unikernel.write(
            steps.taken_over(self.state, self._unikernel.holder, self._unikernel.node.clock.boottime_s())
        )
        return True

    def judge(self, trial_id: str, verdict: Verdict) -> None:
        """The node's verdict: written down, and acted on at once if it is not a pass. The first one stands."""
        trial = self.state.trial
        if trial is None or trial.id != trial_id or trial.verdict is not None or self.state.phase is not Phase.ON_TRIAL:
            return
        if verdict.outcome is Outcome.PASS:
            self._unikernel.write(steps.judged(self.state, verdict))
        else:
            # Written together with the revert that it leads to: that spares the outage the time of one write.
            self._unikernel.state = steps.judged(self.state, verdict)
            self._settle()

    # --- where a forecast parts from what is done ------------------------------------------------

    def _settle(self) -> None:
        come_to_rest(self._unikernel)

    def _try(
        self, candidate: Optional[Release], options: TrialOptions, arm: Optional[Arm], hold_origin: bool = False
    ) -> tuple[str, tuple[str, ...]]:
        """Id of the trial that was begun, and what the candidate's driver says of it."""
        return begin_trial(self._unikernel, candidate, options, arm, hold_origin)

    # --- trials that are open --------------------------------------------------------------------

    @property
    def _trial_is_open(self) -> bool:
        return self.state.trial is not None and self.state.phase is not Phase.STRANDED

    def _end_open_trial(self, takeover: bool) -> None:
        if not takeover:
            refuse_open_trial(self.state)
        self._unikernel.write(steps.reverting(self.state, f"taken over by {self._unikernel.holder}", False))
        self._settle()
        self._raise_if_stranded()

    def _raise_if_stranded(self) -> None:
        refuse_stranded(self.state, self._unikernel.what_runs())
