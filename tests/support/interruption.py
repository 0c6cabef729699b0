# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Work that is done by a process of its own, which fails or is killed at a given step of it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import DriverError
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.waiter import enter_network_namespace

WORK_S = 60.0
_HIT, _NOT_HIT = 17, 18
# A fork would take this process' threads and locks along in whatever state they are.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([__name__])


class Fault(str, Enum):
    ERROR = "an error"
    MODULE_KILLED = "SIGKILL of the module"
    GUARD_KILLED = "SIGKILL of the guard"


@dataclass
class Failing:
    """Fails, or kills this very process, at the step of that number."""

    fault: Fault
    number: int
    steps: list[str] = field(default_factory=list)
    enabled: bool = False

    @property
    def was_hit(self) -> bool:
        return len(self.steps) > self.number

    def __call__(self, step: str) -> None:
        if not self.enabled:
            return
        self.steps.append(step)
        if len(self.steps) - 1 == self.number:
            if self.fault is Fault.ERROR:
                raise DriverError(f"a fault at {step!r}")
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: Any, name: str) -> None:
        """Make the begin and the end of that function steps too: in this process, which is nobody else's."""
        what = getattr(owner, name)

        def done(*arguments: Any, **named: Any) -> Any:
            self(f"before {name}")
            result = what(*arguments, **named)
            self(f"after {name}")
            return result

        setattr(owner, name, done)


def interrupted(work: Callable[..., None], fault: Fault, number: int, *arguments: Any) -> bool:
    """Whether the work came as far as the step of that number; it enables what fails when its steps begin.

    ``work``: a function of a module, which is called with a :class:`Failing` and these arguments, in another process
    but in this thread's network.
    """
    # The server that forks stays where it was first asked for: perhaps in the network of a lab that is no more.
    network = f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net"
    process = _PROCESSES.Process(target=_carried_out, args=(network, work, fault, number, *arguments))
    process.start()
    process.join(WORK_S)
    status = process.exitcode
    process.kill()  # where it hangs
    expected = (_HIT if fault is Fault.ERROR else -signal.SIGKILL, _NOT_HIT)
    assert status in expected, f"{work.__name__} at step {number} ended with {status}"
    return status != _NOT_HIT


def _carried_out(network: str, work: Callable[..., None], fault: Fault, number: int, *arguments: Any) -> None:
    if os.readlink(network) != os.readlink("/proc/thread-self/ns/net"):
        enter_network_namespace(network)
    failing = Failing(fault, number)
    work(failing, *arguments)
    os._exit(_HIT if failing.was_hit else _NOT_HIT)
