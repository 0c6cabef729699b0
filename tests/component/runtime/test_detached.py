# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The detached supervisor with real processes. Every test ends what it started, by identity, even when it fails."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet import codec
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import DriverError
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import Exit, RestartPolicy
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime import detached, waiter, waiter_supervisor
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.process import (
    ProcessIdentity,
    alive,
    send,
    wait_end,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.supervisor import (
    Phase,
    ProcessSpec,
    Standing,
)
from ansible_collections.unikernel.fleet.tests.support import programs
from ansible_collections.unikernel.fleet.tests.support.programs import until, write_program

SUPERVISOR = detached.DetachedSupervisor()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "instance"
    programs.end_all_instances(tmp_path)


def spec(folder: Path, source: str, **changes: Any) -> ProcessSpec:
    program = folder.parent / f"program-{abs(hash(source))}"
    if not program.exists():
        write_program(program, source)
    values: dict[str, Any] = {"program": str(program), "argv": ("tiny",), "environment": {"PATH": os.environ["PATH"]}}
    return ProcessSpec(**{**values, **changes})


def start(folder: Path, source: str, **changes: Any) -> ProcessIdentity:
    return ProcessIdentity.parse(SUPERVISOR.start(folder, spec(folder, source, **changes)))


def ended(folder: Path) -> Standing:
    """Its standing, once it has ended, and its waiter too."""
    until(lambda: SUPERVISOR.inspect(folder).phase is Phase.ENDED)
    assert wait_end(waiter_of(folder), 10.0)
    return SUPERVISOR.inspect(folder)


def run_record(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "run.json").read_bytes())
    return record


def waiter_of(folder: Path) -> ProcessIdentity:
    return ProcessIdentity.parse(run_record(folder)["waiter"])


def kill_waiter(folder: Path) -> None:
    identity = waiter_of(folder)
    assert send(identity, signal.SIGKILL)
    assert wait_end(identity, 5.0)


def console(folder: Path) -> tuple[str, ...]:
    return SUPERVISOR.tail(folder, 1000)


def speaks(folder: Path) -> None:
    until(lambda: console(folder))


def mine(folder: Path) -> list[tuple[int, int]]:
    """All processes of the instance, wherever they went."""
    return waiter.leftovers(None, json.loads((folder / "spec.json").read_bytes())["token"])


# --- starting and ending ------------------------------------------------------------------------------


def test_what_was_started_runs_and_what_was_stopped_does_not(folder: Path) -> None:
    identity = start(folder, programs.LIVES)
    standing = SUPERVISOR.inspect(folder)
    assert standing.phase is Phase.RUNNING and standing.identity == str(identity) and standing.exit is None
    assert standing.uptime_s is not None and standing.memory_mib is not None
    ended_how = SUPERVISOR.stop(folder)
    assert ended_how is not None and ended_how.signal == signal.SIGTERM
    assert ended_how.meaning == "killed by SIGTERM" and ended_how.at is not None
    assert not alive(identity) and not mine(folder)


def test_an_instance_that_was_never_started_is_that(folder: Path) -> None:
    assert SUPERVISOR.inspect(folder) == Standing(Phase.NEVER)
    assert SUPERVISOR.stop(folder) is None
    assert SUPERVISOR.tail(folder, 5) == ()
    SUPERVISOR.discard(folder)


@pytest.mark.parametrize(
    ("source", "expected", "meaning"),
    [
        (programs.EXITS_WELL_AT_ONCE, (0, None), "exited with status 0"),
        (programs.EXITS_BADLY_AT_ONCE, (1, None), "exited with status 1"),
        (programs.CRASHES, (None, signal.SIGSEGV), "killed by SIGSEGV"),
    ],
)
def test_how_it_ended_is_recorded(folder: Path, source: str, expected: tuple[int, int], meaning: str) -> None:
    start(folder, source)
    exit = ended(folder).exit
    assert exit is not None and (exit.status, exit.signal) == expected and exit.meaning == meaning
    assert SUPERVISOR.stop(folder) == exit, "a stop afterwards tells the same"


