# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A unikernel that is being changed: its node, its state as it is written, and what every change does to either.

Whoever has one holds its lock, or foresees only (``forecast.py``): then nothing here changes anything outside of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from ..drivers.protocol import Driver
from ..model import Instance, Release
from . import data, rehearsal
from .node import Node
from .state import Holder, Phase, State


class Unikernel:
    """What the steps of a transaction have in common."""

    def __init__(self, node: Node, name: str, holder: Holder) -> None:
        self.node = node
        self.name = name
        self.holder = holder
        """Who changes it."""
        self.state = State(name=name, salt="")
        self.not_started: Optional[str] = None
        """Why the current release, which should run, could not be started or put on its bridge."""
        self._journal = node.journal(name)

    # --- its state

    def open(self) -> bool:
        """Read its state; whether there was one."""
        existed = self._journal.exists
        self.state = self._journal.open()
        return existed

    def write(self, state: State) -> None:
        """StateError: the state before stands."""
        self._journal.write(state)
        self.state = state

    # --- what there is of it

    def what_runs(self) -> Sequence[Instance]:
        return self.node.inspect(self.state)

    def discovered(self, driver: Driver) -> Optional[Release]:
        """What runs there without a release of ours, with its image in the store."""
        found = driver.fetch_image(self.name, self.state.next_number) if driver.capabilities.discovers else None
        return None if found is None else found[0]

    def ensure_image(self, release: Release) -> None:
        """ImageMissing, or DriverError, where what the release needs is not to be had."""
        self.node.ensure_image(self.name, release)

    def ensure_image_of_current(self) -> None:
        if self.state.current is not None and self.state.current.running:
            self.ensure_image(self.state.current)

    def validate(self, candidate: Release) -> tuple[str, ...]:
        """Claim its image and ask its driver: the driver's remarks, or ReleaseRefused."""
        self.node.store.claim(candidate.image)
        return self.node.driver_for(candidate).validate(self.name, candidate)

    def end_lost_rehearsal(self) -> None:
        """What a rehearsal left whose state was lost is removed."""
        if self.state.phase is not Phase.REHEARSING:
            rehearsal.end(self.node, self.name)

    def remove_disks(self) -> None:
        data.remove_disks(self.node, self.name)
