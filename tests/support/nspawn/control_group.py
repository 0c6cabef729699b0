# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A control group for one container, so that all of its processes are known and none is anybody else's.

Containers started with ``--keep-unit`` from one and the same group would share the groups of their units as well
(``payload/system.slice/ssh.service`` of both), and end each other's services.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.process import ProcessIdentity, identify

MOUNTS = Path("/sys/fs/cgroup")
PATIENCE_S = 10.0


@dataclass(frozen=True)
class ControlGroup:
    """By its name, in the unified hierarchy, and beside it in systemd's own where the machine is a hybrid."""

    name: str

    @property
    def folders(self) -> tuple[Path, ...]:
        if (MOUNTS / "cgroup.procs").exists():
            return (MOUNTS / self.name,)
        return tuple(MOUNTS / kind / self.name for kind in ("unified", "systemd") if (MOUNTS / kind).is_dir())

    def create(self) -> None:
        for folder in self.folders:
            folder.mkdir(exist_ok=True)

    def enter(self) -> str:
        """Shell text that brings the shell itself into the group."""
        return "".join(f"echo $$ > {folder}/cgroup.procs\n" for folder in self.folders)

    def processes(self) -> frozenset[ProcessIdentity]:
        pids = {int(line) for path in self._below("cgroup.procs") for line in path.read_text().split()}
        return frozenset(found for found in map(identify, pids - {0}) if found is not None)

    def _below(self, name: str) -> Iterator[Path]:
        for folder in self.folders:
            with suppress(FileNotFoundError):
                yield from list(folder.rglob(name))

    def remove(self) -> None:
        """The group and those below it, once the last process is gone."""
        deadline = time.monotonic() + PATIENCE_S
        for folder in self.folders:
            while folder.is_dir():
                try:
                    for inner in sorted((p for p in folder.rglob("*") if p.is_dir()), reverse=True):
                        inner.rmdir()
                    folder.rmdir()
                except FileNotFoundError:
                    continue
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)