def test_stopping_and_starting_may_be_repeated(folder: Path) -> None:
    first = start(folder, programs.LIVES)
    assert start(folder, programs.LIVES) == first
    exit = SUPERVISOR.stop(folder)
    assert SUPERVISOR.stop(folder) == exit
    second = start(folder, programs.LIVES)
    assert second != first and alive(second)


def test_two_starts_at_the_same_time_make_one_process(folder: Path) -> None:
    wanted = spec(folder, programs.LIVES)
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(SUPERVISOR.start(folder, wanted))) for _unused in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3 and len(set(found)) == 1


def test_what_is_to_be_done_first_is_done_before_the_process_begins(folder: Path) -> None:
    ran = folder.parent / "ran"
    seen: list[bool] = []
    wanted = spec(folder, programs.SHELL + f"touch {ran}\nexec sleep 300\n")
    SUPERVISOR.start(folder, wanted, first=lambda: seen.append(ran.exists()))
    until(ran.exists)
    SUPERVISOR.start(folder, wanted, first=lambda: seen.append(ran.exists()))
    assert seen == [False, True]


@pytest.mark.parametrize("late", [False, True], ids=["at once", "when the waiter is in the background"])
def test_what_goes_wrong_first_forbids_the_start(folder: Path, late: bool) -> None:
    def child_of_ours(pid: int) -> bool:
        fields = waiter.process_stat(pid)
        return fields is not None and int(fields[1]) == os.getpid()

    def waiters() -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and os.fsencode(folder) in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
        return found

    def fail() -> None:
        if late:
            until(lambda: waiters() and not any(child_of_ours(pid) for pid in waiters()))
        raise DriverError("the other one does not die")

    with pytest.raises(DriverError, match="does not die"):
        SUPERVISOR.start(folder, spec(folder, programs.LIVES), first=fail)
    until(lambda: not waiters())
    assert SUPERVISOR.inspect(folder).phase is Phase.NEVER and not mine(folder)


def test_what_cannot_be_made_ready_is_said_before_anything_is_done_first(folder: Path) -> None:
    done: list[bool] = []
    with pytest.raises(DriverError, match="/no/such/folder"):
        SUPERVISOR.start(folder, spec(folder, programs.LIVES, directory="/no/such/folder"), lambda: done.append(True))
    assert not done and not mine(folder)


def test_one_that_is_ready_and_not_let_go_was_never_started(folder: Path) -> None:
    seen: list[tuple[Phase, bool]] = []

    def look() -> None:
        recorded = ProcessIdentity.parse("{pid}:{start_ticks}:{boot_id}".format(**run_record(folder)))
        seen.append((SUPERVISOR.inspect(folder).phase, alive(recorded)))

    SUPERVISOR.start(folder, spec(folder, programs.LIVES), first=look)
    assert seen == [(Phase.NEVER, True)]
    until(lambda: SUPERVISOR.inspect(folder).phase is Phase.RUNNING)


def test_a_halted_one_is_dead_and_is_not_restarted_and_a_stop_tells_how_it_ended(folder: Path) -> None:
    identity = start(folder, programs.LIVES, restart=RestartPolicy.ALWAYS, restart_delay_s=0.0)
    SUPERVISOR.halt(folder)
    assert not alive(identity)
    exit = SUPERVISOR.stop(folder)
    assert exit is not None and exit.signal == signal.SIGTERM
    assert run_record(folder)["pid"] == identity.pid and wait_end(waiter_of(folder), 0.0)
    SUPERVISOR.halt(folder)


def test_a_halt_in_a_storm_of_restarts_leaves_nothing(folder: Path) -> None:
    storm = {"restart_delay_s": 0.0, "restart_delay_max_s": 0.0, "restart_limit": 10_000}
    start(folder, programs.EXITS_BADLY_AT_ONCE, restart=RestartPolicy.ALWAYS, **storm)
    until(lambda: SUPERVISOR.inspect(folder).restarts > 5)
    SUPERVISOR.halt(folder)
    SUPERVISOR.stop(folder)
    record = run_record(folder)
    assert wait_end(waiter_of(folder), 0.0) and not mine(folder)
    assert run_record(folder) == record


