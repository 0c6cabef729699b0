# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The supervisor of a machine under systemd: each instance in a unit of its own, which gives it a cgroup and a sandbox.

All records, the restarts and the console are the waiter's, as under the detached supervisor: an instance that was
started by either is understood by both. Only the launch is another one, and a stop also ends what left the instance's
session and dropped its mark, for nothing leaves a cgroup.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Union

from ..durable import make_folder
from ..errors import DriverError
from ..layout import REHEARSAL, NodeLayout
from ..model import Exit
from . import units, waiter
from .process import identify, send
from .records import Run
from .supervisor import ProcessSpec
from .unit_files import ensure_templates
from .waiter_dialogue import START_PATIENCE_S, carry_on, heard
from .waiter_supervisor import KILL_PATIENCE_S, WaiterSupervisor

if TYPE_CHECKING:
    from .memory_room import Room

SYSTEMCTL_PATIENCE_S = 30.0
CGROUPS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
"""Where the unified hierarchy is: the second one where the old ones are mounted too (``hybrid``)."""


class SystemdSupervisor(WaiterSupervisor):
    """Supervisor by units of one template."""

    def __init__(self, layout: NodeLayout, kind: str) -> None:
        self._root = layout.root.absolute()
        self._layout = NodeLayout(self._root)
        self._kind = kind

    def unit(self, folder: Path) -> str:
        """The unit of the instance whose records lie in ``folder``."""
        name, release = _whose(folder)
        return units.unit_name(self._root, self._kind, name, release)

    def stop(self, folder: Path) -> Optional[Exit]:
        ended = super().stop(folder)
        if folder.is_dir():
            self._empty_cgroup(folder)
        return ended

    def _end_strays(self, folder: Path, run: Run) -> None:
        """All of them at once, and none that hides: what is in the unit's cgroup and is not its waiter."""
        give_up = time.monotonic() + KILL_PATIENCE_S
        while strays := _members(self._root, self.unit(folder)) - {run.identity.pid, run.waiter.pid}:
            if time.monotonic() > give_up:
                super()._end_strays(folder, run)
                return
            for pid in strays:
                found = identify(pid)
                if found is not None and pid in _members(self._root, self.unit(folder)):
                    send(found, signal.SIGKILL)
            time.sleep(0.001)

    def room(self) -> Optional[Room]:
        from .memory_room import room_in_slice

        slice_name = units.slice_name(self._root)
        made = any((mounted / slice_name).is_dir() for mounted in CGROUPS)
        return room_in_slice(slice_name, None if made else _configured_limit(slice_name))

    def discard(self, folder: Path) -> None:
        super().discard(folder)
        shutil.rmtree(units.links_folder(self._root, *_whose(folder)), ignore_errors=True)

    def _launch(self, folder: Path, spec: ProcessSpec, first: Callable[[], None]) -> Optional[dict[str, Any]]:
        folder = folder.absolute()
        ensure_templates(self._layout)
        unit = self.unit(folder)
        try:
            _make_links(units.links_folder(self._root, *_whose(folder)), folder, spec)
            answers, go = _make_pipes(folder)
        except OSError as error:
            raise DriverError(f"The instance in {folder} was not started: {error}. Nothing of it runs.") from error
        try:
            return _start(unit, answers, go, first)
        finally:
            os.close(answers)
            os.close(go)
            for name in (waiter.GO, waiter.ANSWER):
                with suppress(OSError):
                    (folder / name).unlink()

    def _empty_cgroup(self, folder: Path) -> None:
        """What hid from the sweep is still in the unit's cgroup."""
        unit = self.unit(folder)
        if not _populated(self._root, unit):
            return
        _systemctl("kill", "--signal=SIGKILL", unit)
        give_up = time.monotonic() + KILL_PATIENCE_S
        while _populated(self._root, unit):
            if time.monotonic() > give_up:
                raise DriverError(
                    f"Processes of {unit} do not die, not even by SIGKILL. It counts as not stopped. Look at them with "
                    f"'systemctl status {unit}' (state D: they wait for a disk or a network), then try again."
                )
            time.sleep(0.005)


def _start(unit: str, answers: int, go: int, first: Callable[[], None]) -> Optional[dict[str, Any]]:
    deadline = time.monotonic() + START_PATIENCE_S
    with subprocess.Popen(
        ["systemctl", "start", "--no-ask-password", "--", unit],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=_environment(),
    ) as starting:
        try:
            if not _speaks(answers, starting, deadline):
                return _why_not(unit, starting)
            reply = heard(answers, deadline)
            return None if reply is None else carry_on(reply, answers, go, first)
        finally:
            if starting.poll() is None:
                _finish(starting)


