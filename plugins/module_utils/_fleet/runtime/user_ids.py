# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The number of the user that each unikernel's tenders are: one that nobody else on the machine is.

The numbers have no names. They are taken from a range that role node found free, and once taken they stay with their
unikernel for as long as the state folder lives, since its disks belong to them.

Each is on record as a link in ``users/``, from the number to the name: a link is made with its content at once, and by
one alone. The search for a free one begins at a place that follows from the unikernel's name, so that a machine which
is set up anew gives out the same ones, as a rule.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain

from ..durable import make_folder, sync_folder
from ..errors import DriverError
from ..layout import NodeLayout
from ..model import checked_name

MOST_STEPS = 1000
"""From the place of its name on; a range with so many taken in a row is as good as full."""


@dataclass(frozen=True)
class UserIds:
    """A range of numbers that no accounts have."""

    first: int = 2_100_000_000
    """Above what containers, subordinate users and directories (sssd) are given as a rule, and below what systemd keeps
    for foreign ones (2,147,352,576)."""
    count: int = 1 << 24

    def __post_init__(self) -> None:
        # 2^31 and above are negative numbers to some programs, and 65,535 and below are where accounts are.
        if not (self.first >= 65_536 and self.count >= 1 and self.first + self.count <= 2**31 - 1):
            raise ValueError(f"{self.first} and {self.count} numbers from there on are no range for users")

    def beginning_with(self, seed: str) -> Iterator[int]:
        place = int.from_bytes(hashlib.sha256(seed.encode("utf-8")).digest()[:8], "big")
        return (self.first + (place + step) % self.count for step in range(min(MOST_STEPS, self.count)))


def user_id_of(layout: NodeLayout, name: str, ids: UserIds) -> int:
    """The number that this unikernel's user has, or would be given; nothing is changed. DriverError."""
    for number in _numbers(layout, name, ids):
        try:
            if os.readlink(layout.users / str(number)) == name:
                return number
        except OSError:
            return number
    raise _used_up(name, ids)


def _given_before(layout: NodeLayout, name: str) -> Iterator[int]:
    """In another range, or under another name of the state folder."""
    with suppress(OSError):
        for entry in os.scandir(layout.users):
            if entry.name.isdecimal() and os.readlink(entry.path) == name:
                yield int(entry.name)


def claim_user_id(layout: NodeLayout, name: str, ids: UserIds) -> int:
    """The number of this unikernel's user: the one that it has, or else one that is now its own. DriverError."""
    try:
        make_folder(layout.users)
        for number in _numbers(layout, name, ids):
            claim = layout.users / str(number)
            try:
                os.symlink(name, claim)
            except FileExistsError:
                if os.readlink(claim) == name:
                    return number
            else:
                sync_folder(layout.users)
                return number
    except OSError as error:
        raise DriverError(
            f"{name}: no user can be put on record for its tender in {layout.users}: {error.strerror}. Nothing was "
            "started. Make room or correct the permissions."
        ) from error
    raise _used_up(name, ids)


def _numbers(layout: NodeLayout, name: str, ids: UserIds) -> Iterator[int]:
    """Where to look, in this order. The place to begin at follows from the folder too: a second state folder of the
    machine has a unikernel of that name for itself."""
    return chain(_given_before(layout, checked_name(name)), ids.beginning_with(f"{layout.root}\0{name}"))


def _used_up(name: str, ids: UserIds) -> DriverError:
    return DriverError(
        f"{name}: the numbers for users of tenders from {ids.first} on are used up. Nothing was started. Give role "
        "node a larger range (node_user_ids); numbers that were given stay."
    )