def test_a_halt_takes_the_children_along_and_kills_who_does_not_listen(folder: Path) -> None:
    start(folder, programs.LEAVES_CHILDREN)
    until(lambda: len(mine(folder)) == 3)
    SUPERVISOR.halt(folder)
    assert not mine(folder)
    SUPERVISOR.start(folder, spec(folder, programs.IGNORES_SIGTERM, stop_grace_s=0.1))
    speaks(folder)
    SUPERVISOR.halt(folder)
    assert not mine(folder)


def test_who_ignores_sigterm_is_killed_after_the_grace_time(folder: Path) -> None:
    identity = start(folder, programs.IGNORES_SIGTERM, stop_grace_s=0.2)
    speaks(folder)
    begin = time.monotonic()
    exit = SUPERVISOR.stop(folder)
    assert exit is not None and exit.meaning == "killed by SIGKILL"
    assert time.monotonic() - begin >= 0.2
    assert not alive(identity) and not mine(folder)


def test_the_children_that_it_leaves_are_swept_when_it_ends(folder: Path) -> None:
    start(folder, programs.LEAVES_CHILDREN_AND_ENDS)
    exit = ended(folder).exit
    assert exit is not None and exit.status == 3
    assert not mine(folder)


def test_a_stop_takes_the_children_along_even_those_in_other_sessions(folder: Path) -> None:
    start(folder, programs.LEAVES_CHILDREN)
    until(lambda: len(mine(folder)) == 3)
    SUPERVISOR.stop(folder)
    assert not mine(folder)


def test_the_instance_is_in_a_session_of_its_own_without_our_files(folder: Path) -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    identity = start(folder, programs.LIVES)
    assert os.getsid(identity.pid) == identity.pid
    own_waiter = waiter_of(folder)
    assert os.getsid(own_waiter.pid) not in (os.getsid(0), own_waiter.pid)
    os.close(writer)
    os.set_blocking(reader, False)
    assert os.read(reader, 1) == b"", "nobody else holds the pipe"
    os.close(reader)
    until(lambda: open_files(identity.pid) == {"/dev/null", str(folder / "console.log")})


def open_files(pid: int) -> set[str]:
    try:
        return {os.readlink(f"/proc/{pid}/fd/{descriptor}") for descriptor in os.listdir(f"/proc/{pid}/fd")}
    except FileNotFoundError:
        return set()  # one was just closed: the loader's, for instance


# --- what it gets ---------------------------------------------------------------------------------------


def test_nothing_of_our_environment_reaches_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_PASSWORD", "hunter2")
    start(folder, "", program="/usr/bin/env", environment={"GREETING": "grüß\ngott", "EMPTY": ""})
    ended(folder)
    token = run_record(folder)["token"]
    assert sorted(console(folder)) == sorted(["GREETING=grüß", "gott", "EMPTY=", f"UNIKERNEL_INSTANCE={token}"])


def test_its_arguments_arrive_whole(folder: Path) -> None:
    words = ("", " a b ", "--x=$(id)", "ünï\N{SNOWMAN}cödé", "\udcff", "z" * 100_000)
    start(folder, programs.SHOWS_ARGUMENTS, argv=("tiny", *words))
    until(lambda: len(console(folder)) == len(words) and len(console(folder)[-1]) == len(words[-1]))
    assert console(folder) == (*words[:4], "\ufffd", words[5])


def test_its_name_is_the_one_that_ps_shows(folder: Path) -> None:
    identity = start(folder, "", program="/bin/sleep", argv=("my-unikernel", "300"))
    assert Path(f"/proc/{identity.pid}/cmdline").read_bytes() == b"my-unikernel\x00300\x00"


def test_limits_folder_cpus_and_umask_are_in_force(folder: Path) -> None:
    cpu = min(os.sched_getaffinity(0))
    show = programs.SHELL + "pwd; umask; ulimit -n; ulimit -d; exec sleep 300\n"
    limits = {"RLIMIT_NOFILE": (64, 64), "RLIMIT_DATA": (32 * 2**20, 32 * 2**20)}
    home = folder.parent / "home"
    home.mkdir()
    identity = start(folder, show, directory=str(home), umask=0o027, cpus=(cpu,), limits=limits)
    until(lambda: len(console(folder)) == 4)
    assert console(folder) == (str(home), "0027", "64", str(32 * 1024))
    assert os.sched_getaffinity(identity.pid) == {cpu}
    assert resource.prlimit(identity.pid, resource.RLIMIT_NOFILE) == (64, 64)


