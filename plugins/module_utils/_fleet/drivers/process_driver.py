# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The driver of every guest that is a process of the node: an instance per release, with a folder and ports of its own.

What is special about a kind of guest is said by its :class:`Guest`; how processes are kept, by the supervisor. What
only changes and refusals need is imported by them: the plan looks at every node, and changes nothing there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Optional, Protocol

from ..errors import DriverError, ImageError, ImageMissing, ReleaseRefused
from ..layout import NodeLayout
from ..model import Capabilities, Exit, Image, Instance, Release
from ..runtime.process import ProcessIdentity
from ..runtime.scratch import remove_scratch
from ..runtime.supervisor import Supervisor
from .equipment import CANDIDATES_OOM_SCORE
from .guest import Guest
from .process_instances import Instances
from .protocol import Rehearsals

if TYPE_CHECKING:
    from .process_swaps import Swaps


class Images(Protocol):
    """What the driver needs of the node's image store."""

    def verify(self, image: Image) -> Path:
        """Path of the image, whose bytes were read and found right; else ImageMissing."""

    def add_file(self, path: Path) -> Image:
        """Put a file's bytes into the store."""


class ProcessDriver:
    """Runs each release of a unikernel as a process; two at a time only while one takes the other's place."""

    def __init__(self, guest: Guest, layout: NodeLayout, images: Images, supervisor: Supervisor) -> None:
        self._guest = guest
        self._layout = layout
        self._images = images
        self._supervisor = supervisor
        self._instances = Instances(guest, layout, supervisor)

    @property
    def name(self) -> str:
        return self._guest.driver

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(swap_methods=("stop_start", "cut_over"), discovers=True)

    @property
    def rehearsals(self) -> Rehearsals:
        from .process_rehearsals import ProcessRehearsals

        return ProcessRehearsals(self._guest, self._layout, self._images, self._supervisor)

    @property
    def _swaps(self) -> Swaps:
        from .process_swaps import Swaps

        return Swaps(self._guest, self._layout, self._images, self._supervisor, self._instances)

    # --- looking ---

    def inspect(self, names: Sequence[str]) -> Mapping[str, tuple[Instance, ...]]:
        return {name: tuple(self._instances.of(name)) for name in names}

    def console(self, name: str, release: int, lines: int) -> tuple[str, ...]:
        return self._instances.console(name, release, lines)

    def core(self, name: str, release: int) -> Optional[Path]:
        return self._instances.core(name, release)

    # --- refusing ---

    def validate(self, name: str, release: Release) -> tuple[str, ...]:
        from .process_swaps import verified
        from .process_validation import Validation

        image = verified(self._images, name, release)
        found = Validation(self._guest, self._layout, self._instances, name, release)
        reasons = found.reasons(image)
        if reasons:
            raise ReleaseRefused(
                f"{name}: {release} cannot run on this node with driver {self.name}: {'; '.join(reasons)}. "
                "Nothing was stopped or started."
            )
        return found.remarks()

    # --- changing ---

    def swap(self, name: str, old: Optional[Release], new: Optional[Release]) -> Optional[Instance]:
        """See :meth:`Swaps.swap`."""
        return self._swaps.swap(name, new)

    def stop(self, name: str, release: int) -> Optional[Exit]:
        return self._swaps.end(name, release) if self._instances.is_mine(name, release) else None

    def on_trial(self, name: str, release: int, trial: bool) -> None:
        self._supervisor.hold_restarts(self._instances.folder(name, release), trial)
        if not trial:
            self._count_as_proven(name, release)

    def _count_as_proven(self, name: str, number: int) -> None:
        identity = self._supervisor.inspect(self._instances.folder(name, number)).identity
        with suppress(OSError, ValueError):
            if identity is not None:
                score = Path(f"/proc/{ProcessIdentity.parse(identity).pid}/oom_score_adj")
                if score.read_text(encoding="ascii").strip() == str(CANDIDATES_OOM_SCORE):
                    score.write_text("0", encoding="ascii")

    def discard(self, name: str, release: int) -> None:
        if not self._instances.is_mine(name, release):
            return
        if not self._instances.runs(name, release):
            self._swaps.remove_ports(name, release)
        self._supervisor.discard(self._instances.folder(name, release))
        remove_scratch(self._layout.scratch(name, release))

    # --- adopting ---

    def discovered(self, name: str, number: int) -> Optional[Release]:
        found = self._served_by(name)
        return None if found is None else self._instances.recorded(name, found.release)

    def fetch_image(self, name: str, number: int) -> Optional[tuple[Release, Image]]:
        found = self._served_by(name)
        if found is None or found.identity is None:
            return None
        release = self._instances.recorded(name, found.release)
        self._ensure_image(name, release, found.identity)
        return release, release.image

    def _served_by(self, name: str) -> Optional[Instance]:
        served = (i for i in reversed(self._instances.of(name)) if i.alive and i.serving and i.identity is not None)
        return next(served, None)

    def _ensure_image(self, name: str, release: Release, identity: str) -> None:
        """From the store, from the instance's own link to it, or from its process: the kernel keeps a running
        program's bytes, even when its file was removed."""
        with suppress(ImageMissing):
            self._images.verify(release.image)
            return
        places = [self._layout.instance_image(name, release.number)]
        if self._guest.is_its_own_program():
            places.append(Path(f"/proc/{ProcessIdentity.parse(identity).pid}/exe"))
        for place in places:
            with suppress(OSError, ImageError):
                if place.stat().st_size == release.image.size and self._images.add_file(place) == release.image:
                    return
        raise DriverError(
            f"{name} runs as {release}, but its image is no more in the store and could not be taken from its process. "
            "It was left running. Bring the image into the store (module image), then try again."
        )
