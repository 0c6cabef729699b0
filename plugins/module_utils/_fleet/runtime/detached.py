# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The supervisor that needs nothing of the machine: one waiter per instance, records in the instance's folder.

Its limits: a waiter that was killed takes the exit status, the restarts and the bound of the console with it (the
instance itself lives on, and is seen and stopped as ever); and where logind is told to end a user's processes at
log-out (``KillUserProcesses=yes``), it ends these too.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from .. import codec
from ..durable import make_folder, write_durably
from ..errors import DriverError
from ..model import Exit
from . import waiter
from .console import last_lines
from .process import ProcessIdentity, alive, readings, send, wait_end
from .scratch import make_scratch
from .supervisor import Phase, ProcessSpec, Standing, nothing
from .waiter_source import waiter_code

if TYPE_CHECKING:
    from .memory_room import Room

START_PATIENCE_S = 15.0
"""From the launch of the waiter to its answer; the disk may be slow, and an exec over a network too."""
RECORD_PATIENCE_S = 1.0
"""For a waiter that still lives to write down the end of an instance that has just died."""
KILL_PATIENCE_S = 10.0
"""After the kill: a process may hang in the kernel for a while."""
WAITER_PATIENCE_S = 8.0
"""For the waiter's last records, once its instance is dead."""
LOOK_S = 0.002
WAITER_WORDS = ("-I", "-S", "-X", "utf8", "-c", "import marshal, sys; exec(marshal.loads(sys.stdin.buffer.read()))")


@dataclass(frozen=True)
class Run:
    """What ``run.json`` says of the process that was started last."""

    identity: ProcessIdentity
    waiter: ProcessIdentity
    restarts: int
    token: str


