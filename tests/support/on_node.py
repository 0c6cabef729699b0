# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs on a node, as root, with the installed guard's own library: ``python3 - STEP ...`` with this on its input.

What it prints last is one line of JSON. It imports nothing of the collection but what the guard brought to the node.
"""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import Any

ROOT = "/var/lib/unikernel-fleet"
sys.path.insert(0, f"{ROOT}/guard.pyz")

from _fleet.checks.declaration import checks_from  # type: ignore[import-not-found] # noqa: E402
from _fleet.checks.model import Schedule  # type: ignore[import-not-found] # noqa: E402
from _fleet.layout import NodeLayout  # type: ignore[import-not-found] # noqa: E402
from _fleet.releases.guard_install import arm  # type: ignore[import-not-found] # noqa: E402
from _fleet.releases.node import local_node  # type: ignore[import-not-found] # noqa: E402
from _fleet.releases.proposal import Declaration, Wanted  # type: ignore[import-not-found] # noqa: E402
from _fleet.releases.report import report  # type: ignore[import-not-found] # noqa: E402
from _fleet.releases.state import Holder  # type: ignore[import-not-found] # noqa: E402
from _fleet.releases.transaction import TrialOptions, locked  # type: ignore[import-not-found] # noqa: E402

NODE = local_node(NodeLayout(Path(ROOT)))
ME = Holder(who="the test")
QUICK = Schedule(deadline_s=10.0, stable_for_s=0.1, consecutive=1)


def deploy(name: str, body: str, timeout_s: str = "0", start_order: str = "50", restart: str = "never") -> Any:
    """Declare a shell script; with a time-out it is on trial."""
    image = NODE.store.add_stream([f"#!/bin/sh\n{body}\n".encode()])
    options = TrialOptions(
        timeout_s=float(timeout_s), checks=checks_from([{"process": {}, "name": "it lives"}], None), schedule=QUICK
    )
    configuration = {"start_order": int(start_order), "restart": restart}
    with locked(NODE, name, ME) as transaction:
        change = transaction.declare(
            Declaration(Wanted.RUNNING, image=image, configuration=configuration),
            options,
            functools.partial(arm, NODE.layout),
        )
    return change.trial


def rehearse(name: str, body: str, bridge: str, address: str) -> Any:
    """Declare a shell script with a port on the bridge, rehearsed first; it must answer on port 80 there."""
    image = NODE.store.add_stream([f"#!/bin/sh\n{body}\n".encode()])
    checks = checks_from([{"process": {}}, {"tcp": {"host": address, "port": 80}, "timeout": 1}], None)
    options = TrialOptions(timeout_s=60.0, checks=checks, schedule=QUICK, rehearse=True)
    networks = [{"name": "eth0", "bridge": bridge, "addresses": [f"{address}/24"]}]
    with locked(NODE, name, ME) as transaction:
        change = transaction.declare(
            Declaration(Wanted.RUNNING, image=image, configuration={"networks": networks}),
            options,
            functools.partial(arm, NODE.layout),
        )
    return change.trial


def remove(*names: str) -> Any:
    for name in names:
        with locked(NODE, name, ME) as transaction:
            transaction.declare(Declaration(Wanted.ABSENT), TrialOptions(timeout_s=0.0), None)
    return None


def confirm(name: str, trial: str) -> Any:
    with locked(NODE, name, ME) as transaction:
        return transaction.confirm(trial)


def show(name: str) -> Any:
    """How it stands, read without a lock."""
    state = NODE.journal(name).read()
    current = state.current
    console = NODE.driver_for(current).console(name, current.number, 50) if current else ()
    return {
        "phase": state.phase.value,
        "current": state.current.number if state.current else None,
        "trial": state.trial.id if state.trial else None,
        "verdict": state.trial.verdict.outcome.value if state.trial and state.trial.verdict else None,
        "ended": [state.ended.outcome, state.ended.reason] if state.ended else None,
        "alive": sorted(i.release for i in NODE.inspect(state) if i.alive),
        "restarts": {i.release: i.restarts for i in NODE.inspect(state)},
        "console": list(console),
        "drift": report(NODE, name)["drift"],
    }


STEPS = {step.__name__: step for step in (deploy, rehearse, remove, confirm, show)}

if __name__ == "__main__":
    print(json.dumps(STEPS[sys.argv[1]](*sys.argv[2:])))
