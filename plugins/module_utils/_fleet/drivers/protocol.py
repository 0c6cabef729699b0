# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a driver is: the thing that runs releases on a node. It never decides about rollback."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Optional, Protocol, TypeVar

from ..model import Capabilities, Exit, Image, Instance, Release

T = TypeVar("T")


class Rehearsals(Protocol):
    """Runs a release apart from everything: off its bridges, under no number, seen by nobody but who rehearses it.

    One at a time of each unikernel. Every method may be repeated after a crash at any point within it.
    """

    def refusals(self, name: str, release: Release) -> list[str]:
        """What forbids to rehearse a release that could run here, in clauses; nothing was begun."""

    def unseen(self, name: str, release: Release) -> Optional[str]:
        """Why no check that needs the network can be made of it there, in a clause; None: all can."""

    def prepare(self, name: str, release: Release) -> None:
        """Make the place. DriverError: that is not the release's fault."""

    def start(self, name: str, release: Release) -> None:
        """Start it there. DriverError when it does not start; RehearsalHindered when that is not its fault."""

    def inside(self, name: str, work: Callable[[], T]) -> T:
        """What ``work`` returns, done from where its network leads to, and nothing else is reached; from here, where
        it is :meth:`unseen`."""

    def inspect(self, name: str, release: Release) -> Optional[Instance]:
        """What is being rehearsed, as it is now; None when nothing was started."""

    def console(self, name: str, lines: int) -> tuple[str, ...]: ...

    def core(self, name: str) -> Optional[Path]:
        """As :meth:`Driver.core`, of what is being rehearsed."""

    def end(self, name: str) -> None:
        """Stop it and remove all that it had; nothing to do where there is nothing. DriverError when something would
        not go."""


class Driver(Protocol):
    """Runs releases of unikernels. Every method may be repeated after a crash at any point within it."""

    @property
    def name(self) -> str:
        """The word in ``unikernel_driver``."""

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def rehearsals(self) -> Optional[Rehearsals]:
        """None: this driver cannot run anything on a network of its own."""

    def inspect(self, names: Sequence[str]) -> Mapping[str, tuple[Instance, ...]]:
        """The instances of each named unikernel, one per release that was ever started and not discarded.

        A name that has none maps to ``()``. Looks, never changes anything. DriverError when it cannot look.
        """

    def validate(self, name: str, release: Release) -> tuple[str, ...]:
        """Raise ReleaseRefused for all that can be known beforehand to forbid this release here. Returned is, in
        sentences without their stops, what forbids nothing and is good to know."""

    def swap(self, name: str, old: Optional[Release], new: Optional[Release]) -> Optional[Instance]:
        """End with ``new`` started and ``old`` no longer serving; ``None`` stands for absent, so this also starts
        the first release and stops the last one. A ``new`` whose ``running`` is False is not started.
        An instance of ``new`` that ended before is started afresh; one that is alive is left running.
        DriverError when ``new`` did not start: ``old`` may then be stopped already (the transaction reverts). Hindered
        when the node or a server of it is to blame and not ``new``: NoBridge, when it is the bridge that it is to be
        on.
        """

    def stop(self, name: str, release: int) -> Optional[Exit]:
        """Stop the instance of that release if it lives: politely, then after its grace time by force."""

    def on_trial(self, name: str, release: int, trial: bool) -> None:
        """Tell the supervisor whether the instance is on trial: while it is, it is not restarted when it ends."""

    def discard(self, name: str, release: int) -> None:
        """Remove what a stopped instance left on the node (console, records). A live one: DriverError."""

    def console(self, name: str, release: int, lines: int) -> tuple[str, ...]:
        """The last lines of the instance's console; ``()`` when there is none. Bounded in bytes too."""

    def core(self, name: str, release: int) -> Optional[Path]:
        """The file in which an instance that has ended left its guest's memory; None when there is none. It goes with
        the next start or :meth:`discard`, so whoever wants it moves it away before."""

    def discovered(self, name: str, number: int) -> Optional[Release]:
        """The release that a live instance without a state was started from, as far as it can be told without bringing
        its image (whose size may be 0: not known yet). ``number`` is for one that has none. Changes nothing. None when
        there is nothing to adopt."""

    def fetch_image(self, name: str, number: int) -> Optional[tuple[Release, Image]]:
        """For adoption: the same, whole; its image is then in the store, and it counts as an instance of that
        release."""
