# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The transaction: every change of a unikernel, and every way out of one, under its lock.

Each step is written to the journal before it is done; what to do is decided by :func:`settlement.settle` and by the
pure steps in :mod:`state`, and only carried out here.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Optional

from ..checks.model import Outcome, Verdict
from ..drivers.protocol import Driver
from ..errors import (
    DriverError,
    FleetError,
    Hindered,
    ImageError,
    ImageMissing,
    InvalidDeclaration,
    NoBridge,
    StateError,
    TrialRefused,
)
from ..model import Instance, Release, Snapshot
from . import data, evidence, rehearsal, steps
from .change import Arm, Change, TrialOptions, is_so
from .guarding import why_unguarded
from .holds import without_hold
from .kept_core import KeptCore
from .lock import exclusive
from .node import Node, living
from .proposal import Declaration, Proposal, Wanted, propose
from .refusals import (
    is_to_be_restored,
    kept_release,
    no_such_trial,
    refuse_if_held,
    refuse_open_trial,
    refuse_stranded,
    refuse_to_forget_data,
    was_confirmed,
)
from .rehearsal import Inconclusive
from .settlement import (
    Action,
    BeginRevert,
    EndRehearsal,
    FinishConfirm,
    FinishRevert,
    RemoveSnapshot,
    RestoreOrigin,
    StartCurrent,
    StopStray,
    Strand,
    settle,
)
from .state import Holder, Phase, State, Trial, described, open_trial

LOCK_WAIT_S = 10.0
"""How long a run waits for another one that holds the lock: a guard needs it for the length of a revert."""

_MOST_ROUNDS = 12


@contextmanager
def locked(node: Node, name: str, holder: Holder, wait_s: float = LOCK_WAIT_S) -> Iterator[Transaction]:
    """The unikernel's lock, its state read after it was taken, and whatever was left open settled."""
    with exclusive(node.layout.lock(name), str(holder), name, wait_s):
        transaction = Transaction(node, name, holder)
        transaction.open()
        yield transaction


