# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The waiter: the small process that starts one instance, waits for it, and records how it ended.

Nothing else in the library is like this file: it must run on its own, from its text or its compiled code alone (on
standard input), because the zip from which Ansible runs a module is gone when the instance is still alive, and because
it should be up in a few hundredths of a second. Hence no relative imports, few imports at all, and its own small copy
of the durable write. ``process.py``, ``records.py`` and ``waiter_supervisor.py`` import what they need from here: so
the rest is said once.

Files in the folder of an instance, all of them 0600:

=================  ==========================================================================================
``spec.json``      how to run it (:class:`supervisor.ProcessSpec` as JSON, and a token); written by the starter
``run.json``       which process it is: pid, start_ticks, boot_id, waiter, started_at, restarts, token
``exit.json``      how that process ended; ``of`` names it, so an old record never speaks for a later process
``console.log``    what it wrote, handed to it as standard output and error; ``console.log.1`` is the part before
``stopping``       a stop was asked for: nothing is started any more
``on-trial``       while it exists, an instance that ends is not restarted
``waiter.lock``    held (flock) as long as a waiter lives; names it
``waiter.error``   the traceback of a waiter that failed
=================  ==========================================================================================

The starter reads lines of JSON from the waiter's standard output: ``ready``, and after its word ``started``; instead
of either ``error``, and ``already`` where the instance runs. At ``ready`` nothing is left to do but to execute the
program: its process is there, is on record, and has taken on all that was declared for it. So a starter can have it at
hand while it still ends another instance, and what cannot be made ready costs no outage.

``waiter-unit FOLDER`` is the same in the foreground, for a unit of systemd. Its starter has no pipe to it, so it makes
two named ones in the folder first: ``go`` and ``answer``.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import resource
import select
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself would cost a tenth of the start-up time
    from typing import Any, NoReturn, Optional

SPEC = "spec.json"
RUN = "run.json"
EXIT = "exit.json"
CONSOLE = "console.log"
CONSOLE_BEFORE = "console.log.1"
STOPPING = "stopping"
ON_TRIAL = "on-trial"
LOCK = "waiter.lock"
ERROR = "waiter.error"
GO = "go"
ANSWER = "answer"

MARK = "UNIKERNEL_INSTANCE"
"""Variable in the environment of an instance: its value, the token of the start, shows whose a stray process is."""

LOCK_PATIENCE_S = 5.0
SWEEP_PATIENCE_S = 3.0
LOOK_MIN_S, LOOK_MAX_S = 0.02, 0.5
"""Bounds of the time between two looks at the size of the console."""
LAST_WORDS_PATIENCE_S = 3.0
"""From an instance's last words to its end, before it is helped."""
LAST_WORDS_TAIL = 4096
CAPABILITY_VERSION = 0x20080522
"""Of capset(2): three words of 32 bits, twice."""
PR_SET_NO_NEW_PRIVS = 38
CLONE_NEWNET = 0x40000000
NOT_STARTED = 127
"""Exit status of a child that could not become the program."""
TO_BE = "instance-to-be"
"""Name (of at most 15 bytes, as the kernel keeps it) of a process that is ready and has not been let go."""


# --- processes: read by process.py too ------------------------------------------------------------


