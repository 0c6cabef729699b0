# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is on record of an instance in its folder: how it is to be run, the process that was started last, how that
ended, and whether it was stopped. The waiter writes of the process, its supervisor all else."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, TypeVar

from .. import codec
from ..durable import write_durably
from ..errors import DriverError
from ..model import Exit
from . import waiter
from .process import ProcessIdentity, alive
from .supervisor import ProcessSpec

T = TypeVar("T")

PATIENCE_S = 1.0
"""For a waiter that still lives to write down the end of an instance that has just died."""
LOOK_S = 0.002


@dataclass(frozen=True)
class Run:
    """What ``run.json`` says of the process that was started last."""

    identity: ProcessIdentity
    waiter: ProcessIdentity
    restarts: int
    token: str


class Records:
    """Those of one instance."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def run(self) -> Optional[Run]:
        """None: it was never started. DriverError when nobody can know."""
        path = self._folder / waiter.RUN
        try:
            data = json.loads(path.read_bytes())
            identity = ProcessIdentity(int(data["pid"]), int(data["start_ticks"]), str(data["boot_id"]))
            return Run(identity, ProcessIdentity.parse(data["waiter"]), int(data["restarts"]), str(data["token"]))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DriverError(
                f"{path} cannot be read ({type(error).__name__}: {error}), so nobody knows which process "
                "the instance is; nothing was done. If none of it runs any more (see 'ps'), remove that file."
            ) from error

    # --- how it ended

    def exit(self, run: Optional[Run]) -> Optional[Exit]:
        """How the process of ``run`` ended; what nobody saw is said so."""
        if run is None:
            return None
        recorded = self._recorded_exit(run)
        if recorded is not None:
            return recorded
        if run.identity.boot_id != waiter.boot_id():
            return Exit(meaning="ended with the machine")
        return Exit()

    def exit_once_recorded(self, run: Run) -> Optional[Exit]:
        """As :meth:`exit`; but between the death and its record lies a moment, and who looks then shall not be told
        that nobody saw it."""
        give_up = time.monotonic() + PATIENCE_S
        while self._recorded_exit(run) is None and alive(run.waiter) and time.monotonic() < give_up:
            time.sleep(LOOK_S)
        return self.exit(run)

    def _recorded_exit(self, run: Run) -> Optional[Exit]:
        with suppress(OSError, ValueError, KeyError, TypeError):
            data = json.loads((self._folder / waiter.EXIT).read_bytes())
            if data["of"] == str(run.identity):
                return Exit(data["status"], data["signal"], data["at"], data["meaning"])
        return None

    # --- that it is stopped

    def mark_stopping(self, run: Optional[Run], complete: bool) -> None:
        """Whatever is in the file, no waiter starts anything while it exists; its content spares the next stop the
        work."""
        mark = {"of": _name_of(run), "complete": complete}
        write_durably(self._folder / waiter.STOPPING, json.dumps(mark).encode("ascii"))

    def stop_was_completed(self, run: Optional[Run]) -> bool:
        try:
            mark = json.loads((self._folder / waiter.STOPPING).read_bytes())
            return bool(mark["complete"]) and mark["of"] == _name_of(run)
        except (OSError, ValueError, KeyError, TypeError):
            return False

    # --- how it is to be run

    def write_spec(self, spec: ProcessSpec) -> None:
        """Whoever reads it may start the instance from now on."""
        written = {**codec.encode(spec), "token": secrets.token_hex(16), "boot_id": waiter.boot_id()}
        write_durably(self._folder / waiter.SPEC, json.dumps(written).encode("ascii"))
        (self._folder / waiter.STOPPING).unlink(missing_ok=True)

    def grace_s(self) -> float:
        return self._of_spec("stop_grace_s", float, ProcessSpec.stop_grace_s)

    def may_fork(self) -> bool:
        return self._of_spec("forks", bool, ProcessSpec.forks)

    def _of_spec(self, name: str, kind: Callable[[Any], T], default: T) -> T:
        try:
            return kind(json.loads((self._folder / waiter.SPEC).read_bytes())[name])
        except (OSError, ValueError, KeyError, TypeError):
            return default


def _name_of(run: Optional[Run]) -> Optional[str]:
    return None if run is None else str(run.identity)
