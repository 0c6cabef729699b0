# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""MAC addresses derived from names, as albatross derives them, so that a unikernel keeps its own over every swap."""

from __future__ import annotations

import hashlib
import re

MAC_PATTERN = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", re.ASCII)


def derived_mac(device: str, name: str, path: str = "") -> str:
    """``00:80:41`` and the first three octets of the MD5 of the guest's device and the unikernel's canonical name.

    The bridge is no part of it, nor the node: so it survives swaps and moves, and two nodes on one LAN that run a
    unikernel of the same name collide.
    """
    # albatross' choice, and no secret hangs on it; a FIPS machine refuses MD5 unless told so.
    digest = hashlib.new("md5", f"{device}{path}:{name}".encode(), usedforsecurity=False).digest()
    return ":".join(f"{octet:02x}" for octet in b"\x00\x80\x41" + digest[:3])


def why_no_mac(text: str) -> str:
    """What is wrong with a declared MAC address, in words that follow it; empty when nothing is."""
    if not MAC_PATTERN.fullmatch(text.lower()):
        return "is no MAC address (six octets in hexadecimal, with colons between them)"
    if int(text[:2], 16) & 1:
        return "is a multicast address, which no device can have"
    if text == "00:00:00:00:00:00":
        return "is the zero address, which no device can have"
    return ""
