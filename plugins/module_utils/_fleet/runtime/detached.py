# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The supervisor that needs nothing of the machine: one waiter per instance, records in the instance's folder.

Its limits: a waiter that was killed takes the exit status, the restarts and the bound of the console with it (the
instance itself lives on, and is seen and stopped as ever); and where logind is told to end a user's processes at
log-out (``KillUserProcesses=yes``), it ends these too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from ..errors import DriverError
from .supervisor import ProcessSpec
from .waiter_dialogue import START_PATIENCE_S, carry_on, heard
from .waiter_source import waiter_code
from .waiter_supervisor import WaiterSupervisor

if TYPE_CHECKING:
    from .memory_room import Room

WAITER_WORDS = ("-I", "-S", "-X", "utf8", "-c", "import marshal, sys; exec(marshal.loads(sys.stdin.buffer.read()))")


class DetachedSupervisor(WaiterSupervisor):
    """Its waiters are sessions of their own, and outlive the connection and the program that launched them."""

    def room(self) -> Optional[Room]:
        from .memory_room import room_beside_us

        return room_beside_us()  # what is launched stays in the control group of its launcher

    def _launch(self, folder: Path, spec: ProcessSpec, first: Callable[[], None]) -> Optional[dict[str, Any]]:
        # It gets its program on standard input: a path would point into the zip of an Ansible module, gone too soon.
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
                reply = heard(answers, time.monotonic() + START_PATIENCE_S)
                if reply is None:
                    process.kill()  # it may not be in the background yet; there, the closed pipe ends it
                    return None
                return carry_on(reply, answers, go, first)
        finally:
            os.close(go)