def test_signals_have_their_default_actions(folder: Path) -> None:
    identity = start(folder, "", program="/bin/sleep", argv=("tiny", "300"))
    status = Path(f"/proc/{identity.pid}/status").read_text(encoding="utf-8")
    masks = dict(line.split(":\t", 1) for line in status.splitlines())
    # 32 and 33 are the C library's own and cannot be set through it; GNU make hands them on ignored.
    of_the_c_library = 0b11 << 31
    assert int(masks["SigBlk"], 16) == int(masks["SigIgn"], 16) & ~of_the_c_library == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start a process as another user")
def test_it_can_run_as_another_user(folder: Path) -> None:
    who = {"user_id": 65534, "group_id": 65534, "further_group_ids": (4, 6)}
    identity = start(folder, "", program="/bin/sleep", argv=("tiny", "300"), **who)
    assert os.stat(f"/proc/{identity.pid}").st_uid == 65534
    status = Path(f"/proc/{identity.pid}/status").read_text(encoding="ascii")
    assert "Gid:\t65534\t65534\t65534\t65534\nFDSize" in status and "Groups:\t4 6 \n" in status


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has power to give up")
def test_one_without_power_gets_none_by_being_root(folder: Path) -> None:
    tell = "#!/bin/sh\nid -u\ngrep -E '^(CapPrm|CapEff|NoNewPrivs)' /proc/self/status\nexec sleep 300\n"
    start(folder, tell, powerless=True)
    until(lambda: len(console(folder)) == 4)
    uid, *told = console(folder)
    assert uid == "0"
    assert [line.split() for line in told] == [["CapPrm:", "0" * 16], ["CapEff:", "0" * 16], ["NoNewPrivs:", "1"]]


def test_all_records_are_for_their_owner_only(folder: Path) -> None:
    start(folder, programs.LIVES)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    SUPERVISOR.hold_restarts(folder, True)
    SUPERVISOR.stop(folder)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert set(modes.values()) == {0o600}, modes
    assert set(modes) == {"spec.json", "run.json", "exit.json", "console.log", "stopping", "on-trial", "waiter.lock"}


# --- not starting ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "mode", "reason"),
    [
        ("#!/no/such/interpreter\n", 0o555, "No such file or directory"),
        ("#!/bin/sh\n", 0o444, "Permission denied"),
        ("neither program nor script\n", 0o555, "Exec format error"),
    ],
)
def test_a_program_that_cannot_be_executed_is_an_error_with_its_reason(
    folder: Path, source: str, mode: int, reason: str
) -> None:
    program = write_program(folder.parent / "broken", source, mode)
    with pytest.raises(DriverError, match=f"could not execute {program}: {reason}"):
        start(folder, "", program=str(program))
    exit = ended(folder).exit
    assert exit is not None and exit.status == 127 and reason in exit.meaning


def test_a_folder_that_is_not_there_is_an_error(folder: Path) -> None:
    with pytest.raises(DriverError, match="could not enter the folder /no/such/folder: No such file"):
        start(folder, programs.LIVES, directory="/no/such/folder")


def test_a_full_disk_leaves_no_process(folder: Path) -> None:
    program = spec(folder, programs.LIVES)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, hard))
    try:
        with pytest.raises(DriverError, match="records cannot be written"):
            SUPERVISOR.start(folder, program)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert SUPERVISOR.inspect(folder).phase is Phase.NEVER