class Transaction:
    """One unikernel while its lock is held."""

    def __init__(self, node: Node, name: str, holder: Holder) -> None:
        self._node = node
        self._journal = node.journal(name)
        self._holder = holder
        self.state = State(name=name, salt="")
        self._remarks: tuple[str, ...] = ()
        self.not_started: Optional[str] = None
        """Why the current release, which should run, could not be started or put on its bridge."""

    @property
    def _name(self) -> str:
        return self.state.name

    # --- at rest --------------------------------------------------------------------------------

    def open(self) -> None:
        """Read the state and settle what is left open; adopt what runs without a state."""
        existed = self._journal.exists
        self.state = self._journal.open()
        if not existed:
            self._adopt(self._node.drivers_of(self.state))
        if self.state.phase is not Phase.REHEARSING:
            rehearsal.end(self._node, self._name)  # of a state that was lost
        self.settle()

    def settle(self) -> None:
        """Carry out what :func:`settle` says until it says nothing more.

        A current release that does not start is no error here: it would keep everybody from replacing it.
        """
        for _unused in range(_MOST_ROUNDS):
            what_runs = self._node.inspect(self.state)
            actions = settle(self.state, what_runs, self._node.now())
            if not actions:
                self._forget_ended_instances(what_runs)
                return
            for action in actions:
                try:
                    self._perform(action, what_runs)
                except (DriverError, ImageError) as error:
                    if isinstance(action, StartCurrent):
                        self.not_started = str(error)
                        return
                    if isinstance(action, RemoveSnapshot):
                        return  # it stands in the journal until it is gone; whoever opens this next tries again
                    if not isinstance(action, RestoreOrigin):
                        raise
                    self._write(steps.revert_failed(self.state, _with(open_trial(self.state).reason, str(error))))
                    break
        raise StateError(
            f"{self._name} does not come to rest (phase {self.state.phase.value} after {_MOST_ROUNDS} rounds). What "
            "runs was left as it is. Look at its console and at its state file, then run again."
        )

    def _perform(self, action: Action, what_runs: Sequence[Instance]) -> None:
        now = self._node.now()
        at = self._node.clock.wall()
        if isinstance(action, BeginRevert):
            self._begin_revert(action.reason, action.blame)
        elif isinstance(action, RestoreOrigin):
            self._restore_as_far_as_can_be()
        elif isinstance(action, FinishRevert):
            candidate = open_trial(self.state).candidate
            started = now.boot_id if self.not_started is None else None
            self._write(steps.reverted(self.state, at, started, self._keep_evidence(what_runs)))
            self._forget_instance_of(candidate)
        elif isinstance(action, Strand):
            self._write(steps.stranded(self.state, at, self._keep_evidence(what_runs)))
        elif isinstance(action, FinishConfirm):
            candidate = open_trial(self.state).candidate
            if candidate is not None:
                self._node.mark_trial(self._name, candidate, False)
            elif open_trial(self.state).remove_data:
                self._remove_disks()
            self._write(steps.confirmed(self.state, at))
        elif isinstance(action, EndRehearsal):
            rehearsal.end(self._node, self._name, open_trial(self.state).candidate)
            self._write(steps.refused(self.state, at, action.reason))
        elif isinstance(action, RemoveSnapshot):
            data.remove(self._node, action.snapshot)
            self._write(steps.discarded(self.state, action.snapshot))
        elif isinstance(action, StopStray):
            for driver in self._node.drivers_of(self.state):
                driver.stop(self._name, action.release)
        elif isinstance(action, StartCurrent):
            self._ensure_image_of_current()
            self._node.exchange(self._name, None, self.state.current)
            self._write(steps.restarted(self.state, now.boot_id))

    # --- changes --------------------------------------------------------------------------------

    def declare(self, declaration: Declaration, options: TrialOptions, arm: Optional[Arm]) -> Change:
        """Begin the trial that leads to what is declared; unchanged when it is so already.

        A candidate that does not even start is rolled back before this returns: ``after.ended`` says so.
        """
        before = self.state
        if self._trial_is_open:
            self._end_open_trial(options.takeover)
        if declaration.wanted is not Wanted.ABSENT:
            self._adopt_from_others()
        proposal = propose(self.state.current, declaration, self.state.next_number)
        if is_so(self.state, proposal, self._what_runs()):
            leftover = data.to_be_removed(self._node, self._name, proposal.candidate, options.data)
            if leftover:  # of one that was removed before
                self._node.refuse_if_inhibited()
                self._remove_disks()
            return Change(leftover, before, self.state, proposal)
        if options.retry_failed:
            self.state = without_hold(self.state, proposal.candidate)
        refuse_if_held(self.state, proposal.candidate)
        trial = self._change(proposal.candidate, options, arm)
        return Change(True, before, self.state, proposal, trial, self._remarks)

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
        if is_so(self.state, proposal, self._what_runs()):
            return Change(False, before, self.state, proposal)
        if target.running:
            self._make_sure_of_the_image_to_go_back_to(target)
        # Whoever goes back may want to go back further: nothing that was kept is forgotten by it.
        options = replace(options, keep=max(options.keep, len(self.state.kept)))
        trial = self._change(target, options, arm, hold_origin=hold)
        return Change(True, before, self.state, proposal, trial, self._remarks)

    def confirm(self, trial_id: str) -> bool:
        """Confirm the trial with that id; False when it was confirmed before. TrialRefused when it cannot be."""
        if self.state.trial is None or self.state.trial.id != trial_id or self.state.phase is Phase.STRANDED:
            was_confirmed(self.state, trial_id)
            return False
        trial = self.state.trial
        if trial.verdict is None:
            raise TrialRefused(
                f"{self._name}: trial {trial_id} has no verdict of the node yet, so there is nothing to confirm. Wait "
                "for it with unikernel.fleet.liveliness; the trial goes on."
            )
        # Being open, the trial was found in order a moment ago, under this lock: by settle(), on opening.
        self._write(steps.committed(self.state, self._node.clock.wall(), self._holder))
        self.settle()
        return True

    def roll_back(self, trial_id: Optional[str], reason: str, blame: bool) -> bool:
        """End the open trial with a rollback; False when it was rolled back before."""
        trial = self.state.trial
        ended = self.state.ended
        if trial is not None and (trial_id is None or trial.id == trial_id):
            if self.state.phase is Phase.STRANDED:
                self._write(steps.retried(self.state))
            else:
                self._write(steps.reverting(self.state, reason, blame))
            self.settle()
            self._raise_if_stranded()
            return True
        if ended is not None and ended.trial == trial_id and ended.outcome in ("rolled_back", "refused"):
            return False
        if ended is not None and ended.trial == trial_id:
            raise TrialRefused(
                f"{self._name}: trial {trial_id} was {ended.outcome} at {ended.at}. Nothing was changed. To leave the "
                "release all the same, roll back without naming the trial."
            )
        raise TrialRefused(no_such_trial(self.state, trial_id))

    def take_over(self, trial_id: Optional[str]) -> bool:
        """Become the holder of an open trial and give it its full time again."""
        trial = self.state.trial
        if trial is None or self.state.phase is not Phase.ON_TRIAL or (trial_id is not None and trial.id != trial_id):
            raise TrialRefused(no_such_trial(self.state, trial_id))
        if (trial.holder.who, trial.holder.run) == (self._holder.who, self._holder.run):
            return False
        self._write(steps.taken_over(self.state, self._holder, self._node.clock.boottime_s()))
        return True

    def judge(self, trial_id: str, verdict: Verdict) -> None:
        """The node's verdict: written down, and acted on at once if it is not a pass. The first one stands."""
        trial = self.state.trial
        if trial is None or trial.id != trial_id or trial.verdict is not None or self.state.phase is not Phase.ON_TRIAL:
            return
        if verdict.outcome is Outcome.PASS:
            self._write(steps.judged(self.state, verdict))
        else:
            # Written together with the revert that it leads to: that spares the outage the time of one write.
            self.state = steps.judged(self.state, verdict)
            self.settle()

    # --- the steps ------------------------------------------------------------------------------

    def _change(
        self, candidate: Optional[Release], options: TrialOptions, arm: Optional[Arm], hold_origin: bool = False
    ) -> str:
        trial_id = _new_trial_id(self._node.clock.wall())
        snapshot = self._refuse_what_cannot_be_done(candidate, options, trial_id)
        now = self._node.now()
        guarded = arm is not None and options.timeout_s > 0
        trial = Trial(
            id=trial_id,
            candidate=candidate,
            holder=replace(self._holder, since=self._node.clock.wall()),
            begun_at=self._node.clock.wall(),
            boot_id=now.boot_id,
            timeout_s=options.timeout_s,
            checks=options.checks,
            schedule=options.schedule,
            guarded=guarded and why_unguarded(self._node, self._name) is None,
            keep=options.keep,
            hold_origin=hold_origin,
            snapshot=snapshot,
            remove_data=options.data.remove,
        )
        if guarded and arm is not None:
            # Before anything is written: a guard without a trial ends by itself, a trial without a guard does not.
            arm(self._name, trial.id, trial.checks)
        if self._rehearses(options) and candidate is not None and candidate.running:
            if not self._rehearse(trial, options.when_inconclusive):
                self.settle()
                return trial.id
            trial = open_trial(self.state)
        with data.claimed(self._node, self._name, candidate):
            self._write(steps.begun(self.state, trial))
        try:
            self._carry_out(trial)
        except InvalidDeclaration as error:
            raise DriverError(
                f"{self._name}: trial {trial.id} was begun, and then this came in its way: {error} How far it came "
                "stands in its journal: mend this, and whoever opens it next (the guard, or the next run) goes on."
            ) from error
        return trial.id

    def _carry_out(self, trial: Trial) -> None:
        try:
            self._swap(trial)
        except (DriverError, ImageError) as error:
            self._begin_revert(f"it could not be started: {error}", not isinstance(error, Hindered))
        except StateError:
            self._go_back_unrecorded()
            raise
        self.settle()

    def _refuse_what_cannot_be_done(
        self, candidate: Optional[Release], options: TrialOptions, trial_id: str
    ) -> Optional[Snapshot]:
        """All that forbids a change, before anything of it is done; the snapshot that it takes, if it takes one."""
        self._node.refuse_if_inhibited()
        self._make_sure_of_a_way_back(options.accept_no_way_back)
        refuse_to_forget_data(self.state)
        self._refuse_what_cannot_run(candidate)
        if self._rehearses(options):
            rehearsal.refuse_what_cannot_be_rehearsed(
                self._node, self._name, candidate, options.checks, options.when_inconclusive
            )
        return data.planned(self._node, self._name, self.state, candidate, options.data, trial_id)

    def _rehearses(self, options: TrialOptions) -> bool:
        """What is stranded may serve nobody: there is no outage to be spared."""
        return options.rehearse and self.state.phase is not Phase.STRANDED

    def _rehearse(self, trial: Trial, when_inconclusive: Inconclusive) -> bool:
        """Whether the candidate may be swapped in; if not, that is written down."""
        self._write(steps.rehearsing(self.state, trial))
        try:
            seen = rehearsal.rehearse(self._node, self._name, trial)
        except (DriverError, OSError) as error:
            rehearsal.end(self._node, self._name, trial.candidate)
            self._write(steps.refused(self.state, self._node.clock.wall(), f"it could not be rehearsed: {error}"))
            raise DriverError(
                f"{self._name}: {described(trial.candidate)} could not be rehearsed: {error} Nothing was swapped, and "
                "what runs was left running. Mend what the reason names, or leave rehearse out."
            ) from error
        at, outcome = self._node.clock.wall(), seen.verdict.outcome
        proceeds = outcome is Outcome.INCONCLUSIVE and when_inconclusive is Inconclusive.PROCEED
        if outcome is Outcome.PASS or proceeds:
            # Written together with the beginning of the swap, which follows.
            self.state = steps.rehearsed(self.state, seen.verdict, at)
            return True
        shown = replace(trial, reason=seen.reason, verdict=seen.verdict)
        instances = () if seen.instance is None else (seen.instance,)
        folder = evidence.keep(self._node.layout, self._name, shown, seen.console, instances, seen.core)
        self._write(steps.refused(self.state, at, seen.reason, folder, seen.verdict))
        return False

    def _swap(self, trial: Trial) -> None:
        candidate = trial.candidate
        on_trial = trial.timeout_s > 0
        if trial.snapshot is not None:
            self._node.exchange(self._name, self.state.current, None)
            data.take(self._node, trial.snapshot)
            self._write(steps.data_kept(self.state))
        if candidate is not None and candidate.running and on_trial:
            self._node.mark_trial(self._name, candidate, True)
        instance = self._node.exchange(self._name, self.state.current, candidate)
        if candidate is not None and candidate.running and instance is None:
            raise DriverError(f"{self._name}: {candidate} was started and is not there")
        if on_trial:
            identity = instance.identity if instance else None
            self._write(steps.swapped(self.state, identity, self._node.clock.boottime_s()))
        else:
            self._write(steps.committed(self.state, self._node.clock.wall(), self._holder))

    def _begin_revert(self, reason: str, blame: bool) -> None:
        try:
            self._write(steps.reverting(self.state, reason, blame))
        except StateError:
            self._go_back_unrecorded()
            raise

    def _go_back_unrecorded(self) -> None:
        """The journal cannot be written, as on a full disk. What stands in it leads back anyway, so go back now rather
        than leave nothing running; the next run writes it down."""
        if is_to_be_restored(self.state.trial):
            return  # what is restored has to be written down before anything runs on it
        with suppress(DriverError, ImageError):
            self._restore_origin()

    def _restore_as_far_as_can_be(self) -> None:
        """Without its bridge the old release serves nobody, whatever is tried; and once there is one again, whoever
        opens this next puts it there. So that is no reason to give it up as stranded."""
        self.not_started = None
        try:
            self._restore_origin()
        except NoBridge as error:
            trial = open_trial(self.state)
            if trial.candidate is not None:
                self._node.driver_for(trial.candidate).stop(self._name, trial.candidate.number)
            if str(error) not in trial.reason:
                self._write(steps.reverting(self.state, _with(trial.reason, str(error)), trial.blame))
            self.not_started = str(error)

    def _restore_origin(self) -> None:
        self._ensure_image_of_current()
        trial = open_trial(self.state)
        if trial.snapshot is not None and is_to_be_restored(trial):
            self._node.exchange(self._name, trial.candidate, None)
            data.restore(self._node, trial.snapshot)
            self._write(steps.data_restored(self.state))
        self._node.exchange(self._name, open_trial(self.state).candidate, self.state.current)

    def _ensure_image_of_current(self) -> None:
        if self.state.current is not None and self.state.current.running:
            self._ensure_image(self.state.current)

    def _ensure_image(self, release: Release) -> None:
        self._node.ensure_image(self._name, release)

    def _refuse_what_cannot_run(self, candidate: Optional[Release]) -> None:
        if candidate is None or self._is_only_stopped_by(candidate):
            return
        self._node.store.claim(candidate.image)
        self._remarks = self._node.driver_for(candidate).validate(self._name, candidate)

    def _is_only_stopped_by(self, candidate: Release) -> bool:
        """What is stopped as it is need not be able to run, and may have lost its image."""
        current = self.state.current
        return not candidate.running and current is not None and current.image == candidate.image

    def _make_sure_of_the_image_to_go_back_to(self, target: Release) -> None:
        try:
            self._ensure_image(target)
        except ImageMissing as error:
            raise ImageMissing(f"{self._name}: {target} is kept, but it cannot be gone back to: {error}") from error

    def _make_sure_of_a_way_back(self, accept_none: bool) -> None:
        origin = self.state.current
        if origin is None or not origin.running or accept_none:
            return
        try:
            self._ensure_image(origin)
        except ImageMissing as error:
            if living(self._what_runs(), origin) is None:
                return  # It does not run anyway: there is nothing to go back to, and a repair is welcome.
            raise ImageMissing(
                f"{self._name}: there would be no way back to {origin}: {error} It was left running. Bring that image "
                "into the store again (unikernel.fleet.image with its sha256), or say accept_no_way_back: true."
            ) from error

    def _end_open_trial(self, takeover: bool) -> None:
        if not takeover:
            refuse_open_trial(self.state)
        self._write(steps.reverting(self.state, f"taken over by {self._holder}", False))
        self.settle()
        self._raise_if_stranded()

    def _raise_if_stranded(self) -> None:
        refuse_stranded(self.state, self._what_runs())

    def _what_runs(self) -> Sequence[Instance]:
        return self._node.inspect(self.state)

    @property
    def _trial_is_open(self) -> bool:
        return self.state.trial is not None and self.state.phase is not Phase.STRANDED

    # --- effects --------------------------------------------------------------------------------

    def _write(self, state: State) -> None:
        self._journal.write(state)
        self.state = state

    def _adopt(self, drivers: Sequence[Driver]) -> None:
        """What runs without a release of ours becomes one."""
        for driver in drivers:
            release = self._discovered(driver)
            if release is not None:
                now = self._node.now()
                self._write(steps.adopted(self.state, release, self._node.clock.wall(), now.boot_id, self._holder))
                return

    def _discovered(self, driver: Driver) -> Optional[Release]:
        found = driver.fetch_image(self._name, self.state.next_number) if driver.capabilities.discovers else None
        return None if found is None else found[0]

    def _adopt_from_others(self) -> None:
        """Where others start things as well, there may be something although we know that nothing of ours is there."""
        if self.state.current is None and self.state.phase is Phase.STABLE:
            self._adopt([driver for driver in self._node.drivers_of(self.state) if driver.capabilities.shared])

    def _remove_disks(self) -> None:
        data.remove_disks(self._node, self._name)

    def _keep_evidence(self, what_runs: Sequence[Instance]) -> Optional[str]:
        trial = open_trial(self.state)
        console: tuple[str, ...] = ()
        core: Optional[KeptCore] = None
        if trial.candidate is not None:
            driver, number = self._node.driver_for(trial.candidate), trial.candidate.number
            with suppress(FleetError, OSError):
                console = driver.console(self._name, number, evidence.CONSOLE_LINES)
            core = evidence.core_of(self._node.layout, self._name, trial, lambda: driver.core(self._name, number))
        return evidence.keep(self._node.layout, self._name, trial, console, what_runs, core)

    def _forget_instance_of(self, candidate: Optional[Release]) -> None:
        """Also one that was never started, which no driver reports any more."""
        current = self.state.current.number if self.state.current else None
        if candidate is not None and candidate.number != current:
            with suppress(FleetError, OSError):
                self._node.driver_for(candidate).discard(self._name, candidate.number)

    def _forget_ended_instances(self, what_runs: Sequence[Instance]) -> None:
        if self.state.phase is not Phase.STABLE:
            return
        current = self.state.current.number if self.state.current else None
        for instance in what_runs:
            if not instance.alive and instance.release != current:
                with suppress(FleetError, OSError):
                    for driver in self._node.drivers_of(self.state):
                        driver.discard(self._name, instance.release)


def _with(reason: str, error: str) -> str:
    """What fails in the same way again and again is said once."""
    return reason if error in reason else f"{reason}; {error}"


def _new_trial_id(wall: str) -> str:
    """Sorts by time, for people; unique by its random part."""
    stamp = "".join(c for c in wall[:19] if c.isdigit())
    return f"{stamp}-{secrets.token_hex(4)}"
