# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of network interfaces and namespaces: Linux takes 15 characters, so they are hashed from what they are for."""

from __future__ import annotations

import base64
import hashlib
from typing import Union

LONGEST = 15
LABEL = "unikernel.fleet"
"""First part of an interface's alias: without it, an interface is not ours, whatever its name says."""


def interface_name(use: str, *parts: object) -> str:
    """``uk``, one letter for the use, and 60 bits of a digest of the parts: always the same for the same parts."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode("utf-8")).digest()
    return f"uk{use}{base64.b32encode(digest).decode('ascii').lower()}"[:LONGEST]


def port_mac(interface: str) -> str:
    """The MAC of a port's own end, which no frame ever carries. A bridge takes the lowest one of its ports for its own
    MAC, so ours are as high as can be: what comes and goes must not change it."""
    digest = hashlib.sha256(interface.encode("ascii")).hexdigest()
    return "fe:" + ":".join(digest[i : i + 2] for i in range(0, 10, 2))


def label_of(root: str, name: str, release: Union[int, str], what: str = "") -> str:
    """The alias of an interface that belongs to an instance; without ``what``, the beginning of all of them."""
    place = hashlib.sha256(root.encode("utf-8")).hexdigest()[:8]
    return f"{LABEL}/{place}/{name}/{release}/{what}"
