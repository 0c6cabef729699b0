# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all supervisors have in common that keep an instance by a waiter (``waiter.py``): one waiter per instance, and
records in the instance's folder, so that each understands what another one started."""

from __future__ import annotations

import shutil
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Optional

from ..durable import make_folder, write_durably
from ..errors import DriverError
from ..model import Exit
from . import waiter
from .console import last_lines
from .process import ProcessIdentity, alive, readings, send, wait_end
from .records import LOOK_S, Records, Run
from .scratch import make_scratch
from .supervisor import Phase, ProcessSpec, Standing, nothing
from .waiter_dialogue import START_PATIENCE_S
from .waiter_lock import WaiterLock

KILL_PATIENCE_S = 10.0
"""After the kill: a process may hang in the kernel for a while."""
WAITER_PATIENCE_S = 8.0
"""For the waiter's last records, once its instance is dead."""


class WaiterSupervisor(ABC):
    """Everything but how a waiter is launched."""

    @abstractmethod
    def _launch(self, folder: Path, spec: ProcessSpec, first: Callable[[], None]) -> Optional[dict[str, Any]]:
        """Start a waiter for the folder, and let its program go when ``first`` is done; its last answer, None when none
        came in time."""

    def start(self, folder: Path, spec: ProcessSpec, first: Callable[[], None] = nothing) -> str:
        make_folder(folder)
        records = Records(folder)
        if records.run() is not None:
            standing = self.inspect(folder)
            if standing.phase is Phase.RUNNING and standing.identity is not None:
                first()
                return standing.identity
            self.stop(folder)  # a waiter may be pausing before a restart, or leftovers may still run
        try:
            if spec.scratch is not None:
                make_scratch(Path(spec.scratch), spec.user_id)
            records.write_spec(spec)
        except OSError as error:
            raise DriverError(
                f"The instance in {folder} was not started: its records cannot be written there: {error}. "
                "Make room or correct the permissions."
            ) from error
        try:
            reply = self._launch(folder, spec, first)
        except BaseException:
            with suppress(DriverError, OSError):
                self.stop(folder)  # at the latest: without our word its waiter calls it off by itself
            raise
        if reply is None:
            self.stop(folder)
            raise DriverError(
                f"The instance in {folder} did not start within {START_PATIENCE_S:.0f} s; what there was of it was "
                "stopped again. Is the disk of that folder very slow, or the image on a network that hangs?"
            )
        identity = reply.get("started") or reply.get("already")
        if not isinstance(identity, str):
            raise DriverError(f"{spec.argv[0]} was not started: {reply.get('error', 'its waiter gave no answer')}.")
        return identity

    def stop(self, folder: Path) -> Optional[Exit]:
        if not folder.is_dir():
            return None
        records = Records(folder)
        run = records.run()
        if records.stop_was_completed(run):
            return records.exit(run)
        records.mark_stopping(run, complete=False)
        with WaiterLock(folder) as lock:
            seen_alive = self._end(folder, lock)
            run = records.run()
            if run is not None and not waiter.sweep(
                run.identity.pid if run.identity in seen_alive else None, run.token
            ):
                raise DriverError(_immortal_strays(folder))
            records.mark_stopping(run, complete=True)
        return records.exit(run)

    def halt(self, folder: Path) -> None:
        records = Records(folder)
        run = records.run()
        records.mark_stopping(run, complete=False)
        if run is None or not alive(run.identity):
            self.stop(folder)
            return
        # It was alive when the mark stood, so its waiter, which looks for that after an end, starts nothing more.
        grace_s, forks = records.grace_s(), records.may_fork()
        _send(run.identity, signal.SIGTERM, folder)
        if not wait_end(run.identity, grace_s):
            _send(run.identity, signal.SIGKILL, folder)
            if not wait_end(run.identity, KILL_PATIENCE_S):
                raise DriverError(_immortal(run.identity, folder))
        if forks:
            self._end_strays(folder, run)

    def _end_strays(self, folder: Path, run: Run) -> None:
        """What it left behind and could disturb its successor."""
        if not waiter.sweep(run.identity.pid, run.token):
            raise DriverError(_immortal_strays(folder))

    def _end(self, folder: Path, lock: WaiterLock) -> set[ProcessIdentity]:
        """Until no process of it lives and no waiter that could start another one: then we hold the waiter's lock.

        Returns which processes were seen alive: only their sessions certainly are ours.
        """
        records = Records(folder)
        seen: set[ProcessIdentity] = set()
        term_at = time.monotonic()
        kill_at = term_at + records.grace_s()
        give_up_at = kill_at + KILL_PATIENCE_S
        dead_since: Optional[float] = None
        told_waiter = False
        held = False
        while True:
            held = held or lock.take()
            if not held and not told_waiter:
                told_waiter = lock.tell_waiter(signal.SIGTERM)
            run = records.run()
            now = time.monotonic()
            if run is not None and alive(run.identity):
                dead_since = None
                if run.identity not in seen:
                    seen.add(run.identity)
                    _send(run.identity, signal.SIGTERM, folder)
                elif now >= kill_at:
                    _send(run.identity, signal.SIGKILL, folder)
                if now >= give_up_at:
                    raise DriverError(_immortal(run.identity, folder))
                wait_end(run.identity, max(kill_at - now, 0.0) if now < kill_at else 0.1)
                continue
            if held:
                return seen
            dead_since = dead_since or now
            if now - dead_since > WAITER_PATIENCE_S:
                lock.tell_waiter(signal.SIGKILL)  # stuck, or stopped by hand: its record is lost, no more
            if now - dead_since > WAITER_PATIENCE_S + KILL_PATIENCE_S:
                raise DriverError(
                    f"The waiter of the instance in {folder} does not end. Its process is named in "
                    f"{folder / waiter.LOCK}; look what hinders it, then try again."
                )
            time.sleep(LOOK_S)

    def inspect(self, folder: Path) -> Standing:
        records = Records(folder)
        run = records.run()
        if run is None:
            return Standing(Phase.NEVER)
        used = readings(run.identity)
        if used is not None and waiter.is_to_be(run.identity.pid):
            return Standing(Phase.NEVER)
        if used is None:
            return Standing(Phase.ENDED, str(run.identity), run.restarts, exit=records.exit_once_recorded(run))
        return Standing(
            Phase.RUNNING,
            str(run.identity),
            run.restarts,
            cpu_time_s=used.cpu_time_s,
            memory_mib=used.memory_mib,
            uptime_s=used.uptime_s,
            # A waiter ends right after its instance: so the instance is looked at once more.
            watched=alive(run.waiter) or not alive(run.identity),
        )

    def hold_restarts(self, folder: Path, hold: bool) -> None:
        mark = folder / waiter.ON_TRIAL
        if hold:
            make_folder(folder)
            if not mark.exists():
                write_durably(mark, b"")
        else:
            mark.unlink(missing_ok=True)

    def tail(self, folder: Path, lines: int) -> tuple[str, ...]:
        return last_lines((folder / waiter.CONSOLE_BEFORE, folder / waiter.CONSOLE), lines)

    def discard(self, folder: Path) -> None:
        if not folder.is_dir():
            return
        run = Records(folder).run()
        with WaiterLock(folder) as lock:
            give_up = time.monotonic() + WAITER_PATIENCE_S
            while (run is None or not alive(run.identity)) and not lock.take():
                if time.monotonic() > give_up:
                    break
                time.sleep(LOOK_S)
            else:
                if run is None or not alive(run.identity):
                    # First what makes it an instance, so that a removal cut short leaves none that looks alive.
                    (folder / waiter.RUN).unlink(missing_ok=True)
                    shutil.rmtree(folder)
                    return
        raise DriverError(f"The instance in {folder} still lives, so its records were left alone. Stop it first.")


def _immortal(identity: ProcessIdentity, folder: Path) -> str:
    return (
        f"The process {identity.pid} of the instance in {folder} does not die, not even by SIGKILL. Look at its state "
        "(D: it waits for a disk or a network), then try again."
    )


def _immortal_strays(folder: Path) -> str:
    return (
        f"Processes that the instance in {folder} left behind do not die, not even by SIGKILL. It counts as not "
        "stopped. Look for processes in state D (waiting for a disk or a network), then try again."
    )


def _send(identity: ProcessIdentity, number: int, folder: Path) -> None:
    try:
        send(identity, number)
    except PermissionError as error:
        raise DriverError(
            f"The process {identity.pid} of the instance in {folder} belongs to another user, so it was not stopped. "
            "Run this as that user or as root (become)."
        ) from error
