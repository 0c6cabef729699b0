# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The errors of the library: each message is written for the person who reads it in a terminal.

A message names the thing, what was wrong with it, what was left untouched and what to do next.
They become ``fail_json`` in exactly one place, ``adapter/failing.py``.
"""

from __future__ import annotations


class FleetError(Exception):
    """Anything that this library refuses or fails to do; ``str()`` of it is for the user."""


class InvalidDeclaration(FleetError):
    """What the user declared cannot be meant: a bad name, option, check or source."""


class MissingLibrary(FleetError):
    """A Python library that only some features need is not installed where it is needed."""

    def __init__(self, library: str, needed_for: str) -> None:
        super().__init__(
            f"The Python library {library} is needed on this machine for {needed_for}, and it is not installed. "
            f"Install it there (for instance with 'pip install {library}' or the system's package manager)."
        )
        self.library = library


class SourceError(FleetError):
    """A source of builds did not answer, or not sensibly: the truth about its builds is *unknown*."""


class BuildNotFound(SourceError):
    """The source answered, and says that it has no such build."""


class ImageError(FleetError):
    """An image could not be brought, stored or verified; the store is as it was before."""


class ImageMissing(ImageError):
    """The store does not hold the image, or what it holds no longer has the bytes that its name promises."""


class DriverError(FleetError):
    """A driver could not start, stop or look at something."""


class ReleaseRefused(DriverError):
    """A release cannot run on this node; found out before anything was stopped."""


class Hindered(DriverError):
    """The node, or a server of it, hindered a change: the release itself may be as good as ever, so it is not held."""


class NoBridge(Hindered):
    """The bridge that a release is to be on is not there, or is down: the release itself may be as good as ever."""


class RehearsalHindered(Hindered):
    """A release could not be rehearsed, and is not to blame for that."""


class StateError(FleetError):
    """The state folder of a unikernel cannot be read or written; nothing was changed by us."""


class StateTooNew(StateError):
    """The state was written by a newer collection: refused, and left untouched."""


class StateUnreadable(StateError):
    """The state file is cut, garbled or not readable: nothing is guessed from it."""


class Busy(FleetError):
    """Another run holds the lock or an open trial; the message names it."""


class Inhibited(FleetError):
    """An operator froze all changes on this node (the file ``inhibit``)."""


class Held(FleetError):
    """The declared release failed its trial before and is not tried again by itself."""


class TrialRefused(FleetError):
    """A confirmation or rollback that does not fit the trial: wrong id, too late, another process."""
