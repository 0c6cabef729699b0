# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The user as which a unikernel's tenders run: one without any power that is nobody else's, on a node that was prepared
for it."""

from __future__ import annotations

import grp
import json
import os
import pwd
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Optional

from ..layout import NodeLayout
from ..model import Release
from .user_ids import UserIds, claim_user_id, user_id_of

TUN, KVM = "/dev/net/tun", "/dev/kvm"
UNPRIVILEGED = frozenset({"solo5", "qemu"})
"""Drivers whose processes need nothing but their image, their taps, disks, KVM and a folder of their own."""


@dataclass(frozen=True)
class TenderUser:
    """Who a tender is, and whose its taps and disks are: nobody else may attach to the ones or open the others."""

    user_id: int
    group_id: int
    """That of /dev/kvm where the node's user of tenders is one of its members, else the group of that user. It gives
    access to nothing of another tender."""
    further_group_ids: tuple[int, ...] = ()
    """Those of the volumes that it is given, if they are not everybody's: ``disk``, as a rule."""


POWERLESS_ROOT = TenderUser(0, 0)
"""Root without any capability, as which a tender runs that no other user can be."""


def tender_user(layout: NodeLayout, name: str, release: Release) -> Optional[TenderUser]:
    """As whom its tender is to run; from now on that user is on record as its own. DriverError.

    None: it runs as root, because role node did not prepare this machine for anything else, or because its user may not
    use the devices, pass to the images, or open a disk that was there before.
    """
    user = expected_tender_user(layout, name, release)
    if user is None:
        return None
    _unused, ids = _prepared(layout)
    return replace(user, user_id=claim_user_id(layout, name, ids))


def expected_tender_user(layout: NodeLayout, name: str, release: Release) -> Optional[TenderUser]:
    """The same, and nothing is put on record."""
    if os.geteuid() != 0 or release.configuration.driver not in UNPRIVILEGED:
        return None
    try:
        account, ids = _prepared(layout)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    paths = _declared_disks(release)
    user = TenderUser(user_id_of(layout, name, ids), _group(account), _groups_of_volumes(paths))
    return user if _may_run(user, layout) and all(may_open(path, user) for path in paths) else None


def _prepared(layout: NodeLayout) -> tuple[pwd.struct_passwd, UserIds]:
    """What role node left on record. OSError, ValueError, KeyError, TypeError: it did not."""
    recorded = json.loads(layout.node.read_bytes())
    return pwd.getpwnam(recorded["tender_user"]), UserIds(**recorded.get("tender_user_ids", {}))


def _may_run(user: TenderUser, layout: NodeLayout) -> bool:
    devices = [device for device in (TUN, KVM) if os.path.exists(device)]
    usable = TUN in devices and all(_may(device, user, stat.S_IROTH | stat.S_IWOTH) for device in devices)
    return usable and all(_may(str(folder), user, stat.S_IXOTH) for folder in (layout.images, *layout.images.parents))


def may_open(path: str, user: TenderUser) -> bool:
    """Whether the user may read and write what is there, by that path."""
    real = PurePath(os.path.realpath(path))
    passed = all(_may(str(folder), user, stat.S_IXOTH) for folder in real.parents)
    return passed and _may(str(real), user, stat.S_IROTH | stat.S_IWOTH)


def _declared_disks(release: Release) -> list[str]:
    """Without those of the unikernel's own: they are given to its user."""
    return [device.path for device in release.configuration.block_devices if device.path is not None]


def _groups_of_volumes(paths: Sequence[str]) -> tuple[int, ...]:
    """The groups that may read and write these block devices. Without such a group only root could open a volume: udev
    takes back whatever else is done to its node. Of files, whose groups are anybody's, none is taken on."""
    groups = set()
    for path in paths:
        with suppress(OSError):
            found = os.stat(path)
            if stat.S_ISBLK(found.st_mode) and found.st_mode & 0o060 == 0o060 and found.st_gid != 0:
                groups.add(found.st_gid)
    return tuple(sorted(groups))


def _group(account: pwd.struct_passwd) -> int:
    with suppress(OSError, KeyError):
        owning = grp.getgrgid(os.stat(KVM).st_gid)
        if account.pw_name in owning.gr_mem:
            return owning.gr_gid
    return account.pw_gid


def _may(path: str, user: TenderUser, rights: int) -> bool:
    """Whether the user has these rights (named as those of others); what access lists say is not looked at."""
    with suppress(OSError):
        found = os.stat(path)
        if found.st_uid == user.user_id:
            rights <<= 6
        elif found.st_gid in (user.group_id, *user.further_group_ids):
            rights <<= 3
        return found.st_mode & rights == rights
    return False
