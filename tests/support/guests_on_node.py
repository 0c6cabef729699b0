# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs on a node, as root, with the installed guard's own library: guests on its bridge ``service``, and what the
kernel says of their processes. What it prints last is one line of JSON."""

from __future__ import annotations

import functools
import json
import os
import sys
from pathlib import Path
from typing import Any, Optional

ROOT = "/var/lib/unikernel-fleet"
sys.path.insert(0, f"{ROOT}/guard.pyz")

from _fleet.checks.declaration import checks_from  # type: ignore[import-not-found] # noqa: E402
from _fleet.checks.model import Schedule  # type: ignore[import-not-found] # noqa: E402
from _fleet.layout import NodeLayout  # type: ignore[import-not-found] # noqa: E402
from _fleet.model import Image, SnapshotMethod  # type: ignore[import-not-found] # noqa: E402
from _fleet.releases.data import DataOptions  # type: ignore[import-not-found] # noqa: E402
from _fleet.releases.guard_install import arm  # type: ignore[import-not-found] # noqa: E402
from _fleet.releases.node import local_node  # type: ignore[import-not-found] # noqa: E402
from _fleet.releases.proposal import Declaration, Wanted  # type: ignore[import-not-found] # noqa: E402
from _fleet.releases.state import Holder  # type: ignore[import-not-found] # noqa: E402
from _fleet.releases.transaction import TrialOptions, locked  # type: ignore[import-not-found] # noqa: E402

NODE = local_node(NodeLayout(Path(ROOT)))
ME = Holder(who="the test")
PATIENT = Schedule(deadline_s=150.0, stable_for_s=0.1, consecutive=1)
BOUND_S = 200.0


def machine(name: str, address: str, does: str, version: str) -> Any:
    """Declare the test guest as a virtual machine, on trial, checked by HTTP; the trial's id."""
    image, initrd = (NODE.store.add_file(Path(f"/root/guest-{part}")) for part in ("kernel", "initrd"))
    words = ["console=ttyS0", "quiet", "rdinit=/init", f"fleet.ip={address}/24", f"fleet.does={does}"]
    given = {
        "driver": "qemu",
        "memory_mib": 96,
        "boot": {"initrd": {"sha256": initrd.sha256, "size": initrd.size}},
        "arguments": [*words, f"fleet.version={version}"],
        "networks": [{"name": "eth0", "bridge": "service", "addresses": [f"{address}/24"]}],
        "stop_grace_s": 1.0,
    }
    answers = {"http": f"http://{address}/", "timeout": 2, "name": "it answers"}
    return _declare(name, image, given, [{"process": {}, "name": "it lives"}, answers])


def unikernel(name: str, *arguments: str) -> Any:
    """Declare a Solo5 image that leaves a core, on trial."""
    image = NODE.store.add_file(Path("/root/image.hvt"))
    given = {
        "driver": "solo5",
        "memory_mib": 32,
        "core_dump": {"enabled": True, "most_mib": 32},
        "arguments": list(arguments),
        "stop_grace_s": 1.0,
    }
    return _declare(name, image, given, [{"process": {}, "name": "it lives"}])


def with_disk(name: str, version: str, path: Optional[str] = None, *words: str) -> Any:
    """Declare a Solo5 image with a disk, its own or one that is there, of which a copy is kept over the trial."""
    disk = {"size_mib": 1} if path is None else {"path": path}
    image = NODE.store.add_file(Path(f"/root/image-{version}.spt"))
    given = {
        "driver": "solo5",
        "memory_mib": 32,
        "arguments": [*words, version],
        "block_devices": [{"name": "data", **disk}],
        "stop_grace_s": 1.0,
    }
    checks = [{"process": {}, "name": "it lives"}, {"console": {"must_match": ["disk: "]}, "name": "it has its disk"}]
    return _declare(name, image, given, checks, DataOptions(snapshot=SnapshotMethod.COPY))


def _declare(
    name: str,
    image: Image,
    given: dict[str, Any],
    checks: list[dict[str, Any]],
    data: Optional[Any] = None,
) -> Optional[str]:
    options = TrialOptions(
        timeout_s=BOUND_S, checks=checks_from(checks, None), schedule=PATIENT, data=data or DataOptions()
    )
    with locked(NODE, name, ME) as transaction:
        declaration = Declaration(Wanted.RUNNING, image=image, configuration=given)
        trial: Optional[str] = transaction.declare(declaration, options, functools.partial(arm, NODE.layout)).trial
    return trial


def confirm(name: str, trial: str) -> Any:
    with locked(NODE, name, ME) as transaction:
        return transaction.confirm(trial)


def remove(name: str) -> Any:
    with locked(NODE, name, ME) as transaction:
        transaction.declare(Declaration(Wanted.ABSENT), TrialOptions(timeout_s=0.0), None)
    return None


def show(name: str) -> Any:
    """How it stands, and the process of what is alive as the kernel sees it."""
    state = NODE.journal(name).read()
    instances = NODE.inspect(state)
    shown: dict[str, Any] = {
        "phase": state.phase.value,
        "verdict": state.trial.verdict.outcome.value if state.trial and state.trial.verdict else None,
        "ended": [state.ended.outcome, state.ended.reason, state.ended.evidence] if state.ended else None,
        "working": sorted(i.release for i in instances if i.works and i.serving),
        "consoles": {i.release: list(NODE.drivers_of(state)[0].console(name, i.release, 30)) for i in instances},
    }
    for instance in instances:
        if instance.works and instance.serving:
            pid = instance.identity.split(":")[0]
            lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
            status = dict(line.split(":", 1) for line in lines)
            words = ("Uid", "Gid", "Groups", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp")
            shown["process"] = {"pid": int(pid), **{word: status[word].split() for word in words}}
            shown["folder"] = os.readlink(f"/proc/{pid}/cwd")
    return shown


STEPS = {step.__name__: step for step in (machine, unikernel, with_disk, confirm, remove, show)}

if __name__ == "__main__":
    print(json.dumps(STEPS[sys.argv[1]](*sys.argv[2:])))