def test_a_disk_that_is_full_for_the_waiter_leaves_no_process(folder: Path) -> None:
    ran = folder.parent / "ran"
    folder.mkdir()
    written = {**codec.encode(spec(folder, programs.SHELL + f"touch {ran}\nexec sleep 300\n")), "token": "cafe"}
    (folder / "spec.json").write_text(json.dumps(written), encoding="ascii")
    bounded = f"ulimit -f 0; exec {sys.executable} -I -S {waiter.__file__} waiter {folder} | cat"
    done = subprocess.run(
        ["/bin/sh", "-c", bounded], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=10, check=False
    )
    assert "File too large" in json.loads(done.stdout)["error"]
    assert SUPERVISOR.inspect(folder).phase is Phase.NEVER and not mine(folder) and not ran.exists()
    assert not [path for path in folder.iterdir() if path.name.endswith(".new")]


def waiter_with(patch: str, folder: Path) -> None:
    """Run a waiter that was changed so that it dies at a certain point."""
    source = waiter.__loader__.get_source(waiter.__name__)  # type: ignore[union-attr]
    before_main = source.rsplit("if __name__", 1)[0]
    program = f"{before_main}\nVICTIM = {str(folder.parent / 'victim')!r}\n{patch}\nmain(['waiter', {str(folder)!r}])\n"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-"], input=program.encode(), capture_output=True, timeout=10, check=False
    )
    assert not done.stderr


NOTE_VICTIM = "    open(VICTIM, 'w').write(identity_text(pid, start_ticks_of(process_stat(pid)), boot_id()))\n"
DIE = "    os.kill(os.getpid(), signal.SIGKILL)\n"
BEFORE_THE_RECORD = "def dying(self, pid):\n" + NOTE_VICTIM + DIE + "Waiter.record_start = dying\n"
AFTER_THE_RECORD = (
    "record_start = Waiter.record_start\n"
    "def dying(self, pid):\n    record_start(self, pid)\n" + NOTE_VICTIM + DIE + "Waiter.record_start = dying\n"
)


@pytest.mark.parametrize(("patch", "phase"), [(BEFORE_THE_RECORD, Phase.NEVER), (AFTER_THE_RECORD, Phase.ENDED)])
def test_a_waiter_that_dies_before_its_child_is_on_record_leaves_no_stray(
    folder: Path, patch: str, phase: Phase
) -> None:
    ran = folder.parent / "ran"
    wanted = spec(folder, programs.SHELL + f"touch {ran}\nexec sleep 300\n")
    folder.mkdir()
    written = {**codec.encode(wanted), "token": "f00d"}
    (folder / "spec.json").write_text(json.dumps(written), encoding="ascii")
    waiter_with(patch, folder)
    victim = folder.parent / "victim"
    assert wait_end(ProcessIdentity.parse(victim.read_text(encoding="ascii")), 5.0)
    assert not ran.exists()
    assert SUPERVISOR.inspect(folder).phase is phase
    assert alive(ProcessIdentity.parse(SUPERVISOR.start(folder, wanted))), "and the next start is none the worse"
    SUPERVISOR.stop(folder)


def test_the_waiter_can_be_run_from_its_file(folder: Path) -> None:
    folder.mkdir()
    written = {**codec.encode(spec(folder, programs.LIVES)), "token": "beef"}
    (folder / "spec.json").write_text(json.dumps(written), encoding="ascii")
    command = [sys.executable, "-I", "-S", str(waiter.__file__), "waiter", str(folder)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=10, check=False)
    assert json.loads(done.stdout) == {"started": SUPERVISOR.inspect(folder).identity}
    SUPERVISOR.stop(folder)


