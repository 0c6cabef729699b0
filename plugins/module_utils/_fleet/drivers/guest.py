# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What sets one process driver apart from another: how its guests are run. The rest is :class:`ProcessDriver`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Optional, Protocol

from ..model import Exit, Release
from ..runtime.ports import Port, PortKind
from ..runtime.supervisor import ProcessSpec


class Guest(Protocol):
    """One kind of guest that is a process of the node."""

    @property
    def driver(self) -> str:
        """The word in ``unikernel_driver``."""

    @property
    def port_kind(self) -> PortKind: ...

    def refusals(self, release: Release, image: Path) -> list[str]:
        """What forbids the release here, in clauses; the image is verified. Networks and memory are looked at by the
        driver itself."""

    def memory_mib(self, release: Release) -> Optional[int]:
        """What an instance takes at most; None when that is not known."""

    def process_spec(
        self, name: str, release: Release, image: Path, folder: Path, ports: Sequence[Port]
    ) -> ProcessSpec:
        """How it is run: with its files in the instance's folder and its ports, which exist by then."""

    def explained(self, release: Optional[Release], exit: Exit, console: Callable[[int], tuple[str, ...]]) -> Exit:
        """How an instance ended, in the words of its kind; ``console`` gives its last lines."""

    def trouble(self, folder: Path) -> Optional[str]:
        """Why a guest whose process lives does not run all the same; None when nothing says so."""

    def ask_to_end(self, release: Release, folder: Path) -> bool:
        """Ask the guest itself to end, where its kind can be asked and it listens. Whether it was asked: then its
        grace is waited for before its process is told."""

    def is_its_own_program(self) -> bool:
        """Whether the image of a running instance can be taken from its process, because it is the program itself."""
