# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The double as a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.client import Client
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.errors import (
    ClosedUnanswered,
    NotSent,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import ROOT, Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.unix_sockets import UnixSockets
from ansible_collections.unikernel.fleet.tests.support.albatross_asking import (
    config,
)
from ansible_collections.unikernel.fleet.tests.support.programs import until


def test_as_a_process_of_its_own_it_outlives_who_started_it_and_leaves_nothing(tmp_path: Path) -> None:
    folder, ready = tmp_path / "s", tmp_path / "ready"
    module = "ansible_collections.unikernel.fleet.tests.support.albatross"
    command = [sys.executable, "-m", module, f"--folder={folder}", "--bridge=br0", f"--ready={ready}", "--tls-port=0"]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        until(ready.exists, within_s=30.0)
        assert json.loads(ready.read_text(encoding="utf-8"))["tls_port"] > 0
        client = Client(UnixSockets(folder))
        for label in ("a", "b"):
            client.create(Name((), label), config())
        pids = _children(process.pid)
        (folder / "double" / "bridges").write_text("br0 br7", encoding="utf-8")
        process.send_signal(signal.SIGHUP)
        until(lambda: _bridges(client) == ("br0", "br7"))
        assert len(client.unikernels()) == 2 and not pids & _children(process.pid)
        process.send_signal(signal.SIGUSR1)
        until(lambda: _bridges(client) is None)
        pids = _children(process.pid)
        assert len(pids) == 2
        process.send_signal(signal.SIGHUP)
        until(lambda: _bridges(client) is not None)
        assert len(_children(process.pid)) == 4
        pids = _children(process.pid)
        process.terminate()
        assert process.wait(20.0) == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    finally:
        process.kill()
        process.wait()


def _children(pid: int) -> set[int]:
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):
            found |= {int(word) for word in (task / "children").read_text(encoding="ascii").split()}
    return found


def _bridges(client: Client) -> object:
    try:
        return client.policies(ROOT)[0].policy.bridges
    except (NotSent, ClosedUnanswered):
        return None