def process_stat(pid: int) -> Optional[list[str]]:
    """Fields of ``/proc/PID/stat`` from the state on (so field N of proc(5) is item N - 3); None: no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return None
    # The second field is the program's name in parentheses, and a name may hold spaces and parentheses itself.
    fields = text[text.rfind(b")") + 1 :].decode("ascii", "replace").split()
    return fields if len(fields) > 21 else None


def lives(stat: Optional[list[str]]) -> bool:
    """Whether these fields are those of a process that still runs; a zombie only waits to be buried."""
    return stat is not None and stat[0] not in ("Z", "X", "x")


def start_ticks_of(stat: list[str]) -> int:
    """When the process was started, in clock ticks since boot (field 22)."""
    return int(stat[19])


def session_of(stat: list[str]) -> int:
    return int(stat[3])


def is_to_be(pid: int) -> bool:
    """Whether this process only waits to become an instance; to be asked of one that is known to be ours."""
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            return file.read().strip() == TO_BE.encode("ascii")
    except OSError:
        return False


def boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def identity_text(pid: int, start_ticks: int, boot: str) -> str:
    return f"{pid}:{start_ticks}:{boot}"


def open_pidfd(pid: int) -> Optional[int]:
    """A descriptor that stays with this process whatever becomes of its number.

    None where kernel, Python or a container's filter has no pidfd. ProcessLookupError when there is no such process.
    """
    if not hasattr(os, "pidfd_open") or not hasattr(signal, "pidfd_send_signal"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EPERM, errno.EINVAL):
            return None
        raise


def signal_verified(pid: int, start_ticks: int, number: int) -> bool:
    """Send a signal to exactly this process; False when it is gone. PermissionError when it is not ours to signal.

    The descriptor is opened first and the start time compared after that: from there on the number cannot come to
    mean another process. Without pidfd only the comparison remains, with microseconds between it and the signal.
    """
    try:
        descriptor = open_pidfd(pid)
    except ProcessLookupError:
        return False
    try:
        stat = process_stat(pid)
        if stat is None or not lives(stat) or start_ticks_of(stat) != start_ticks:
            return False
        if descriptor is None:
            os.kill(pid, number)
        else:
            signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        if descriptor is not None:
            os.close(descriptor)
    return True


def leftovers(session: Optional[int], token: str) -> list[tuple[int, int]]:
    """(pid, start_ticks) of the processes that an instance left behind.

    Those are the members of its session, and whoever carries its token in the environment, in whatever session.
    Give the session only while its number certainly still means ours (its leader lives, is a zombie, or was seen
    alive just now): after that, the number may have come to mean a stranger's session.
    """
    mark = f"{MARK}={token}".encode("ascii")
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        stat = process_stat(int(entry))
        if stat is None or not lives(stat):
            continue
        ours = session is not None and session_of(stat) == session
        if not ours:
            try:
                with open(f"/proc/{entry}/environ", "rb") as file:
                    ours = mark in file.read().split(b"\0")
            except OSError:
                continue
        if ours:
            found.append((int(entry), start_ticks_of(stat)))
    return found


def sweep(session: Optional[int], token: str) -> bool:
    """Kill what an instance left behind; looks again until nothing is left. False when something would not die."""
    give_up = time.monotonic() + SWEEP_PATIENCE_S
    while True:
        strays = leftovers(session, token)
        if not strays:
            return True
        if time.monotonic() > give_up:
            return False
        for pid, start_ticks in strays:
            with contextlib.suppress(PermissionError):
                signal_verified(pid, start_ticks, signal.SIGKILL)
        time.sleep(0.002)


# --- files ------------------------------------------------------------------------------------------


def read_json(path: str) -> Any:
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def write_durably(path: str, data: Any) -> None:
    """What ``durable.write_durably`` does, again, because this file must run on its own."""
    temporary = f"{path}.{os.getpid()}.new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        try:
            view = memoryview(json.dumps(data).encode("ascii"))
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def wall() -> str:
    now = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"


# --- the child --------------------------------------------------------------------------------------

READY = b"\0"
"""What a child that is ready says first; a complaint never begins so."""


class NotStarted(Exception):
    """The program could not be started; ``str()`` says at which step and why."""


def become_program(spec: dict[str, Any], console: int, gate: int, complaints: int) -> NoReturn:
    """In the child: take on all that was declared, say so, wait at the gate, become the program. Never returns."""
    step = "prepare its process"
    try:
        signal.set_wakeup_fd(-1)
        for number in range(1, signal.NSIG):
            # Not all of them can be set, and Python itself ignores SIGPIPE and SIGXFSZ, which exec would hand on.
            with contextlib.suppress(OSError, ValueError):
                signal.signal(number, signal.SIG_DFL)
        with contextlib.suppress(OSError), open("/proc/self/comm", "w", encoding="ascii") as file:
            file.write(TO_BE)
        os.setsid()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        environment = {octets(key): octets(value) for key, value in spec["environment"].items()}
        environment[octets(MARK)] = octets(spec["token"])
        program, argv = octets(spec["program"]), [octets(word) for word in spec["argv"]]
        nothing = os.open("/dev/null", os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(console, 1)
        os.dup2(console, 2)
        os.umask(spec["umask"])
        if spec["cpus"]:
            step = f"use the CPUs {spec['cpus']}"
            os.sched_setaffinity(0, spec["cpus"])
        if spec.get("oom_score_adj") is not None:
            step = f"set its OOM score to {spec['oom_score_adj']}"
            with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
                file.write(str(spec["oom_score_adj"]))
        if spec.get("network_namespace") is not None:
            step = f"enter the network namespace {spec['network_namespace']}"
            enter_network_namespace(spec["network_namespace"])
        for name, (soft, hard) in spec["limits"].items():
            step = f"set {name} to {soft}"
            resource.setrlimit(getattr(resource, name), (soft, hard))
        if spec["group_id"] is not None:
            step = f"become the group {spec['group_id']}"
            os.setgroups(spec.get("further_group_ids", ()))
            os.setgid(spec["group_id"])
        if spec["user_id"] is not None:
            step = f"become the user {spec['user_id']}"
            os.setuid(spec["user_id"])
        if spec.get("powerless"):
            step = "give up its capabilities"
            give_up_capabilities()
        step = f"enter the folder {spec['directory']}"
        os.chdir(spec["directory"])
        step = "say that it is ready"
        os.write(complaints, READY)
        if os.read(gate, 1) != b"!":
            os._exit(NOT_STARTED)  # the waiter died, or was told to call it off
        step = f"execute {spec['program']}"
        for patience_s in (0.01, 0.03, 0.1, 0.3, 0.0):
            try:
                os.execve(program, argv, environment)
            except OSError as error:
                # Someone who forked just now may hold the image open for writing until their exec.
                if error.errno != errno.ETXTBSY or not patience_s:
                    raise
                time.sleep(patience_s)
    except BaseException as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        with contextlib.suppress(OSError):
            os.write(complaints, f"could not {step}: {reason}".encode("utf-8", "replace")[:4000])
    os._exit(NOT_STARTED)


def enter_network_namespace(path: str) -> None:
    """Of this thread alone. Not by ``nsenter``: when that cannot execute the program, it has become a process already,
    and a start that failed would look like a program that ended."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if hasattr(os, "setns"):
            os.setns(descriptor, CLONE_NEWNET)
            return
        import ctypes  # costs 10 ms, and only Pythons before 3.12 need it

        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(descriptor, CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
    finally:
        os.close(descriptor)


def give_up_capabilities() -> None:
    """For good: where none can be gained, root executes with no more than it has."""
    import ctypes  # costs 10 ms, and few need it

    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    none = (ctypes.c_uint32 * 6)()
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 or libc.capset(header, none) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


# --- the waiter -------------------------------------------------------------------------------------


class Begun:
    """A child that is on record, and what is held of it until it is the program."""

    def __init__(self, pid: int, gate: int, complaints: int) -> None:
        self.pid = pid
        self.gate = gate
        """Written to, it lets the child go; closed, it ends it."""
        self.complaints = complaints


class Waiter:
    """One instance and its restarts, from the first start until it has ended for good."""

    def __init__(self, folder: str, go: Optional[int] = None) -> None:
        self.folder = folder
        self.go = go
        """Where the starter's word comes from; None: nobody is asked."""
        if go is not None:
            os.set_inheritable(go, False)
        self.boot = self.boot_id_of_starter()
        own = process_stat(os.getpid())
        self.identity = identity_text(os.getpid(), start_ticks_of(own) if own else 0, self.boot)
        self.told_to_end = False
        self.restarts = 0

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def boot_id_of_starter(self) -> str:
        """In a container the boot id is a mount of its own, which a unit with a /proc of its own does not see: it would
        see the host's. Everybody else compares identities with what the starter sees."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            return str(read_json(self.path(SPEC))["boot_id"])
        return boot_id()

    def run(self) -> None:
        """Everything. The starter hears of the first start; later ones only show in ``run.json``."""
        try:
            running = self.take_lock()
            if running is not None:
                answer({"already": running})
                return
            if os.path.exists(self.path(STOPPING)):
                raise NotStarted("a stop was asked for in the meantime")
            self.spec = read_json(self.path(SPEC))
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self.console = os.open(self.path(CONSOLE), flags, 0o600)
            self.listen_to_signals()
            begun = self.begin()
            if self.go is not None and not (say({"ready": self.instance}) and self.heard_go(self.go)):
                self.call_off(begun)
                return
            pid = self.let_go(begun)
        except NotStarted as error:
            answer({"error": str(error)})
            return
        except (OSError, ValueError) as error:
            answer({"error": f"could not prepare {self.folder}: {error}"})
            return
        answer({"started": self.instance})
        self.attend_until_the_end(pid)

    def take_lock(self) -> Optional[str]:
        """Hold the lock for the rest of this process's life, or return the identity of what runs here already."""
        descriptor = os.open(self.path(LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        give_up = time.monotonic() + LOCK_PATIENCE_S
        while True:
            held = True
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held = False
            running = self.running()
            if running is not None:
                return running
            if held:
                break
            if time.monotonic() > give_up:
                raise NotStarted("the waiter of an earlier start does not end")
            time.sleep(0.01)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, self.identity.encode("ascii"))
        return None

    def running(self) -> Optional[str]:
        try:
            run = read_json(self.path(RUN))
        except FileNotFoundError:
            return None
        stat = process_stat(run["pid"])
        if stat is None or not lives(stat) or start_ticks_of(stat) != run["start_ticks"] or run["boot_id"] != self.boot:
            return None
        if is_to_be(run["pid"]):
            return None
        return identity_text(run["pid"], run["start_ticks"], run["boot_id"])

    def listen_to_signals(self) -> None:
        """SIGCHLD and SIGTERM wake the poll; SIGTERM means: restart nothing any more, but do see the child out."""
        self.wakeup, write_end = os.pipe()
        os.set_blocking(self.wakeup, False)
        os.set_blocking(write_end, False)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.signal(signal.SIGTERM, self.on_term)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def on_term(self, number: int, frame: object) -> None:
        self.told_to_end = True

    def sleep(self, seconds: float) -> None:
        """Until a signal comes, or that long."""
        poll = select.poll()
        poll.register(self.wakeup, select.POLLIN)
        if poll.poll(max(0, int(seconds * 1000))):
            with contextlib.suppress(BlockingIOError):
                os.read(self.wakeup, 4096)

    def heard_go(self, descriptor: int) -> bool:
        """Wait for the starter's word; False when it is gone, or when we are told to end. A named pipe that never had a
        writer shows no hang-up, but reads as empty, hence the read before each wait."""
        os.set_blocking(descriptor, False)
        poll = select.poll()
        for watched in (descriptor, self.wakeup):
            poll.register(watched, select.POLLIN)
        try:
            while not self.told_to_end:
                with contextlib.suppress(BlockingIOError):
                    return os.read(descriptor, 1) == b"!"
                poll.poll()
                with contextlib.suppress(BlockingIOError):
                    os.read(self.wakeup, 4096)
        finally:
            os.close(descriptor)
        return False

    def begin(self) -> Begun:
        """Fork the child and have it ready; OSError or NotStarted leave no process behind.

        The child waits at a gate until it is on record durably and let go, and ends by itself when the gate falls shut.
        So however this process dies, no instance runs of which nobody knows.
        """
        gate, open_gate = os.pipe()
        complaints, complain = os.pipe()
        # Blocked around the fork: a signal to the newborn must find the default action, not this process's handlers.
        mask = signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
        pid = os.fork()
        if pid == 0:
            os.close(open_gate)
            os.close(complaints)
            become_program(self.spec, self.console, gate, complain)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(gate)
        os.close(complain)
        begun = Begun(pid, open_gate, complaints)
        try:
            self.record_start(pid)
        except BaseException:
            bury(begun)
            raise
        said = os.read(complaints, 4096)
        if said != READY:
            self.give_up(begun, said)
        return begun

    def let_go(self, begun: Begun) -> int:
        """Let the child become the program, and return its pid; NotStarted leaves no process behind."""
        self.started = time.monotonic()
        self.spoke_from = os.fstat(self.console).st_size
        with contextlib.suppress(BrokenPipeError):
            os.write(begun.gate, b"!")
        complaint = b""
        while chunk := os.read(begun.complaints, 4096):
            complaint += chunk
        if complaint:
            self.give_up(begun, complaint)
        os.close(begun.gate)
        os.close(begun.complaints)
        return begun.pid

    def launch(self) -> int:
        """Again, after it had ended: a core of that goes, or each restart would add one to the disk."""
        scratch = self.spec.get("scratch")
        if scratch is not None:
            with contextlib.suppress(OSError):
                for entry in os.listdir(scratch):
                    os.unlink(os.path.join(scratch, entry))
        return self.let_go(self.begin())

    def give_up(self, begun: Begun, complaint: bytes) -> NoReturn:
        """A child that could not take on what was declared has said why, and ends."""
        bury(begun)
        reason = complaint.lstrip(READY).decode("utf-8", "replace") or "its process ended before it became the program"
        with contextlib.suppress(OSError):
            self.record_exit(NOT_STARTED, None, reason)
        raise NotStarted(reason)

    def call_off(self, begun: Begun) -> None:
        """The starter did not give its word: then the instance was never started, and nothing shall say it was."""
        bury(begun)
        with contextlib.suppress(OSError):
            os.unlink(self.path(RUN))

    def record_start(self, pid: int) -> None:
        stat = process_stat(pid)
        if stat is None:
            raise NotStarted("its process vanished before it became the program")
        self.instance = identity_text(pid, start_ticks_of(stat), self.boot)
        write_durably(
            self.path(RUN),
            {
                "pid": pid,
                "start_ticks": start_ticks_of(stat),
                "boot_id": self.boot,
                "waiter": self.identity,
                "started_at": wall(),
                "restarts": self.restarts,
                "token": self.spec["token"],
            },
        )

    def record_exit(self, status: Optional[int], number: Optional[int], meaning: str) -> None:
        record = {"of": self.instance, "status": status, "signal": number, "at": wall(), "meaning": meaning}
        for patience_s in (0.1, 0.4, 1.0, 0.0):
            try:
                write_durably(self.path(EXIT), record)
                return
            except OSError:
                if not patience_s:
                    raise
                time.sleep(patience_s)  # a full disk may have room again

    def attend_until_the_end(self, first: int) -> None:
        pid: Optional[int] = first
        in_a_row = 0
        while True:
            failed = True
            if pid is not None:
                failed = self.attend(pid)
                if time.monotonic() - self.started >= self.spec["restart_healthy_s"]:
                    in_a_row = 0
            if not self.restarts_after(failed):
                return
            if in_a_row >= self.spec["restart_limit"]:
                self.add_to_exit(f"; given up after {in_a_row} restarts in a row")
                return
            self.pause(min(self.spec["restart_delay_s"] * 2.0**in_a_row, self.spec["restart_delay_max_s"]))
            if not self.restarts_after(failed):
                return
            in_a_row += 1
            self.restarts += 1
            try:
                pid = self.launch()
            except (OSError, NotStarted):
                pid = None

    def restarts_after(self, failed: bool) -> bool:
        if self.told_to_end or os.path.exists(self.path(STOPPING)) or os.path.exists(self.path(ON_TRIAL)):
            return False
        return bool(self.spec["restart"] == "always" or (self.spec["restart"] == "on_failure" and failed))

    def pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self.told_to_end and time.monotonic() < end:
            self.sleep(end - time.monotonic())

    def add_to_exit(self, remark: str) -> None:
        with contextlib.suppress(OSError, ValueError, KeyError):
            record = read_json(self.path(EXIT))
            self.record_exit(record["status"], record["signal"], record["meaning"] + remark)

    def attend(self, pid: int) -> bool:
        """Wait for the end, keep the console bounded meanwhile, record, sweep. True when it ended in failure."""
        look_s, size = LOOK_MIN_S, 0
        spoken_at: Optional[float] = None
        while True:
            # WNOWAIT: as a zombie it keeps its number, so the session certainly is ours while it is swept.
            end = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if end is not None:
                break
            self.sleep(look_s)
            look_s, size = self.look_at_console(look_s, size)
            if not self.said_last_words(size):
                spoken_at = None
            elif spoken_at is None:
                spoken_at = time.monotonic()
            elif time.monotonic() - spoken_at > LAST_WORDS_PATIENCE_S:
                os.kill(pid, signal.SIGKILL)  # it is our child, and not buried
        if end.si_code == os.CLD_EXITED:
            status, number = end.si_status, None
            meaning = f"exited with status {status}"
        else:
            status, number = None, end.si_status
            meaning = f"killed by {signal_name(number)}"
        with contextlib.suppress(OSError):
            self.record_exit(status, number, meaning)
        sweep(pid, self.spec["token"])
        os.waitpid(pid, 0)
        self.look_at_console(LOOK_MIN_S, 0)
        return status != 0

    def said_last_words(self, size: int) -> bool:
        """Whether the end of the console holds the words after which this program has nothing to do but to end."""
        words = self.spec.get("last_words")
        # An earlier run's last words stand there too; and a console that was cut begins anew.
        self.spoke_from = min(self.spoke_from, size)
        tail = max(self.spoke_from, size - LAST_WORDS_TAIL)
        return bool(words) and octets(words) in os.pread(self.console, LAST_WORDS_TAIL, tail)

    def look_at_console(self, elapsed_s: float, size_before: int) -> tuple[float, int]:
        """Move the console away when it is above its bound; returns when to look again and its size.

        Copied and cut, not renamed: the instance writes to this very file (in append mode, so it goes on at the new
        end). What it writes between the copy and the cut is lost. That is the price for never blocking it.
        """
        bound = self.spec["console_bytes"]
        size = os.fstat(self.console).st_size
        if size > bound:
            # No room for the copy is no reason to let the console eat the rest of the disk.
            with contextlib.suppress(OSError):
                self.keep_copy(size, bound)
            os.ftruncate(self.console, 0)
            return LOOK_MIN_S, 0
        grown = size - size_before
        if grown <= 0:
            return min(elapsed_s * 2, LOOK_MAX_S), size
        until_full_s = (bound - size) * elapsed_s / grown
        return min(max(until_full_s / 2, LOOK_MIN_S), LOOK_MAX_S), size

    def keep_copy(self, size: int, bound: int) -> None:
        temporary = self.path(CONSOLE_BEFORE) + ".new"
        copy = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            position = size - bound
            while position < size:
                chunk = os.pread(self.console, min(1 << 18, size - position), position)
                if not chunk:
                    break
                position += os.write(copy, chunk)
        finally:
            os.close(copy)
        os.replace(temporary, self.path(CONSOLE_BEFORE))


def bury(begun: Begun) -> None:
    """End a child that was not let go."""
    os.close(begun.gate)
    os.waitpid(begun.pid, 0)
    os.close(begun.complaints)


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


# --- coming up --------------------------------------------------------------------------------------


def say(message: dict[str, str]) -> bool:
    """Tell the starter; False when nobody listens any more."""
    try:
        os.write(1, (json.dumps(message) + "\n").encode("ascii"))
    except OSError:
        return False
    return True


def answer(message: dict[str, str]) -> None:
    """Tell the starter, then let go of it: whoever closes its end, or the connection behind it, is no more ours."""
    say(message)
    nothing = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)


def close_inherited(kept: Optional[int]) -> None:
    """Everything but the standard three: a pipe of Ansible's kept open here would keep its task from ending."""
    for entry in os.listdir("/proc/self/fd"):
        if int(entry) > 2 and int(entry) != kept:
            with contextlib.suppress(OSError):
                os.close(int(entry))


def attend_in_unit(folder: str) -> int:
    """Be the main process of a unit of systemd. The program begins when the starter gives its word, and not at all
    when nobody waits for it: so a unit that somebody starts by hand, or a starter that died, starts nothing."""
    os.chdir("/")
    os.umask(0o077)
    try:
        answers = os.open(os.path.join(folder, ANSWER), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        go = os.open(os.path.join(folder, GO), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        sys.stderr.write(
            f"Only the guard starts instances, and none is starting this one ({error}). Nothing was done.\n"
        )
        return 2
    os.dup2(answers, 1)
    close_inherited(go)
    try:
        Waiter(folder, go).run()
    except BaseException:
        report_failure(folder)
        return 1
    return 0


def report_failure(folder: str) -> None:
    """The traceback of the exception that is being handled, to the file for it and to the starter."""
    import traceback  # costs 10 ms, so only when it is needed

    with contextlib.suppress(OSError), open(os.path.join(folder, ERROR), "w", encoding="utf-8") as file:
        traceback.print_exc(file=file)
    answer({"error": traceback.format_exc(limit=-1).strip()})


def main(argv: list[str]) -> int:
    """``waiter FOLDER [GO]``: go to the background, in a session of its own, and wait there. Returns at once.

    GO is the number of a descriptor: the program is begun when a byte comes from it, and not at all when it is closed
    instead. Without it, it is begun at once.
    """
    if len(argv) == 2 and argv[0] == "waiter-unit":
        return attend_in_unit(os.path.realpath(argv[1]))
    if len(argv) not in (2, 3) or argv[0] != "waiter":
        sys.stderr.write("usage: waiter FOLDER [GO], or waiter-unit FOLDER\n")
        return 2
    folder = os.path.abspath(argv[1])
    between = os.fork()
    if between:
        os.waitpid(between, 0)  # it ends at once; in a container nobody else might bury it
        return 0
    try:
        os.setsid()
        if os.fork():
            os._exit(0)  # only a session's leader can be given a terminal, and this one ends here
        os.chdir("/")
        os.umask(0o077)
        go = int(argv[2]) if len(argv) == 3 else None
        close_inherited(go)
        Waiter(folder, go).run()
    except BaseException:
        report_failure(folder)
    os._exit(0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
