# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The node that a transaction works on: its folders, its drivers, its clock. Everything that does I/O comes in here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from ..clock import Clock, Now, SystemClock
from ..drivers.albatross_place import Overview, Place, Places
from ..drivers.protocol import Driver
from ..drivers.registry import open_driver
from ..errors import DriverError, ImageMissing, Inhibited
from ..images.store import ImageStore
from ..images.verification import verified
from ..layout import NodeLayout
from ..model import Instance, Release
from .journal import Journal
from .state import State


def _nothing(step: str) -> None:
    """No interruption wanted."""


@dataclass(frozen=True)
class Node:
    """What is needed to change a unikernel on this machine."""

    layout: NodeLayout
    store: ImageStore
    open_driver: Callable[[str], Driver]
    clock: Clock = field(default_factory=SystemClock)
    reached: Callable[[str], None] = _nothing
    """Called before and after every effect with the step's name; tests interrupt there."""
    places: Optional[Places] = None
    """Where unikernels are that an albatross runs; None: as it is written down."""

    def journal(self, name: str) -> Journal:
        return Journal(self.layout, name, self.reached)

    def now(self) -> Now:
        return Now(boottime_s=self.clock.boottime_s(), boot_id=self.clock.boot_id())

    def refuse_if_inhibited(self) -> None:
        """Inhibited, with the operator's reason, when the file ``inhibit`` exists."""
        try:
            reason = self.layout.inhibit.read_text(encoding="utf-8", errors="replace")[:500].strip()
        except FileNotFoundError:
            return
        except OSError as error:
            reason = f"(its reason cannot be read: {error.strerror})"
        raise Inhibited(
            f"All changes on this node are frozen by {self.layout.inhibit}: {reason or 'no reason is given in it'}. "
            "Nothing was changed. Remove that file when changes are welcome again."
        )

    def drivers_of(self, state: State) -> tuple[Driver, ...]:
        """The drivers that may have instances of this unikernel: those of its releases."""
        releases = [state.current, state.trial.candidate if state.trial else None, *state.kept]
        names = list(dict.fromkeys(r.configuration.driver for r in releases if r is not None))
        return tuple(self.open_driver(name) for name in names or [self._driver_of_nothing(state.name)])

    def _driver_of_nothing(self, name: str) -> str:
        """The driver that may know of what runs without a release of ours."""
        places = self.places or Places(self.layout)
        return "unix" if places.of(name) is None else "albatross"

    def inspect(self, state: State) -> tuple[Instance, ...]:
        """All instances of this unikernel, whichever driver runs them."""
        seen: dict[int, Instance] = {}
        for driver in self.drivers_of(state):
            for instance in driver.inspect([state.name]).get(state.name, ()):
                seen.setdefault(instance.release, instance)
        return tuple(seen.values())

    def ensure_image(self, name: str, release: Release) -> None:
        """All that the release needs is whole in the store; its image is put back from its instance's own link to it if
        need be."""
        place = self.check_image(name, release)
        if place is None:
            self.driver_for(release).fetch_image(name, release.number)
            self.store.verify(release.image)
        elif place != self.layout.image(release.image.sha256):
            self.store.add_file(place, release.image)

    def check_image(self, name: str, release: Release) -> Optional[Path]:
        """Where its image is to be had whole: in the store, or by its instance's own link; None: where it runs, and its
        driver can bring it from there. ImageMissing where it, or another file that it needs, is not to be had."""
        for file in release.files[1:]:
            self.store.verify(file)
        try:
            return self.store.verify(release.image)
        except ImageMissing:
            link = self.layout.instance_image(name, release.number)
            if link.exists():
                return verified(link, release.image)
            driver = self.driver_for(release)
            found = driver.discovered(name, release.number) if driver.capabilities.shared else None
            if found is None or found.image.sha256 != release.image.sha256:
                raise
            return None

    def exchange(self, name: str, old: Optional[Release], new: Optional[Release]) -> Optional[Instance]:
        """Make ``new`` run and ``old`` not, also when two drivers are involved. DriverError when it failed."""
        self.reached("before the swap")
        try:
            if old is not None and new is not None and old.configuration.driver != new.configuration.driver:
                self.open_driver(old.configuration.driver).swap(name, old, None)
                instance = self.open_driver(new.configuration.driver).swap(name, None, new)
            else:
                either = new or old
                if either is None:
                    return None
                instance = self.open_driver(either.configuration.driver).swap(name, old, new)
        except OSError as error:
            raise DriverError(f"{name}: the swap failed: {error}") from error
        self.reached("after the swap")
        return instance

    def mark_trial(self, name: str, release: Release, trial: bool) -> None:
        """Tell the release's driver whether it is on trial. DriverError when it cannot be told."""
        try:
            self.driver_for(release).on_trial(name, release.number, trial)
        except OSError as error:
            what = "begin" if trial else "end"
            raise DriverError(f"{name}: the trial of {release} cannot {what}: {error}") from error

    def driver_for(self, release: Release) -> Driver:
        return self.open_driver(release.configuration.driver)


def local_node(layout: NodeLayout, albatross: Optional[Mapping[str, Place]] = None, reports_only: bool = False) -> Node:
    """This machine. ``albatross``: where that of each unikernel is, as far as it is declared anew. ``reports_only``:
    what runs is looked at once, and what comes of a change would not be seen."""
    store = ImageStore(layout)
    places = Places(layout, albatross or {}, Overview() if reports_only else None)
    return Node(layout, store, lambda name: open_driver(name, layout, store, places), places=places)


def living(instances: Sequence[Instance], release: Optional[Release]) -> Optional[Instance]:
    """The living instance of a release, which can be reached."""
    if release is None:
        return None
    return next((i for i in instances if i.works and i.release == release.number), None)
