# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what is declared to the release that should run: what is given replaces, what is left out is inherited."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from enum import Enum
from typing import Any, Optional

from ..codec import Mismatch, decode, encode
from ..errors import InvalidDeclaration
from ..model import Abi, BlockDevice, BuildReference, Configuration, Device, Image, Release, checked_device

MOST_DISK_MIB = 1 << 24
"""16 TiB: more is a mistake."""


class Wanted(str, Enum):
    RUNNING = "running"
    STOPPED = "stopped"
    ABSENT = "absent"


@dataclass(frozen=True)
class Declaration:
    """What is declared of one unikernel, as far as its node is concerned."""

    wanted: Wanted = Wanted.RUNNING
    image: Optional[Image] = None
    """None: the image that runs."""
    build: BuildReference = BuildReference()
    abi: Optional[Abi] = None
    devices: Optional[tuple[Device, ...]] = None
    configuration: dict[str, Any] = field(default_factory=dict, metadata={"secret": True})
    """Only the fields that were given, in their encoded form."""


@dataclass(frozen=True)
class Proposal:
    """The release that a declaration means, beside the one that is there."""

    candidate: Optional[Release]
    inherited: tuple[str, ...] = ()
    """Names of configuration fields that were left out and differ from their default."""


def propose(current: Optional[Release], declaration: Declaration, number: int) -> Proposal:
    """The candidate with the given number; InvalidDeclaration when it does not make a release."""
    if declaration.wanted is Wanted.ABSENT:
        return Proposal(candidate=None)
    image = declaration.image or (current.image if current else None)
    if image is None:
        raise InvalidDeclaration(
            "No image is declared and there is no release whose image could be kept. Give image_sha256 and image_size "
            "(as unikernel.fleet.image returned them)."
        )
    same_image = current is not None and current.image.sha256 == image.sha256
    configuration = merged(current.configuration if current else None, declaration.configuration)
    candidate = Release(
        number=number,
        image=image,
        configuration=configuration,
        running=declaration.wanted is Wanted.RUNNING,
        build=current.build if current and same_image and not declaration.build.id else declaration.build,
        abi=declaration.abi or (current.abi if current and same_image else None),
        devices=declaration.devices
        if declaration.devices is not None
        else (current.devices if current and same_image else None),
    )
    return Proposal(candidate, inherited(configuration, declaration.configuration) if current else ())


def merged(running: Optional[Configuration], given: dict[str, Any]) -> Configuration:
    """The configuration with the given fields replaced; InvalidDeclaration names what does not fit."""
    known = {f.name for f in fields(Configuration)}
    surplus = sorted(set(given) - known)
    if surplus:
        raise InvalidDeclaration(f"The configuration has no option {', '.join(surplus)}.")
    base = encode(running) if running is not None else encode(Configuration())
    base.update(given)
    try:
        configuration = decode(Configuration, base)
    except Mismatch as mismatch:
        raise InvalidDeclaration(f"The configuration does not fit: {mismatch}.") from None
    _check_bounds(configuration)
    return configuration


def inherited(configuration: Configuration, given: dict[str, Any]) -> tuple[str, ...]:
    """The fields that were left out and that the running release gives another value than the default."""
    default = Configuration()
    return tuple(
        f.name
        for f in fields(Configuration)
        if f.name not in given and getattr(configuration, f.name) != getattr(default, f.name)
    )


def renumbered(release: Release, number: int) -> Release:
    return replace(release, number=number)


def _check_bounds(configuration: Configuration) -> None:
    if configuration.memory_mib is not None and configuration.memory_mib < 1:
        raise InvalidDeclaration(f"memory_mib is {configuration.memory_mib}; at least 1 is needed.")
    if configuration.core_dump.most_mib < 1:
        raise InvalidDeclaration(f"core_dump.most_mib is {configuration.core_dump.most_mib}; at least 1 is needed.")
    if not 0 <= configuration.start_order <= 100:
        raise InvalidDeclaration(f"start_order is {configuration.start_order}; it must be from 0 to 100.")
    if not 0 <= configuration.stop_grace_s <= 600:
        raise InvalidDeclaration(f"stop_grace_s is {configuration.stop_grace_s:g}; it must be from 0 to 600.")
    if any(cpu < 0 for cpu in configuration.cpus):
        raise InvalidDeclaration(f"cpus holds {min(configuration.cpus)}; the indices begin at 0.")
    for device in configuration.block_devices:
        _check_block_device(device)
    if len({device.name for device in configuration.block_devices}) < len(configuration.block_devices):
        raise InvalidDeclaration("Two block devices have one name.")
    texts = (
        *configuration.arguments,
        *configuration.secret_arguments,
        *configuration.environment,
        *configuration.environment.values(),
        *configuration.secret_environment,
        *configuration.secret_environment.values(),
    )
    # The values themselves may be secret, so the message does not repeat them.
    if any("\0" in text for text in texts):
        raise InvalidDeclaration("An argument or environment variable contains a NUL character.")
    if any("=" in name or not name for name in (*configuration.environment, *configuration.secret_environment)):
        raise InvalidDeclaration("The name of an environment variable is empty or contains '='.")


def _check_block_device(device: BlockDevice) -> None:
    checked_device(device.name)
    if (device.path is None) == (device.size_mib is None):
        raise InvalidDeclaration(
            f"The block device {device.name!r} needs either size_mib, for a file of its own, or path, for a file or a "
            "volume that is there."
        )
    if device.size_mib is not None and not 1 <= device.size_mib <= MOST_DISK_MIB:
        raise InvalidDeclaration(
            f"The block device {device.name!r} has {device.size_mib} MiB; it must be from 1 to {MOST_DISK_MIB}."
        )
