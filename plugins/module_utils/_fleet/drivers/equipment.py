# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an instance is given beyond its image: ports, disks, and a user who may open them; and how it is recorded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Optional, Union

from ..layout import NodeLayout
from ..model import Release
from ..runtime.ports import Port, ports_of
from ..runtime.supervisor import ProcessSpec
from ..runtime.tender_user import UNPRIVILEGED, TenderUser
from .guest import Guest

RELEASE = "release.json"
"""In the instance's folder: the release that it is of, so that a lost state can be made good from what runs."""
CANDIDATES_OOM_SCORE = 500
"""While two run side by side: when memory runs out, the one that proved itself stays."""


def ports(
    guest: Guest, layout: NodeLayout, name: str, release: Release, label: Union[int, str, None] = None
) -> tuple[Port, ...]:
    """Its ports, as they are known whoever may attach to them."""
    return ports_of(str(layout.root), name, release, guest.port_kind, label) if release.configuration.networks else ()


def owned(ports: Sequence[Port], user: Optional[TenderUser]) -> tuple[Port, ...]:
    """The same, to be made for that user."""
    return tuple(ports) if user is None else tuple(replace(port, owner=user.user_id) for port in ports)


def process(
    guest: Guest,
    layout: NodeLayout,
    name: str,
    release: Release,
    image: Path,
    folder: Path,
    ports: Sequence[Port],
    user: Optional[TenderUser],
) -> ProcessSpec:
    """How it is run, and as whom."""
    spec = guest.process_spec(name, located(layout, name, release), image, folder, ports)
    if user is not None:
        return replace(spec, user_id=user.user_id, group_id=user.group_id, further_group_ids=user.further_group_ids)
    return replace(spec, powerless=os.geteuid() == 0 and release.configuration.driver in UNPRIVILEGED)


def located(layout: NodeLayout, name: str, release: Release) -> Release:
    """The release with the path of each disk, also of those that are the unikernel's own."""
    devices = tuple(
        replace(device, path=os.path.realpath(device.path) if device.path else str(layout.disk(name, device.name)))
        for device in release.configuration.block_devices
    )
    return replace(release, configuration=replace(release.configuration, block_devices=devices))
