# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The programs ``ip`` and ``bridge`` of iproute2, bounded in time: batches in, JSON out."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any, Optional

from ..errors import DriverError

PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
PATIENCE_S = 10.0
"""The kernel answers at once, unless somebody holds its lock of all network changes."""

Command = tuple[str, ...]
"""The words of one line of a batch."""


class IpError(DriverError):
    """iproute2 refused something, or is not there."""


def program(name: str) -> Optional[str]:
    """Where ``ip``, ``bridge`` or ``tc`` is; None when it is not installed."""
    return shutil.which(name, path=PATH)


def run_batch(commands: Sequence[Command], namespace: Optional[str] = None, tool: str = "ip") -> None:
    """All commands in one process, in order; IpError names the first that failed, and those after it were not done."""
    if not commands:
        return
    for command in commands:
        if any(not word or word.split() != [word] or word[0] in "#\"'" or "\\" in word for word in command):
            raise IpError(f"{tool}: {' '.join(command)!r} holds a word that cannot be one. Nothing was changed.")
    text = "".join(" ".join(command) + "\n" for command in commands)
    options = ["-n", namespace] if namespace is not None else []
    _run([tool, *options, "-batch", "-"], text, f"{commands[0]}" if len(commands) == 1 else text)


def run(*words: str) -> None:
    """One command of ``ip``."""
    _run(["ip", *words], "", " ".join(words))


def ask(*words: str) -> list[dict[str, Any]]:
    """The JSON answer of ``ip``: a list of things."""
    said = _run(["ip", "-j", *words], "", " ".join(words))
    try:
        answer = json.loads(said or "[]")
    except ValueError as error:
        raise IpError(f"ip {' '.join(words)} answered in another language than JSON ({error}).") from error
    return [item for item in answer if isinstance(item, dict) and item] if isinstance(answer, list) else []


def _run(words: list[str], text: str, shown: str) -> str:
    path = program(words[0])
    if path is None:
        raise IpError(f"The program {words[0]} of iproute2 is not on this machine. Install the package iproute2.")
    try:
        done = subprocess.run(
            [path, *words[1:]],
            input=text.encode("ascii"),
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
            env={"PATH": PATH, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired as error:
        raise IpError(f"{words[0]} did not end within {PATIENCE_S:g} s: {shown.strip()}") from error
    except (OSError, UnicodeEncodeError) as error:
        raise IpError(f"{words[0]} could not be run: {error}") from error
    if done.returncode != 0:
        reason = " ".join(done.stderr.decode("utf-8", "replace").split())[:500]
        raise IpError(f"{words[0]} refused ({reason or 'without a word'}): {shown.strip()[:1000]}")
    return done.stdout.decode("utf-8", "replace")
