# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The beginning and the end of a scenario.

``folder.py begin FOLDER NAME...`` makes the folder anew, and writes ``FOLDER/run.yml``, an inventory with a free port
for every name. ``folder.py end FOLDER`` makes every unikernel absent that runs below the folder, ends whatever else
still runs there, by its verified identity, and removes the folder. It fails if it had to end anything by force, or
could not.
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import FleetError
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.node import local_node
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.proposal import Declaration, Wanted
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.report import known_names
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import Holder
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import TrialOptions, locked
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime import waiter
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.process import ProcessIdentity, send
from ansible_collections.unikernel.fleet.tests.support.molecule.look import processes_below

PATIENCE_S = 15.0


def begin(folder: Path, names: list[str]) -> list[str]:
    troubles = end(folder) if folder.exists() else []
    folder.mkdir(parents=True)
    inventory = {"all": {"vars": {"folder": str(folder), "ports": free_ports(names)}}}
    # JSON is YAML.
    (folder / "run.yml").write_text(json.dumps(inventory), encoding="utf-8")
    return troubles


def free_ports(names: list[str]) -> dict[str, int]:
    """All are held until all are found, so that no two are equal."""
    with ExitStack() as held:
        sockets = {name: held.enter_context(socket.create_server(("127.0.0.1", 0))) for name in names}
        return {name: listening.getsockname()[1] for name, listening in sockets.items()}


def end(folder: Path) -> list[str]:
    end_servers(folder)
    troubles = []
    for root in sorted(folder.glob("node*")):
        node = local_node(NodeLayout(root))
        for name in known_names(node):
            try:
                with locked(node, name, Holder(who="the end of the scenario"), wait_s=PATIENCE_S) as transaction:
                    options = TrialOptions(timeout_s=0, takeover=True, accept_no_way_back=True)
                    transaction.declare(Declaration(wanted=Wanted.ABSENT), options, arm=None)
            except FleetError as error:
                troubles.append(f"{name}: {error}")
                end_by_force(root / "unikernels" / name)
    give_up = time.monotonic() + PATIENCE_S
    while processes_below(folder) and time.monotonic() < give_up:
        time.sleep(0.05)  # a guard ends within moments after its trial
    left = processes_below(folder)
    troubles += [f"process {pid} still runs: {command}" for pid, command in left.items()]
    if not left:
        shutil.rmtree(folder)
    return troubles


def end_servers(folder: Path) -> None:
    """What ``server.py`` started: each noted who it is, and is sent nothing if it is not that one any more."""
    for note in folder.glob("*.server"):
        with suppress(ProcessLookupError, ValueError):
            send(ProcessIdentity.parse(note.read_text(encoding="ascii")), signal.SIGTERM)


def end_by_force(unikernel: Path) -> None:
    for lock in unikernel.rglob(waiter.LOCK):
        with suppress(ValueError):
            send(ProcessIdentity.parse(lock.read_text(encoding="ascii")), signal.SIGKILL)
    for spec in unikernel.rglob(waiter.SPEC):
        token = json.loads(spec.read_bytes()).get("token")
        if token is not None:
            waiter.sweep(None, token)


def main() -> int:
    what, folder, *names = sys.argv[1:]
    troubles = begin(Path(folder), names) if what == "begin" else end(Path(folder)) if Path(folder).exists() else []
    for trouble in troubles:
        print(trouble, file=sys.stderr)
    return 1 if troubles and what == "end" else 0


if __name__ == "__main__":
    sys.exit(main())
