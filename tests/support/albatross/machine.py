# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the double pretends of the machine that it runs on: processors, memory, bridges; and where it keeps things."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import Policy
from ansible_collections.unikernel.fleet.tests.support.albatross.images import ABI_VERSION

MOST = 2**62 - 1
"""Of what is not limited: OCaml's greatest integer."""


@dataclass(frozen=True)
class Machine:
    """The figures are those of the machine that the captures were recorded on."""

    folder: Path
    """Of the sockets."""
    cpus: tuple[int, ...] = (0, 1)
    memory_mib: int = 24_105
    disk_mib: int = 258_019
    tenders: dict[str, int] = field(default_factory=lambda: {"hvt": ABI_VERSION, "spt": ABI_VERSION})
    """Those that are installed, and the version of the ABI that each says it has."""
    real_tenders: Optional[Path] = None
    """Folder of Solo5's own programs, on which images run that have no program for the double; None: they do not."""

    @property
    def own(self) -> Path:
        """Where the double keeps what albatross keeps in its folders."""
        return self.folder / "double"

    @property
    def state(self) -> Path:
        return self.own / "state"

    def make_folders(self) -> None:
        for folder in (self.folder, self.own, self.own / "block", self.own / "images"):
            folder.mkdir(parents=True, exist_ok=True)

    # --- bridges: a file of names, so that other processes can make some appear and disappear

    @property
    def bridges_file(self) -> Path:
        return self.own / "bridges"

    def bridges(self) -> frozenset[str]:
        """Those that exist now."""
        try:
            return frozenset(self.bridges_file.read_text(encoding="utf-8").split())
        except FileNotFoundError:
            return frozenset()

    def set_bridges(self, names: frozenset[str]) -> None:
        new = self.bridges_file.with_suffix(".new")
        new.write_text("\n".join(sorted(names)), encoding="utf-8")
        new.replace(self.bridges_file)

    def root_policy(self) -> Policy:
        """As albatrossd finds it when it starts."""
        bridges = tuple(sorted(self.bridges()))
        return Policy(tuple(sorted(self.cpus)), MOST, self.memory_mib, bridges, self.disk_mib)

    # --- files

    def image_file(self, name: Name) -> Path:
        return self.own / "images" / f"{name}.img"

    def block_file(self, name: Name) -> Path:
        return self.own / "block" / str(name)
