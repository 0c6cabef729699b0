# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The user as which tenders run: one without any power, on a node that was prepared for it."""

from __future__ import annotations

import grp
import json
import os
import pwd
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import Optional

from ..layout import NodeLayout
from ..model import Release

TUN, KVM = "/dev/net/tun", "/dev/kvm"
UNPRIVILEGED = frozenset({"solo5", "qemu"})
"""Drivers whose processes need nothing but their image, their taps, KVM and a folder of their own."""


@dataclass(frozen=True)
class TenderUser:
    """Who a tender is, and whose its taps are: nobody else may attach to them."""

    name: str
    user_id: int
    group_id: int
    """That of /dev/kvm where the user is one of its members: a tender has no further groups."""


def tender_user(layout: NodeLayout, release: Release) -> Optional[TenderUser]:
    """None: it runs as root, because role node did not prepare this machine for anything else, because this user may
    not use the devices or pass to the images, or because the release has block devices, which are root's."""
    if os.geteuid() != 0 or release.configuration.driver not in UNPRIVILEGED or release.configuration.block_devices:
        return None
    try:
        name = json.loads(layout.node.read_bytes())["tender_user"]
        entry = pwd.getpwnam(name)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    user = TenderUser(name, entry.pw_uid, _group(entry))
    devices = [device for device in (TUN, KVM) if os.path.exists(device)]
    usable = TUN in devices and all(_may(device, user, stat.S_IROTH | stat.S_IWOTH) for device in devices)
    images = (layout.images, *layout.images.parents)
    return user if usable and all(_may(str(folder), user, stat.S_IXOTH) for folder in images) else None


def _group(entry: pwd.struct_passwd) -> int:
    with suppress(OSError, KeyError):
        owning = grp.getgrgid(os.stat(KVM).st_gid)
        if entry.pw_name in owning.gr_mem:
            return owning.gr_gid
    return entry.pw_gid


def _may(path: str, user: TenderUser, rights: int) -> bool:
    """Whether the user has these rights (named as those of others); what access lists say is not looked at."""
    with suppress(OSError):
        found = os.stat(path)
        if found.st_uid == user.user_id:
            rights <<= 6
        elif found.st_gid == user.group_id:
            rights <<= 3
        return found.st_mode & rights == rights
    return False