def test_a_start_from_a_zip_that_vanishes_goes_on(folder: Path) -> None:
    """As Ansible runs a module, and as the guard runs: the library is in a zip, and without Ansible."""
    package = Path(str(waiter.__file__)).parents[1]
    archive = folder.parent / "guard.pyz"
    with zipfile.ZipFile(archive, "w") as file:
        for path in package.rglob("*.py"):
            file.write(path, Path("_fleet") / path.relative_to(package))
    program = (
        f"import sys; sys.path.insert(0, {str(archive)!r})\n"
        "from pathlib import Path\n"
        "from _fleet.runtime.detached import DetachedSupervisor\n"
        "from _fleet.runtime.supervisor import ProcessSpec\n"
        "wanted = ProcessSpec('/bin/sh', ('tiny', '-c', 'exec sleep 300'), restart='always', restart_delay_s=0)\n"
        f"print(DetachedSupervisor().start(Path({str(folder)!r}), wanted))\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, timeout=20, check=False)
    archive.unlink()
    first = ProcessIdentity.parse(done.stdout.decode().strip())
    assert send(first, signal.SIGKILL)
    until(lambda: SUPERVISOR.inspect(folder).restarts == 1 and SUPERVISOR.inspect(folder).phase is Phase.RUNNING)
    SUPERVISOR.stop(folder)


def test_a_waiter_that_fails_says_so(folder: Path) -> None:
    folder.mkdir()
    (folder / "spec.json").write_text("{}", encoding="ascii")
    command = [sys.executable, "-I", "-S", str(waiter.__file__), "waiter", str(folder)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=10, check=False)
    assert "KeyError" in json.loads(done.stdout)["error"]
    assert "KeyError" in (folder / "waiter.error").read_text(encoding="utf-8")


# --- the console ------------------------------------------------------------------------------------------


def test_a_flood_on_the_console_is_bounded_and_does_not_block(folder: Path) -> None:
    bound = 1 << 20
    identity = start(folder, programs.FLOODS, console_bytes=bound)
    log, before = folder / "console.log", folder / "console.log.1"
    until(before.exists)
    first = before.stat().st_mtime_ns
    until(lambda: before.stat().st_mtime_ns != first)
    assert before.stat().st_size <= bound
    assert alive(identity)
    SUPERVISOR.stop(folder)
    assert before.stat().st_size <= bound and log.stat().st_size <= bound
    assert before.stat().st_size > 0


# --- the waiter dies --------------------------------------------------------------------------------------


def test_one_that_hangs_after_its_last_words_is_killed_and_no_other(folder: Path) -> None:
    source = programs.SHELL + "echo this is the end\nexec sleep 300\n"
    identity = start(folder, source, last_words="is the end")
    assert ended(folder).exit == SUPERVISOR.stop(folder) and not alive(identity)
    assert str(SUPERVISOR.inspect(folder).exit).count("SIGKILL") == 1
    source = programs.LIVES  # what stands on the console from before is not said by this one
    identity = start(folder, source, last_words="is the end")
    time.sleep(waiter.LAST_WORDS_PATIENCE_S + 2 * waiter.LOOK_MAX_S)
    assert alive(identity)


def test_an_instance_outlives_its_waiter_and_can_be_stopped(folder: Path) -> None:
    identity = start(folder, programs.LEAVES_CHILDREN)
    until(lambda: len(mine(folder)) == 3)
    assert SUPERVISOR.inspect(folder).watched
    kill_waiter(folder)
    assert alive(identity) and SUPERVISOR.inspect(folder).phase is Phase.RUNNING
    assert not SUPERVISOR.inspect(folder).watched
    assert start(folder, programs.LEAVES_CHILDREN) == identity
    assert SUPERVISOR.stop(folder) == Exit(meaning="ended, and nobody saw how")
    assert not mine(folder)


def test_without_a_waiter_nobody_saw_how_it_ended(folder: Path) -> None:
    identity = start(folder, programs.LIVES)
    kill_waiter(folder)
    send(identity, signal.SIGKILL)
    assert wait_end(identity, 5.0)
    assert SUPERVISOR.inspect(folder).exit == Exit(meaning="ended, and nobody saw how")


def test_a_waiter_that_was_frozen_is_put_aside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiter_supervisor, "WAITER_PATIENCE_S", 0.1)
    start(folder, programs.LIVES)
    send(waiter_of(folder), signal.SIGSTOP)
    assert SUPERVISOR.stop(folder) == Exit(meaning="ended, and nobody saw how")
    assert not mine(folder)


def test_a_hangup_does_not_reach_the_waiter(folder: Path) -> None:
    start(folder, programs.LIVES)
    send(waiter_of(folder), signal.SIGHUP)
    exit = SUPERVISOR.stop(folder)
    assert exit is not None and exit.meaning == "killed by SIGTERM"


