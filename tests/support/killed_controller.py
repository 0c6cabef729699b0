# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The death of a real ansible-playbook at a moment that the node's journal tells: all of its process groups at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

LOOK_S = 0.001
BEFORE = "the trial that had ended before"

Moment = Callable[[dict[str, Any], bool], bool]
"""From the journal (empty where there is none yet) and from whether the new image is in the store."""

MOMENTS: dict[str, Moment] = {
    "the image is there": lambda state, image: image,
    "swapping": lambda state, image: state.get("phase") == "swapping",
    "on trial": lambda state, image: state.get("phase") == "on_trial",
    "has a verdict": lambda state, image: _verdict(state) is not None,
    "confirmed": lambda state, image: _ended(state) == "confirmed" or state.get("phase") == "confirming",
}
BEFORE_THE_VERDICT = ("the image is there", "swapping", "on trial")
"""Nobody can have asked for a confirmation yet."""


def _verdict(state: dict[str, Any]) -> Any:
    return (state.get("trial") or {}).get("verdict")


def _ended(state: dict[str, Any]) -> Any:
    """How the trial of this run ended; what was there before is not of it."""
    ended = state.get("ended") or {}
    return ended.get("outcome") if ended.get("trial") != state[BEFORE] else None


def journal(path: Path) -> dict[str, Any]:
    """What stands in a journal, without any lock; nothing where there is none."""
    with suppress(FileNotFoundError):
        found: dict[str, Any] = json.loads(path.read_bytes())
        return found
    return {}


def die_at(run: subprocess.Popen[bytes], moment: str, state: Path, image: Path, patience_s: float) -> None:
    """Wait until it is there, and end the controller. AssertionError when the run ends before, or takes too long."""
    wait_for(run, moment, state, image, patience_s)
    signal_all(run, signal.SIGKILL)
    run.wait(10)


def wait_for(run: subprocess.Popen[bytes], moment: str, state: Path, image: Path, patience_s: float) -> None:
    """Until the moment is there. AssertionError when the run ends before, or takes too long."""
    before = (journal(state).get("ended") or {}).get("trial")
    give_up = time.monotonic() + patience_s
    while True:
        found = {**journal(state), BEFORE: before}
        if MOMENTS[moment](found, image.is_file()):
            break
        assert run.poll() is None, f"the controller ended with {run.returncode} before {moment!r}"
        assert time.monotonic() < give_up, f"it did not come to {moment!r}; the journal says {found}"
        time.sleep(LOOK_S)


def signal_all(run: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """To its own process group, and to those of its workers: each of them has made one of its own."""
    groups = {run.pid}
    for pid in _descendants(run.pid):
        with suppress(OSError):
            if b"ansible-playbook" in Path(f"/proc/{pid}/cmdline").read_bytes():
                groups.add(os.getpgid(pid))
    for group in groups:
        with suppress(ProcessLookupError):
            os.killpg(group, number)


def _descendants(pid: int) -> list[int]:
    found = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text(encoding="ascii").split():
                found += [int(child), *_descendants(int(child))]
    return found
