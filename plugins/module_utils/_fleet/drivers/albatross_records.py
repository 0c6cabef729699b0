# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was created on albatross, written down on the node: albatross has no numbers of releases, and forgets the dead.

A record is written before its unikernel is asked for, with what ran then; the time of its start is added when it is
known. So whoever comes after a crash can tell, from what runs, how far it went.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

from .. import codec
from ..albatross.names import Name
from ..albatross.records import UnikernelInfo, moment
from ..durable import make_folder, write_durably
from ..errors import DriverError
from ..layout import NodeLayout
from ..model import Release
from .albatross_running import Running, differences, told

RELEASE, CREATED = "release.json", "created.json"


@dataclass(frozen=True)
class Created:
    """One release of a unikernel, as it was asked for."""

    number: int
    order: int
    """Greater ones were asked for later."""
    label: str
    """What it is called on albatross."""
    running: Running
    asked_at: str
    """Wall time of this machine, as albatross writes times."""
    before: Optional[str] = None
    """When that was started which ran under the label before; None: nothing did."""
    started: Optional[str] = None
    """When it was started, in albatross' words; None: not known (yet)."""
    ended: str = ""
    """Why it does not run any more, if that was our doing."""
    ran_before: bool = False
    """The same release had been up here, before it was asked for this time."""
    unanswered: bool = False
    """It was asked for, or was about to be, and nobody saw an answer: given up, or whoever asked was killed. It may be
    carried out still."""


@dataclass(frozen=True)
class Attributed:
    """What runs under a label, and which of our records it is of."""

    number: int
    info: UnikernelInfo
    altered: Optional[str] = None
    """In what it is not as it was asked for."""
    restarted: bool = False
    """It was started again, by albatross or by somebody, as it was."""

    @property
    def identity(self) -> str:
        """Another one is another start."""
        return f"{self.info.started or '?'}/{self.info.digest.hex()[:16]}"


def attributed(records: Sequence[Created], info: UnikernelInfo) -> Optional[Attributed]:
    """Of which of a label's records that is which runs under it; None when there are none."""
    found = told(info)
    newest_first = sorted(records, key=lambda record: record.order, reverse=True)
    for record in newest_first:
        if record.started is not None and record.started == info.started and record.running.digest == found.digest:
            return Attributed(record.number, info, _altered(record, info))
    # Asked for, and what runs is still that which ran before: it is not it.
    possible = [r for r in newest_first if r.started is not None or r.before is None or r.before != info.started]
    for record in possible:
        if not differences(record.running, found):
            return Attributed(record.number, info, _altered(record, info), restarted=record.started is not None)
    if possible:
        return Attributed(possible[0].number, info, _altered(possible[0], info))
    return None


def not_ours(newest: Created, known: Optional[Attributed], name: Name, info: UnikernelInfo) -> Attributed:
    """What runs under a label of the unikernel that no record is of: beside what is known of it, if anything is."""
    since = "" if info.started is None else f" since {_shown(info.started)}"
    said = (
        f"{name} runs on albatross{since} and is of no release here: somebody else started it, or albatross carried "
        "out late what a run of ours had asked for before it gave up or was killed"
    )
    if known is None:
        return Attributed(newest.number, info, said)
    return replace(known, altered="; ".join(filter(None, (known.altered, f"beside it, {said}"))))


def _altered(record: Created, info: UnikernelInfo) -> Optional[str]:
    said = differences(record.running, told(info))
    since = "" if info.started is None else f" since {_shown(info.started)}"
    if said:
        return f"somebody else changed it on albatross, and it runs so{since}: {'; '.join(said)}"
    if record.ended and record.started is None and record.unanswered:
        return f"it was {record.ended}, and then albatross carried out our own request for it late{since}"
    if record.ended and record.started != info.started:
        return f"it was {record.ended}, and somebody else started it again on albatross{since}"
    return None


def _shown(started: str) -> str:
    with suppress(ValueError):
        return f"{moment(started):%Y-%m-%d %H:%M:%S} UTC"
    return started


class Records:
    """The records of one unikernel on this machine's disk."""

    def __init__(self, layout: NodeLayout, name: str) -> None:
        self._layout = layout
        self._name = name

    def all(self) -> list[Created]:
        """Those that can be read, oldest first. DriverError when the folder, or one of them, cannot be."""
        folder = self.folder(0).parent
        try:
            numbers = [int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise DriverError(
                f"The instances of {self._name} cannot be looked at: {error}. Nothing was changed."
            ) from error
        found = [record for record in map(self.of, numbers) if record is not None]
        return sorted(found, key=lambda record: record.order)

    def folder(self, number: int) -> Path:
        return self._layout.instance(self._name, number)

    def of(self, number: int) -> Optional[Created]:
        path = self.folder(number) / CREATED
        try:
            return codec.decode(Created, json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None  # of another driver, or begun and never asked for
        except (OSError, ValueError) as error:
            raise DriverError(
                f"What is known of {self._name}, release {number}, cannot be read from {path}: {error}. It was left as "
                "it is. Move that file away to have it taken for somebody else's."
            ) from error

    def release(self, number: int) -> Optional[Release]:
        with suppress(OSError, ValueError):
            return codec.decode(Release, json.loads((self.folder(number) / RELEASE).read_bytes()))
        return None

    def begin(self, record: Created, release: Release, image: Optional[Path]) -> None:
        """All that is needed to know it again, and its image if it is to run: before it is asked for."""
        folder = self.folder(record.number)
        link = self._layout.instance_image(self._name, record.number)
        try:
            make_folder(folder)
            write_durably(folder / RELEASE, json.dumps(codec.encode(release)).encode("ascii"))
            if image is not None and not (link.exists() and os.path.samefile(link, image)):
                link.unlink(missing_ok=True)
                os.link(image, link)
            self._put(record)
        except OSError as error:
            raise self._unwritten(record.number, error) from error

    def put(self, record: Created) -> None:
        try:
            self._put(record)
        except OSError as error:
            raise self._unwritten(record.number, error) from error

    def _put(self, record: Created) -> None:
        write_durably(self.folder(record.number) / CREATED, json.dumps(codec.encode(record)).encode("ascii"))

    def _unwritten(self, number: int, error: OSError) -> DriverError:
        return DriverError(
            f"{self._name}: what is asked of albatross for release {number} cannot be written down: {error}. Nothing "
            "was stopped by this. Make room or correct the permissions."
        )

    def discard(self, number: int) -> None:
        """Forget a release that does not run."""
        try:
            shutil.rmtree(self.folder(number))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise DriverError(f"What is left of {self._name}, release {number}, cannot be removed: {error}.") from error