def test_who_looks_between_a_death_and_its_record_waits_for_the_record(folder: Path) -> None:
    identity = start(folder, programs.LIVES)
    own_waiter = waiter_of(folder)
    send(own_waiter, signal.SIGSTOP)
    send(identity, signal.SIGKILL)
    assert wait_end(identity, 5.0)
    threading.Timer(0.05, send, (own_waiter, signal.SIGCONT)).start()
    exit = SUPERVISOR.inspect(folder).exit
    assert exit is not None and exit.signal == signal.SIGKILL


def test_an_old_record_of_an_end_does_not_speak_for_a_later_process(folder: Path) -> None:
    start(folder, programs.EXITS_BADLY_AT_ONCE)
    ended(folder)
    identity = start(folder, programs.LIVES)
    kill_waiter(folder)
    send(identity, signal.SIGKILL)
    assert wait_end(identity, 5.0)
    assert SUPERVISOR.inspect(folder).exit == Exit()


# --- other processes, other boots ---------------------------------------------------------------------------


def test_a_stranger_with_the_same_number_is_never_touched(folder: Path) -> None:
    start(folder, programs.LIVES)
    SUPERVISOR.stop(folder)
    (folder / "stopping").unlink()
    with subprocess.Popen(["sleep", "300"], start_new_session=True) as stranger:
        try:
            record = {**run_record(folder), "pid": stranger.pid}
            (folder / "run.json").write_text(json.dumps(record), encoding="ascii")
            assert SUPERVISOR.inspect(folder).phase is Phase.ENDED
            assert SUPERVISOR.stop(folder) == Exit()
            assert stranger.poll() is None
            again = start(folder, programs.LIVES)
            SUPERVISOR.stop(folder)
            assert not alive(again) and stranger.poll() is None
        finally:
            stranger.kill()


def test_after_a_reboot_it_has_ended_with_the_machine(folder: Path) -> None:
    identity = start(folder, programs.LIVES)
    kill_waiter(folder)
    record = {**run_record(folder), "boot_id": "0f0f0f0f-0000-4000-8000-000000000000"}
    (folder / "run.json").write_text(json.dumps(record), encoding="ascii")
    standing = SUPERVISOR.inspect(folder)
    assert standing.phase is Phase.ENDED and standing.exit == Exit(meaning="ended with the machine")
    send(identity, signal.SIGKILL)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": "x"}', b'{"pid": 5}'])
def test_a_record_that_cannot_be_read_is_an_error_and_not_a_guess(folder: Path, content: bytes) -> None:
    folder.mkdir()
    (folder / "run.json").write_bytes(content)
    for act in (SUPERVISOR.inspect, SUPERVISOR.stop, SUPERVISOR.discard):
        with pytest.raises(DriverError, match=r"run\.json cannot be read"):
            act(folder)
    assert (folder / "run.json").exists()


# --- restarts ---------------------------------------------------------------------------------------------

QUICK: dict[str, Any] = {"restart_delay_s": 0.01, "restart_delay_max_s": 0.04, "restart_healthy_s": 60.0}


def counts(folder: Path, then: str) -> str:
    """A program that writes a line per start into ``runs``."""
    return programs.SHELL + f"echo run >> {folder.parent / 'runs'}\n{then}\n"


def runs(folder: Path) -> int:
    record = folder.parent / "runs"
    return len(record.read_text(encoding="ascii").splitlines()) if record.exists() else 0


def test_what_failed_is_restarted_more_and_more_slowly_until_it_is_given_up(folder: Path) -> None:
    begin = time.monotonic()
    start(folder, counts(folder, "exit 1"), restart=RestartPolicy.ON_FAILURE, restart_limit=3, **QUICK)
    until(lambda: "given up" in str(SUPERVISOR.inspect(folder).exit))
    standing = ended(folder)
    assert time.monotonic() - begin >= 0.01 + 0.02 + 0.04
    assert runs(folder) == 4 and standing.restarts == 3
    assert standing.exit is not None and standing.exit.status == 1
    assert standing.exit.meaning == "exited with status 1; given up after 3 restarts in a row"