def _speaks(answers: int, starting: subprocess.Popen[bytes], deadline: float) -> bool:
    """Wait for the waiter's first word; False when its unit failed, or it took too long."""
    poll = select.poll()
    poll.register(answers, select.POLLIN)
    while time.monotonic() < deadline:
        if poll.poll(20):
            return True
        if starting.poll():
            return False
    return False


def _why_not(unit: str, starting: subprocess.Popen[bytes]) -> Optional[dict[str, Any]]:
    complaint = ""
    if starting.poll() and starting.stderr is not None:
        complaint = starting.stderr.read(4096).decode("utf-8", "replace").strip()
    shown = _systemctl("show", "--property=Result,ExecMainStatus,LoadState", unit).replace("\n", " ").strip()
    if starting.poll() is None and not complaint:
        return None
    return {"error": f"its unit {unit} did not start ({shown}): {complaint[-1500:] or 'see its journal'}"}


def _finish(starting: subprocess.Popen[bytes]) -> None:
    with suppress(subprocess.TimeoutExpired):
        starting.wait(START_PATIENCE_S)
        return
    starting.kill()


def _make_links(links: Path, folder: Path, spec: ProcessSpec) -> None:
    """Name for the unit, in /run, what lies elsewhere. Anew for each start: another configuration, other places."""
    shutil.rmtree(links, ignore_errors=True)
    os.makedirs(links, mode=0o755, exist_ok=True)
    os.symlink(folder, links / units.RECORDS)
    places = [place for place in dict.fromkeys(_places(spec)) if Path(place) != Path("/")]
    if len(places) > units.WRITABLE:
        raise OSError(f"it may write to at most {units.WRITABLE} places, and {len(places)} are declared")
    for number, place in enumerate(places):
        os.symlink(place, links / f"writable-{number}")


def _places(spec: ProcessSpec) -> tuple[str, ...]:
    scratch = () if spec.scratch is None else (spec.scratch,)
    return (spec.directory, *spec.writable, *scratch)


def _make_pipes(folder: Path) -> tuple[int, int]:
    """The two ends that the starter holds. Each is opened in both directions where it has to be there before the other
    side is: ``go`` is written by us alone, so its end is the end of us."""
    make_folder(folder)
    for name in (waiter.GO, waiter.ANSWER):
        with suppress(FileNotFoundError):
            (folder / name).unlink()
        os.mkfifo(folder / name, 0o600)
    answers = os.open(folder / waiter.ANSWER, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        go = os.open(folder / waiter.GO, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        os.close(answers)
        raise
    return answers, go


def _whose(folder: Path) -> tuple[str, Union[int, str]]:
    """``.../unikernels/NAME/instances/RELEASE``, or ``.../unikernels/NAME/rehearsal``"""
    if folder.name == REHEARSAL and folder.parent.parent.name == "unikernels":
        return folder.parent.name, REHEARSAL
    found = re.fullmatch(r"(?P<name>[^/]+)/instances/(?P<release>[0-9]+)", "/".join(folder.parts[-3:]))
    if found is None:
        raise DriverError(f"{folder} is not the folder of an instance, so no unit of systemd belongs to it.")
    return found["name"], int(found["release"])


def _members(root: Path, unit: str) -> set[int]:
    for mounted in CGROUPS:
        with suppress(OSError, ValueError):
            named = (mounted / units.slice_name(root) / unit / "cgroup.procs").read_text(encoding="ascii")
            return {int(word) for word in named.split()}
    return set()


def _configured_limit(unit: str) -> Optional[int]:
    """In bytes; None: it has none. Of the old hierarchy, where that is in use, ``MemoryLimit=`` is the name."""
    shown = _systemctl("show", "--property=MemoryMax,MemoryHigh,MemoryLimit", "--", unit)
    numbers = [value for _unused, _sign, value in (line.partition("=") for line in shown.splitlines())]
    return min((int(number) for number in numbers if number.isdecimal() and int(number) < 2**60), default=None)


def _populated(root: Path, unit: str) -> bool:
    for mounted in CGROUPS:
        events = mounted / units.slice_name(root) / unit / "cgroup.events"
        with suppress(OSError):
            return "populated 1" in events.read_text(encoding="ascii")
    return False


def _systemctl(*arguments: str) -> str:
    """What it says; what it cannot do shows in what is looked at afterwards."""
    with suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(
            ["systemctl", "--no-ask-password", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SYSTEMCTL_PATIENCE_S,
            check=False,
            env=_environment(),
        ).stdout.decode("utf-8", "replace")
    return ""


def _environment() -> dict[str, str]:
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""}
