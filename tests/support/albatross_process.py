# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The double of albatross as a process of its own: it can be stopped, and shares no interpreter with its clients."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.client import Client
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import ROOT
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.unix_sockets import UnixSockets
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import DriverError
from ansible_collections.unikernel.fleet.tests.support.programs import until

MODULE = "ansible_collections.unikernel.fleet.tests.support.albatross"
START_S = 30.0
END_S = 20.0


@dataclass(frozen=True)
class AlbatrossProcess:
    """All daemons of one albatross, in the network namespace of who started it."""

    folder: Path
    """Of the sockets."""
    process: subprocess.Popen[bytes]

    def kill_daemon(self) -> None:
        """albatrossd alone; its unikernels run on."""
        self.process.send_signal(signal.SIGUSR1)
        until(lambda: not self._answers())

    def start_daemon(self) -> None:
        """Anew: it starts what its state names, whatever still runs."""
        self.process.send_signal(signal.SIGHUP)
        until(self._answers)

    def fall_silent(self) -> None:
        """From now on it takes connections and answers nobody."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            Client(UnixSockets(self.folder)).policies(ROOT)
        except DriverError:
            return False
        return True


@contextmanager
def albatross_process(folder: Path, *bridges: str) -> Iterator[AlbatrossProcess]:
    """Until the end of the ``with``; then nothing that it started is left."""
    folder.mkdir(parents=True, exist_ok=True)
    ready = folder / "ready"
    words = [f"--bridge={bridge}" for bridge in bridges]
    command = [sys.executable, "-m", MODULE, f"--folder={folder}", f"--ready={ready}", *words]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        until(ready.exists, within_s=START_S)
        yield AlbatrossProcess(folder, process)
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(END_S)
        finally:
            process.kill()
            process.wait()