class DetachedSupervisor:
    """Supervisor by waiters (``waiter.py``), which outlive the connection and the program that launched them."""

    def start(self, folder: Path, spec: ProcessSpec, first: Callable[[], None] = nothing) -> str:
        make_folder(folder)
        if _read_run(folder) is not None:
            standing = self.inspect(folder)
            if standing.phase is Phase.RUNNING and standing.identity is not None:
                first()
                return standing.identity
            self.stop(folder)  # a waiter may be pausing before a restart, or leftovers may still run
        written = {**codec.encode(spec), "token": secrets.token_hex(16), "boot_id": waiter.boot_id()}
        try:
            if spec.scratch is not None:
                make_scratch(Path(spec.scratch), spec.user_id)
            write_durably(folder / waiter.SPEC, json.dumps(written).encode("ascii"))
            (folder / waiter.STOPPING).unlink(missing_ok=True)
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

    def _launch(self, folder: Path, spec: ProcessSpec, first: Callable[[], None]) -> Optional[dict[str, Any]]:
        """The waiter's answer; None when none came in time. The one thing that another supervisor does otherwise."""
        return _launch_waiter(folder, first)

    def stop(self, folder: Path) -> Optional[Exit]:
        if not folder.is_dir():
            return None
        run = _read_run(folder)
        if _stop_was_completed(folder, run):
            return _read_exit(folder, run)
        _mark_stopping(folder, run, complete=False)
        lock = os.open(folder / waiter.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            seen_alive = self._end(folder, lock)
            run = _read_run(folder)
            if run is not None and not waiter.sweep(
                run.identity.pid if run.identity in seen_alive else None, run.token
            ):
                raise DriverError(_immortal_strays(folder))
            _mark_stopping(folder, run, complete=True)
        finally:
            os.close(lock)
        return _read_exit(folder, run)

    def halt(self, folder: Path) -> None:
        run = _read_run(folder)
        _mark_stopping(folder, run, complete=False)
        if run is None or not alive(run.identity):
            self.stop(folder)
            return
        # It was alive when the mark stood, so its waiter, which looks for that after an end, starts nothing more.
        grace_s, forks = _grace_s(folder), _may_fork(folder)
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

    def _end(self, folder: Path, lock: int) -> set[ProcessIdentity]:
        """Until no process of it lives and no waiter that could start another one: then we hold the waiter's lock.

        Returns which processes were seen alive: only their sessions certainly are ours.
        """
        seen: set[ProcessIdentity] = set()
        term_at = time.monotonic()
        kill_at = term_at + _grace_s(folder)
        give_up_at = kill_at + KILL_PATIENCE_S
        dead_since: Optional[float] = None
        told_waiter = False
        held = False
        while True:
            held = held or _try_lock(lock)
            if not held and not told_waiter:
                told_waiter = _tell_waiter(lock, signal.SIGTERM)
            run = _read_run(folder)
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
                _tell_waiter(lock, signal.SIGKILL)  # stuck, or stopped by hand: its record is lost, no more
            if now - dead_since > WAITER_PATIENCE_S + KILL_PATIENCE_S:
                raise DriverError(
                    f"The waiter of the instance in {folder} does not end. Its process is named in "
                    f"{folder / waiter.LOCK}; look what hinders it, then try again."
                )
            time.sleep(LOOK_S)

    def inspect(self, folder: Path) -> Standing:
        run = _read_run(folder)
        if run is None:
            return Standing(Phase.NEVER)
        used = readings(run.identity)
        if used is not None and waiter.is_to_be(run.identity.pid):
            return Standing(Phase.NEVER)
        if used is None:
            return Standing(Phase.ENDED, str(run.identity), run.restarts, exit=_await_exit(folder, run))
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

    def room(self) -> Optional[Room]:
        from .memory_room import room_beside_us

        return room_beside_us()  # what is launched stays in the control group of its launcher

    def tail(self, folder: Path, lines: int) -> tuple[str, ...]:
        return last_lines((folder / waiter.CONSOLE_BEFORE, folder / waiter.CONSOLE), lines)

    def discard(self, folder: Path) -> None:
        if not folder.is_dir():
            return
        run = _read_run(folder)
        lock = os.open(folder / waiter.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            give_up = time.monotonic() + WAITER_PATIENCE_S
            while (run is None or not alive(run.identity)) and not _try_lock(lock):
                if time.monotonic() > give_up:
                    break
                time.sleep(LOOK_S)
            else:
                if run is None or not alive(run.identity):
                    # First what makes it an instance, so that a removal cut short leaves none that looks alive.
                    (folder / waiter.RUN).unlink(missing_ok=True)
                    shutil.rmtree(folder)
                    return
        finally:
            os.close(lock)
        raise DriverError(f"The instance in {folder} still lives, so its records were left alone. Stop it first.")


# --- launching the waiter -----------------------------------------------------------------------------


def _launch_waiter(folder: Path, first: Callable[[], None]) -> Optional[dict[str, Any]]:
    """Start a waiter for the folder, and let its program go when ``first`` is done; its last answer, None when none
    came in time.

    It gets its program on standard input: a path would point into the zip of an Ansible module, which is gone soon.
    """
    if not sys.executable:
        raise DriverError("This Python does not know its own path, so no waiter can be started with it.")
    code = waiter_code()
    # The interpreter may need these two to come up; nothing of this reaches the instance.
    environment = {key: os.environ[key] for key in ("PATH", "LD_LIBRARY_PATH") if key in os.environ}
    wait_for_go, go = os.pipe()
    try:
        try:
            process = subprocess.Popen(  # pylint: disable=ansible-bad-function # it outlives the call
                [sys.executable, *WAITER_WORDS, "waiter", str(folder.absolute()), str(wait_for_go)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(wait_for_go,),
                cwd="/",
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise DriverError(
                f"No waiter could be started with {sys.executable} for the instance in {folder}: {error}."
            ) from error
        finally:
            os.close(wait_for_go)
        with process:
            if process.stdin is None or process.stdout is None:
                raise AssertionError("Popen was asked for pipes")
            with suppress(BrokenPipeError):
                process.stdin.write(code)
                process.stdin.flush()
            with suppress(BrokenPipeError):
                process.stdin.close()
            answers = process.stdout.fileno()
            said = first_line(answers, time.monotonic() + START_PATIENCE_S)
            if said is None:
                process.kill()  # it may not be in the background yet; there, the closed pipe ends it
                return None
            return carry_on(understood(said), answers, go, first)
    finally:
        os.close(go)


def carry_on(reply: dict[str, Any], answers: int, go: int, first: Callable[[], None]) -> Optional[dict[str, Any]]:
    """When a waiter has said its first word: do what comes before the program, and let it go. What goes wrong with the
    one or the other leaves the program not begun."""
    if "ready" in reply or "already" in reply:
        first()
    if "ready" not in reply:
        return reply
    with suppress(BrokenPipeError):
        os.write(go, b"!")
    said = first_line(answers, time.monotonic() + START_PATIENCE_S)
    return None if said is None else understood(said)


def understood(said: bytes) -> dict[str, Any]:
    """The waiter's answer, or what it said instead as an error."""
    try:
        reply = json.loads(said)
    except ValueError:
        reply = {"error": f"its waiter did not come up: {said.decode('utf-8', 'replace').strip()[-2000:] or 'no word'}"}
    return reply if isinstance(reply, dict) else {"error": "its waiter spoke in riddles"}


def first_line(descriptor: int, deadline: float) -> Optional[bytes]:
    """What the waiter says: its answer is one line; a traceback of several begins with no brace and is read whole."""
    said = b""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while not (said.startswith(b"{") and said.endswith(b"\n")):
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not poll.poll(int(left_s * 1000) + 1):
            return None
        chunk = os.read(descriptor, 65536)
        if not chunk or len(said) > 1 << 20:
            break
        said += chunk
    return said


# --- records ------------------------------------------------------------------------------------------


def _read_run(folder: Path) -> Optional[Run]:
    try:
        data = json.loads((folder / waiter.RUN).read_bytes())
        identity = ProcessIdentity(int(data["pid"]), int(data["start_ticks"]), str(data["boot_id"]))
        return Run(identity, ProcessIdentity.parse(data["waiter"]), int(data["restarts"]), str(data["token"]))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DriverError(
            f"{folder / waiter.RUN} cannot be read ({type(error).__name__}: {error}), so nobody knows which process "
            "the instance is; nothing was done. If none of it runs any more (see 'ps'), remove that file."
        ) from error


def _recorded_exit(folder: Path, run: Run) -> Optional[Exit]:
    with suppress(OSError, ValueError, KeyError, TypeError):
        data = json.loads((folder / waiter.EXIT).read_bytes())
        if data["of"] == str(run.identity):
            return Exit(data["status"], data["signal"], data["at"], data["meaning"])
    return None


def _await_exit(folder: Path, run: Run) -> Optional[Exit]:
    """As ``_read_exit``; but between the death and its record lies a moment, and who looks then shall not be told
    that nobody saw it."""
    give_up = time.monotonic() + RECORD_PATIENCE_S
    while _recorded_exit(folder, run) is None and alive(run.waiter) and time.monotonic() < give_up:
        time.sleep(LOOK_S)
    return _read_exit(folder, run)


def _read_exit(folder: Path, run: Optional[Run]) -> Optional[Exit]:
    """How the process of ``run`` ended; what nobody saw is said so."""
    if run is None:
        return None
    recorded = _recorded_exit(folder, run)
    if recorded is not None:
        return recorded
    if run.identity.boot_id != waiter.boot_id():
        return Exit(meaning="ended with the machine")
    return Exit()


def _mark_stopping(folder: Path, run: Optional[Run], complete: bool) -> None:
    """Whatever is in the file, no waiter starts anything while it exists; its content spares the next stop the work."""
    of = None if run is None else str(run.identity)
    write_durably(folder / waiter.STOPPING, json.dumps({"of": of, "complete": complete}).encode("ascii"))


def _stop_was_completed(folder: Path, run: Optional[Run]) -> bool:
    try:
        mark = json.loads((folder / waiter.STOPPING).read_bytes())
        return bool(mark["complete"]) and mark["of"] == (None if run is None else str(run.identity))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _grace_s(folder: Path) -> float:
    try:
        return float(json.loads((folder / waiter.SPEC).read_bytes())["stop_grace_s"])
    except (OSError, ValueError, KeyError, TypeError):
        return ProcessSpec.stop_grace_s


def _may_fork(folder: Path) -> bool:
    try:
        return bool(json.loads((folder / waiter.SPEC).read_bytes())["forks"])
    except (OSError, ValueError, KeyError, TypeError):
        return ProcessSpec.forks


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


# --- the other side -----------------------------------------------------------------------------------


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _tell_waiter(lock: int, number: int) -> bool:
    """Signal the process that holds the lock; False when it has not put its name in there yet."""
    named = os.pread(lock, 200, 0).decode("ascii", "replace")
    try:
        identity = ProcessIdentity.parse(named)
    except ValueError:
        return False
    with suppress(PermissionError):
        send(identity, number)
    return True


def _send(identity: ProcessIdentity, number: int, folder: Path) -> None:
    try:
        send(identity, number)
    except PermissionError as error:
        raise DriverError(
            f"The process {identity.pid} of the instance in {folder} belongs to another user, so it was not stopped. "
            "Run this as that user or as root (become)."
        ) from error
