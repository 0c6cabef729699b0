# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From a failed verdict on the node to an answer of the old release: driver unix, supervisor detached, stop_start."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases import guard
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import locked
from ansible_collections.unikernel.fleet.tests.support.fleet_node import ME
from ansible_collections.unikernel.fleet.tests.support.programs import end_all_instances
from ansible_collections.unikernel.fleet.tests.support.real_node import (
    AT_ONCE,
    NAME,
    answer_of,
    answering,
    declared,
    free_port,
    real_node,
    says,
    trial_options,
)

PATIENCE_S = 10.0


def outages_s(times: int) -> list[float]:
    """Per failed update, how long it took after the verdict until the old release answered again."""
    found = []
    for _unused in range(times):
        with tempfile.TemporaryDirectory(prefix="fleet-bench-") as folder:
            try:
                found.append(_outage_s(Path(folder)))
            finally:
                end_all_instances(Path(folder))
    return found


def _outage_s(root: Path) -> float:
    reached: dict[str, float] = {}
    node = real_node(root, lambda step: reached.setdefault(step, time.monotonic()))
    port = free_port()
    with locked(node, NAME, ME) as transaction:
        transaction.declare(declared(node, answering("one"), port), AT_ONCE, None)
    options = trial_options(says(port, "^never$", 0.05), deadline_s=0.1)
    with locked(node, NAME, ME) as transaction:
        trial = transaction.declare(declared(node, answering("two"), port), options, None).trial
    reached.clear()
    watching = threading.Thread(target=guard.watch, args=(node, NAME, str(trial)), daemon=True)
    watching.start()
    give_up = time.monotonic() + PATIENCE_S
    while not (answer_of(port) or "").startswith("one"):
        if time.monotonic() > give_up:
            raise SystemExit("the old release does not come back")
        time.sleep(0.001)
    answered = time.monotonic()
    watching.join(PATIENCE_S)
    return answered - reached["before writing reverting"]
