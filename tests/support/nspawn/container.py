# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One node: a container with a systemd of its own, which can lose its power, be shut down, and be booted again.

Its folder holds ``upper`` (all that differs from the base, and outlives a power loss as a disk does), ``console`` and
``process`` (which systemd-nspawn it is). The overlay is mounted in a mount namespace of the container's own, so no
mount is left behind however it ends. What a killed node had not synchronised is still in this machine's page cache:
a test of missing ``fsync`` calls this is not.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.process import (
    ProcessIdentity,
    alive,
    identify,
    send,
    wait_end,
)

from .control_group import ControlGroup
from .network_namespace import BRIDGE, NetworkNamespace

DEVICES = ("/dev/kvm", "/dev/net/tun")
"""Bound read-only: they can be used as ever, but the container's systemd cannot change their permissions, which are
those of this machine's devices."""
DEATH_PATIENCE_S = 10.0
SHUTDOWN_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Container:
    """A node's machine. Every method may be called from another process than the one that made it."""

    name: str
    """Its host name."""
    machine: str
    """Unique on this machine."""
    address: str
    folder: Path
    base: Path
    network: NetworkNamespace

    @property
    def group(self) -> ControlGroup:
        return ControlGroup(self.machine)

    @property
    def link(self) -> str:
        """The end of its cable that is plugged into the bridge; an interface's name has at most 15 characters."""
        return f"vb-{self.machine}"[:15]

    @property
    def console(self) -> Path:
        return self.folder / "console"

    def process(self) -> Optional[ProcessIdentity]:
        """Its systemd-nspawn, if that lives."""
        with suppress(FileNotFoundError, ValueError):
            identity = ProcessIdentity.parse((self.folder / "process").read_text(encoding="ascii"))
            with suppress(ChildProcessError):
                os.waitpid(identity.pid, os.WNOHANG)
            if alive(identity):
                return identity
        return None

    def write(self, path: str, content: str, mode: int = 0o644) -> None:
        """A file on its disk, while it is switched off."""
        upper = self.folder / "upper"
        upper.mkdir(parents=True, exist_ok=True)
        within = Path(path.lstrip("/"))
        for folder in reversed(within.parents[:-1]):
            if not (upper / folder).exists():
                # A folder of the overlay stands for the one below, its owner and mode included.
                (upper / folder).mkdir()
                with suppress(FileNotFoundError):
                    below = (self.base / folder).stat()
                    (upper / folder).chmod(below.st_mode & 0o7777)
                    os.chown(upper / folder, below.st_uid, below.st_gid)
        target = upper / within
        target.write_text(content, encoding="utf-8")
        target.chmod(mode)

    def switch_on(self) -> None:
        """Start it, unless it is on; returns at once."""
        if self.process() is not None:
            return
        for name in ("upper", "work", "root"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.network.remove_link(self.link)
        self.group.create()
        overlay = f"lowerdir={self.base},upperdir={self.folder}/upper,workdir={self.folder}/work"
        script = (
            f"set -eu\n{self.group.enter()}"
            f"mount -t overlay overlay -o {shlex.quote(overlay)} {shlex.quote(str(self.folder / 'root'))}\n"
            f"exec {shlex.join(self._nspawn())}\n"
        )
        with open(self.console, "ab") as console:
            started = subprocess.Popen(
                self.network.enter("unshare", "--mount", "--propagation", "private", "sh", "-c", script),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd="/",
            )
        # nsenter, unshare and sh execute what follows them: the number stays.
        identity = identify(started.pid)
        assert identity is not None, "the process that was just started is gone before anybody waited for it"
        (self.folder / "process").write_text(str(identity), encoding="ascii")

    def _nspawn(self) -> list[str]:
        return [
            "systemd-nspawn",
            "--quiet",
            "--register=no",
            "--keep-unit",
            "--boot",
            f"--machine={self.machine}",
            f"--hostname={self.name}",
            f"--directory={self.folder / 'root'}",
            f"--network-bridge={BRIDGE}",
            "--capability=CAP_NET_ADMIN",
            *(f"--bind-ro={device}" for device in DEVICES if os.path.exists(device)),
            "--resolv-conf=off",
            "--timezone=off",
            "--link-journal=no",
            "--console=pipe",
        ]

    def cut_power(self) -> None:
        """End all of its processes at once, with SIGKILL. Its disk stays."""
        process = self.process()
        if process is not None:
            # Its first process takes all others with it. The second signal is for a container that has none yet.
            for first in _children(process.pid):
                send(first, signal.SIGKILL)
            if not wait_end(process, DEATH_PATIENCE_S):
                send(process, signal.SIGKILL)
                wait_end(process, DEATH_PATIENCE_S)
        deadline = time.monotonic() + DEATH_PATIENCE_S
        while True:
            left = self.group.processes()
            if not left:
                break
            if time.monotonic() > deadline:
                raise RuntimeError(f"processes of the node {self.name} do not die: {sorted(map(str, left))}")
            for straggler in left:
                send(straggler, signal.SIGKILL)
            time.sleep(0.02)
        self._put_away()

    def shut_down(self) -> None:
        """As by ``poweroff``: its services are stopped in order. RuntimeError when that takes too long."""
        process = self.process()
        if process is not None:
            send(process, signal.SIGTERM)
            if not wait_end(process, SHUTDOWN_PATIENCE_S):
                raise RuntimeError(f"the node {self.name} does not shut down; see {self.console}")
        self._put_away()

    def _put_away(self) -> None:
        self.process()  # buries it, if it was a child of ours
        self.group.remove()
        self.network.remove_link(self.link)


def _children(pid: int) -> list[ProcessIdentity]:
    found = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [identify(int(child)) for child in (task / "children").read_text(encoding="ascii").split()]
    return [child for child in found if child is not None]