def test_a_restarted_instance_is_another_process_and_is_counted(folder: Path) -> None:
    first = start(folder, programs.LIVES, restart=RestartPolicy.ON_FAILURE, **QUICK)
    send(first, signal.SIGKILL)
    until(lambda: SUPERVISOR.inspect(folder).restarts == 1 and SUPERVISOR.inspect(folder).phase is Phase.RUNNING)
    standing = SUPERVISOR.inspect(folder)
    assert standing.identity != str(first)
    SUPERVISOR.stop(folder)
    assert not mine(folder) and SUPERVISOR.inspect(folder).phase is Phase.ENDED


def test_what_ended_well_is_only_restarted_when_always_is_said(folder: Path) -> None:
    start(folder, counts(folder, "exit 0"), restart=RestartPolicy.ON_FAILURE, **QUICK)
    assert ended(folder).restarts == 0
    start(folder, counts(folder, "exit 0"), restart=RestartPolicy.ALWAYS, restart_limit=2, **QUICK)
    until(lambda: "given up" in str(SUPERVISOR.inspect(folder).exit))
    assert runs(folder) == 1 + 3


def test_on_trial_nothing_is_restarted(folder: Path) -> None:
    SUPERVISOR.hold_restarts(folder, True)
    start(folder, counts(folder, "exit 1"), restart=RestartPolicy.ALWAYS, **QUICK)
    assert ended(folder).restarts == 0
    assert runs(folder) == 1
    SUPERVISOR.hold_restarts(folder, False)
    SUPERVISOR.hold_restarts(folder, False)
    start(folder, counts(folder, "exit 1"), restart=RestartPolicy.ALWAYS, **QUICK)
    until(lambda: runs(folder) >= 3)
    SUPERVISOR.stop(folder)


def test_a_stop_in_the_pause_before_a_restart_ends_it_for_good(folder: Path) -> None:
    slow = {**QUICK, "restart_delay_s": 30.0, "restart_delay_max_s": 30.0}
    start(folder, counts(folder, "exit 1"), restart=RestartPolicy.ALWAYS, **slow)
    until(lambda: SUPERVISOR.inspect(folder).exit is not None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(waiter_supervisor, "WAITER_PATIENCE_S", 0.05)
        with pytest.raises(DriverError, match="still lives"):
            SUPERVISOR.discard(folder)
    exit = SUPERVISOR.stop(folder)
    assert exit is not None and exit.status == 1
    assert wait_end(waiter_of(folder), 0.0) and runs(folder) == 1


def test_a_stop_in_a_storm_of_restarts_leaves_nothing(folder: Path) -> None:
    storm = {"restart_delay_s": 0.0, "restart_delay_max_s": 0.0, "restart_limit": 10_000}
    start(folder, programs.EXITS_BADLY_AT_ONCE, restart=RestartPolicy.ALWAYS, **storm)
    until(lambda: SUPERVISOR.inspect(folder).restarts > 5)
    SUPERVISOR.stop(folder)
    record = run_record(folder)
    assert wait_end(waiter_of(folder), 0.0) and not mine(folder)
    assert run_record(folder) == record


# --- discarding -------------------------------------------------------------------------------------------


def test_only_a_stopped_instance_is_discarded(folder: Path) -> None:
    identity = start(folder, programs.LIVES)
    with pytest.raises(DriverError, match="still lives"):
        SUPERVISOR.discard(folder)
    assert alive(identity) and (folder / "run.json").exists()
    SUPERVISOR.stop(folder)
    SUPERVISOR.discard(folder)
    SUPERVISOR.discard(folder)
    assert not folder.exists()


def test_a_start_that_was_overtaken_by_a_stop_starts_nothing(folder: Path) -> None:
    folder.mkdir()
    written = {**codec.encode(spec(folder, programs.LIVES)), "token": "feed"}
    (folder / "spec.json").write_text(json.dumps(written), encoding="ascii")
    assert SUPERVISOR.stop(folder) is None
    command = [sys.executable, "-I", "-S", str(waiter.__file__), "waiter", str(folder)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=10, check=False)
    assert "a stop was asked for" in json.loads(done.stdout)["error"]
    assert SUPERVISOR.inspect(folder).phase is Phase.NEVER
