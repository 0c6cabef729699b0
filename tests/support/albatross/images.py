# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images for the double, which plays the tender: a program of the node with the Solo5 notes of a unikernel before it.

``image("#!/bin/sh\n...")`` is an ELF file with ABI and manifest, as every unikernel's, and the double runs the program
that lies behind them. A bare script counts as an image too: one without a manifest, that goes with any devices. What is
neither is refused as albatross refuses it. Where the real one looks for the notes by their sections, the double uses
the collection's own reading.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import (
    UnikernelArguments,
    UnikernelConfig,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import ImageError
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.images.elf import read_notes
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import Device
from ansible_collections.unikernel.fleet.tests.support.albatross.faults import Fault
from ansible_collections.unikernel.fleet.tests.support.solo5_image import (
    BLOCK_BASIC,
    NET_BASIC,
    abi_note,
    elf,
    manifest_note,
)

HVT, SPT = 1, 2
TARGETS = {HVT: "hvt", SPT: "spt"}
ABI_VERSION = 2
_BEFORE_PROGRAM = b"\0the program that the double runs:\0"
_MOST_INFLATED = 1 << 28


def image(
    program: str,
    networks: Sequence[str] = ("service",),
    blocks: Sequence[str] = (),
    target: int = HVT,
    version: int = ABI_VERSION,
) -> bytes:
    """An image that the double can run: a script or anything else that begins with what the kernel executes."""
    devices = [
        *((name.encode(), NET_BASIC) for name in networks),
        *((name.encode(), BLOCK_BASIC) for name in blocks),
    ]
    return elf([abi_note(target, version), manifest_note(devices)], rest=_BEFORE_PROGRAM + program.encode())


@dataclass(frozen=True)
class Guest:
    """What the double can run of an image."""

    program: bytes
    target: Optional[str]
    """``hvt`` or ``spt``; None for a bare script, which is told nothing about by a tender."""


def plain(config: UnikernelConfig) -> bytes:
    """The image itself."""
    if not config.compressed:
        return config.image
    stream = zlib.decompressobj()
    try:
        octets = stream.decompress(config.image, _MOST_INFLATED)
    except zlib.error:
        raise Fault("failed to uncompress: Invalid Zlib header") from None
    if not stream.eof:
        raise Fault("failed to uncompress: Unexpected end of input")
    return octets


def guest_of(octets: bytes, tenders: dict[str, int]) -> Guest:
    """What ELF, ABI and the tenders of the machine say: it can be run, or a Fault."""
    if octets.startswith(b"#!"):
        return Guest(octets, None)
    try:
        abi, _devices = read_notes(io.BytesIO(octets))
    except ImageError:
        raise Fault("error during ELF parsing") from None
    if abi is None:
        raise Fault("error during ELF parsing")
    if abi.target not in TARGETS.values():
        raise Fault(f"unsupported solo5 target {abi.target.capitalize()}")
    wanted = [f"solo5-{abi.target}.{abi.version}", f"solo5-{abi.target}"]
    if abi.target not in tenders:
        looked = ", ".join(f"/var/lib/albatross/{name}, {name}" for name in wanted)
        raise Fault(f"tender does not exist, looked for {looked}")
    if tenders[abi.target] != abi.version:
        raise Fault(
            "unexpected solo5 tender --version output, expected one line with "
            f"'ABI version {abi.version}', got ABI version {tenders[abi.target]}"
        )
    return Guest(octets.partition(_BEFORE_PROGRAM)[2], abi.target)


def match_manifest(octets: bytes, arguments: UnikernelArguments) -> None:
    """Fault unless the devices are those of the image's manifest."""
    if octets.startswith(b"#!"):
        return
    try:
        _abi, devices = read_notes(io.BytesIO(octets))
    except ImageError:
        devices = None
    if devices is None:
        raise Fault("error during ELF parsing")
    present = ", ".join(f'{_kind(device)} "{device.name}"' for device in devices)
    if {use.guest_device for use in arguments.blocks} != {one.name for one in devices if _kind(one) == "block"}:
        raise Fault(f"specified block device(s) does not match with manifest. Devices present in manifest: {present}")
    if {use.guest_device for use in arguments.networks} != {one.name for one in devices if _kind(one) == "net"}:
        raise Fault(f"specified bridge(s) does not match with the manifest. Devices present in manifest: {present}")


def _kind(device: Device) -> str:
    return "block" if device.type == "BLOCK_BASIC" else "net"
