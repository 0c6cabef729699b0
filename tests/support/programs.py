# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tiny programs that behave as unikernels do, well or badly, and a broom for what they leave when a test fails."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime import waiter
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.process import ProcessIdentity, send

SHELL = "#!/bin/sh\n"

LIVES = SHELL + "echo up\nexec sleep 300\n"
EXITS_WELL_AT_ONCE = SHELL + "exit 0\n"
EXITS_BADLY_AT_ONCE = SHELL + "echo no configuration\nexit 1\n"
CRASHES = SHELL + "kill -SEGV $$\n"
IGNORES_SIGTERM = SHELL + "trap '' TERM\necho up\nwhile :; do sleep 300; done\n"
LEAVES_CHILDREN = SHELL + "sleep 301 &\nsetsid sleep 302 &\necho up\nexec sleep 300\n"
LEAVES_CHILDREN_AND_ENDS = SHELL + "sleep 301 &\nsetsid sleep 302 &\nexit 3\n"
FLOODS = SHELL + "exec yes 'a line of a unikernel that talks without end'\n"
SHOWS_ARGUMENTS = SHELL + "for word; do printf '%s\\n' \"$word\"; done\nexec sleep 300\n"


def write_program(path: Path, source: str, mode: int = 0o555) -> Path:
    """A program that can be executed."""
    path.write_text(source, encoding="utf-8")
    path.chmod(mode)
    return path


def until(condition: Callable[[], object], within_s: float = 10.0) -> None:
    """Wait for a condition; AssertionError when it does not come true."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "what the test waits for did not happen"
        time.sleep(0.005)


def end_all_instances(root: Path) -> None:
    """Kill, each by its verified identity, the waiters and instances whose folders lie below ``root``."""
    for lock in root.rglob(waiter.LOCK):
        named = lock.read_text(encoding="ascii")
        if named:
            send(ProcessIdentity.parse(named), signal.SIGKILL)
    for spec in root.rglob(waiter.SPEC):
        token = json.loads(spec.read_bytes()).get("token")
        assert token is None or waiter.sweep(None, token), f"processes of {spec.parent} do not die"
