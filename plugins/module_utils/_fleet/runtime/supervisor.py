# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a supervisor is: it keeps the process of one instance, whose records lie in one folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Optional, Protocol

from ..model import SECRET, Exit, RestartPolicy

if TYPE_CHECKING:
    from .memory_room import Room


@dataclass(frozen=True)
class ProcessSpec:
    """How to run the process of an instance. It may hold secrets: written with mode 0600, never shown."""

    program: str
    """Absolute path of what is executed."""
    argv: tuple[str, ...] = field(metadata=SECRET)
    """All of it: the first word is the name that ``ps`` shows."""
    environment: Mapping[str, str] = field(default_factory=dict, metadata=SECRET)
    """All of it (but for the supervisor's own mark): nothing of the starter's environment is handed on."""
    directory: str = "/"
    writable: tuple[str, ...] = ()
    """Places that it may write to besides its own folder and ``directory``, where the supervisor forbids all others."""
    scratch: Optional[str] = None
    """A folder of its user's own (see ``scratch.py``). It is made anew for each start, and empty at each restart."""
    umask: int = 0o022
    cpus: tuple[int, ...] = ()
    limits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Names of :mod:`resource`, ``RLIMIT_NOFILE`` for instance, to the soft and the hard limit."""
    user_id: Optional[int] = None
    """None: the starter's."""
    group_id: Optional[int] = None
    further_group_ids: tuple[int, ...] = ()
    """Only where it is given a group."""
    powerless: bool = False
    """It executes without any capability, and can get none: even as root it has only what root owns."""
    forks: bool = True
    """Whether it may start other processes. Where it cannot, as in the sandbox of a tender, none are looked for in the
    moment between its end and its successor's begin."""
    last_words: Optional[str] = None
    """What the program writes to its console when it is about to end: where that takes it more than a few seconds, it
    hangs, and is killed."""
    network_namespace: Optional[str] = None
    """Path of the network namespace that it lives in (below /run/netns); None: the starter's."""
    oom_score_adj: Optional[int] = None
    """-1000 to 1000; the higher, the sooner the kernel ends it when memory runs out. None: the starter's."""
    restart: RestartPolicy = RestartPolicy.NEVER
    """A death by any signal counts as a failure."""
    restart_delay_s: float = 1.0
    """Before the first restart; doubles with each further one in a row."""
    restart_delay_max_s: float = 60.0
    restart_limit: int = 10
    """Restarts in a row; after that it is given up."""
    restart_healthy_s: float = 60.0
    """An instance that ran that long begins a new row."""
    console_bytes: int = 4 * 2**20
    """The console is moved away above that; so it takes about twice that of the disk."""
    stop_grace_s: float = 10.0
    """From the request to stop to the kill."""


class Phase(str, Enum):
    """What can be said of the process of an instance."""

    NEVER = "never"
    """It was never started, or nothing says so."""
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True)
class Standing:
    """An instance's process as it is now."""

    phase: Phase
    identity: Optional[str] = None
    """Of the last process that was started; None when there was none."""
    restarts: int = 0
    cpu_time_s: Optional[float] = None
    memory_mib: Optional[float] = None
    uptime_s: Optional[float] = None
    exit: Optional[Exit] = None
    """How it ended; only when it did."""
    watched: bool = True
    """False: it runs, and whoever kept it was killed. Nobody restarts it or sees how it ends, and its console grows."""


def nothing() -> None:
    """What is to be done first, as a rule."""


class Supervisor(Protocol):
    """Starts, stops and looks at processes. Every method may be repeated after a crash at any point within it."""

    def start(self, folder: Path, spec: ProcessSpec, first: Callable[[], None] = nothing) -> str:
        """Start the instance, unless it is alive already; returns the identity of its process.

        ``first`` is called when the process has only to execute its program (or lives already): there the caller halts
        what must not run beside it, and the time between the two is short. What it raises forbids the start.
        DriverError when it could not be started; nothing of it runs then. What cannot even be made ready is said before
        ``first`` is called.
        """

    def halt(self, folder: Path) -> None:
        """As :meth:`stop`, but no longer than it takes until nothing of the instance runs: how it ended is written down
        later, and a :meth:`stop` has to follow."""

    def stop(self, folder: Path) -> Optional[Exit]:
        """End the instance and everything that it left behind, and start nothing more from this folder until the
        next :meth:`start`. Politely at first, by force after its grace time. None when it never ran.

        DriverError when it would not even die by force.
        """

    def inspect(self, folder: Path) -> Standing:
        """What there is; changes nothing. DriverError when the records cannot be read."""

    def hold_restarts(self, folder: Path, hold: bool) -> None:
        """While held, an instance that ends stays ended, whatever its restart policy says."""

    def room(self) -> Optional[Room]:
        """The memory that is free where its instances live; None where nobody says."""

    def tail(self, folder: Path, lines: int) -> tuple[str, ...]:
        """The last lines of the console, bounded in bytes; bytes that are no UTF-8 are replaced."""

    def discard(self, folder: Path) -> None:
        """Remove the folder of an instance that was stopped or has ended. DriverError when it lives."""
