# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A network namespace for the nodes, with one bridge in it: nothing of it is seen outside."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

BRIDGE = "nodes"
PREFIX = "198.51.100"
"""TEST-NET-2 of RFC 5737."""


@dataclass(frozen=True)
class NetworkNamespace:
    """By its name; made and removed explicitly."""

    name: str

    @property
    def path(self) -> Path:
        return Path("/run/netns") / self.name

    def enter(self, *words: str) -> list[str]:
        """The command that runs another one inside. Not ``ip netns exec``: that remounts /sys, which keeps
        systemd-nspawn from working."""
        return ["nsenter", f"--net={self.path}", "--", *words]

    def create(self) -> None:
        _run("ip", "netns", "add", self.name)
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "link", "add", BRIDGE, "type", "bridge")
        self.run("ip", "address", "add", f"{PREFIX}.1/24", "dev", BRIDGE)
        self.run("ip", "link", "set", BRIDGE, "up")

    def run(self, *words: str) -> str:
        return _run(*self.enter(*words))

    def remove_link(self, name: str) -> None:
        """Of a container that died: its end of the pair goes with its own namespace, but not at once."""
        with suppress(subprocess.CalledProcessError):
            self.run("ip", "link", "delete", name)

    def remove(self) -> None:
        if self.path.exists():
            _run("ip", "netns", "delete", self.name)


def _run(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=30).stdout
