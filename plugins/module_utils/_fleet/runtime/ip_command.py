# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The programs ``ip`` and ``bridge`` of iproute2, bounded in time: batches in, JSON out."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
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
    text = _batch(commands, tool)
    options = ["-n", namespace] if namespace is not None else []
    _run([tool, *options, "-batch", "-"], text, f"{commands[0]}" if len(commands) == 1 else text)


def _batch(commands: Sequence[Command], tool: str) -> str:
    for command in commands:
        if any(not word or word.split() != [word] or word[0] in "#\"'" or "\\" in word for word in command):
            raise IpError(f"{tool}: {' '.join(command)!r} holds a word that cannot be one. Nothing was changed.")
    return "".join(" ".join(command) + "\n" for command in commands)


class BatchAtHand:
    """Commands whose process has started and only waits to be told: for the moment in which nobody answers, where the
    start of a process would be most of it. Not told before the end of the ``with``, it does nothing."""

    def __init__(self, commands: Sequence[Command]) -> None:
        self._text = _batch(commands, "ip")
        self._process: Optional[subprocess.Popen[bytes]] = None

    def __enter__(self) -> BatchAtHand:
        if self._text:
            try:
                self._process = subprocess.Popen(  # pylint: disable=consider-using-with # it is one
                    [_path("ip"), "-batch", "-"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    env={"PATH": PATH, "LC_ALL": "C"},
                )
            except OSError as error:
                raise IpError(f"ip could not be run: {error}") from error
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def tell(self) -> None:
        """Have them done; returns at once."""
        if self._process is not None and self._process.stdin is not None:
            with suppress(BrokenPipeError):  # it has ended, and says why when it is waited for
                self._process.stdin.write(self._text.encode("ascii"))
                self._process.stdin.flush()

    def finish(self) -> None:
        """Wait until they are done; IpError as of :func:`run_batch`."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            complaint = process.communicate(None, PATIENCE_S)[1]
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.communicate()
            raise IpError(f"ip did not end within {PATIENCE_S:g} s: {self._text.strip()}") from error
        if process.returncode != 0:
            raise IpError(_refused("ip", complaint, self._text))


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
    path = _path(words[0])
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
        raise IpError(_refused(words[0], done.stderr, shown))
    return done.stdout.decode("utf-8", "replace")


def _path(tool: str) -> str:
    path = program(tool)
    if path is None:
        raise IpError(f"The program {tool} of iproute2 is not on this machine. Install the package iproute2.")
    return path


def _refused(tool: str, complaint: bytes, shown: str) -> str:
    reason = " ".join(complaint.decode("utf-8", "replace").split())[:500]
    return f"{tool} refused ({reason or 'without a word'}): {shown.strip()[:1000]}"
