# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What albatross keeps and tells: configurations, policies, block devices, samples. Data without I/O.

Tuples that stand for sets (CPUs, devices) may be in any order; they are read in the order in which they are sent.
Texts may hold surrogates: the server never checks what it passes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Optional

from .names import Name


class Generation(str, Enum):
    """Which forms a server understands. Nothing is negotiated: what it does not know, it closes unanswered."""

    V2_5 = "2.5"
    V2_6 = "2.6"
    V2_7 = "2.7"


class UnikernelType(str, Enum):
    SOLO5 = "solo5"
    BHYVE = "bhyve"
    """FreeBSD only."""


@dataclass(frozen=True)
class FailBehaviour:
    """What the server does when the unikernel ends by itself. It never waits between two starts."""

    restart: bool = False
    codes: tuple[int, ...] = ()
    """Only after these exit codes; none: after every one but 1 and 60 to 64. A death by signal never counts."""


@dataclass(frozen=True)
class BlockUse:
    guest_device: str
    """Its name in the image's manifest."""
    host_device: Optional[str] = None
    """Label of the block device in the same path; None: as the guest's."""
    sector_size: Optional[int] = None
    """Octets; None: the tender's default."""


@dataclass(frozen=True)
class NetworkUse:
    guest_device: str
    bridge: Optional[str] = None
    """None: named as the guest's device."""
    mac: Optional[str] = None
    """None: derived by the server from the guest's device and the unikernel's full name."""


@dataclass(frozen=True)
class UnikernelArguments:
    """How an image is run."""

    memory_mib: int = 32
    cpus: tuple[int, ...] = (0,)
    """Before generation 2.7 exactly one."""
    fail_behaviour: FailBehaviour = FailBehaviour()
    startup: Optional[int] = None
    """Order when the server starts, low ones first; None counts as 50. Not before generation 2.6."""
    add_name: bool = True
    """The guest gets ``--name=LABEL`` before its arguments. Servers of generation 2.5 never do that."""
    blocks: tuple[BlockUse, ...] = ()
    networks: tuple[NetworkUse, ...] = ()
    arguments: tuple[str, ...] = ()
    vcpus: int = 1
    """bhyve only."""
    linux_boot: Optional[str] = None
    """bhyve only."""


@dataclass(frozen=True)
class UnikernelConfig(UnikernelArguments):
    """An image, and how it is run."""

    image: bytes = b""
    """Empty only where it is streamed after the request."""
    compressed: bool = False
    """The image is one zlib stream."""
    type: UnikernelType = UnikernelType.SOLO5


@dataclass(frozen=True)
class BlockInfo:
    guest_device: str
    host_device: str
    sector_size: int
    size_mib: int = 0
    """Wrong in the listing of a path, and 0 over the TLS of 2.5: ask for the block devices instead."""


@dataclass(frozen=True)
class NetworkInfo:
    guest_device: str
    bridge: str
    mac: str
    """The real one."""


@dataclass(frozen=True)
class UnikernelInfo:
    """A unikernel whose tender's process exists; more than that is not known by the server."""

    memory_mib: int
    digest: bytes
    """SHA-256 of the image, uncompressed (for bhyve something else)."""
    cpus: tuple[int, ...] = ()
    fail_behaviour: FailBehaviour = FailBehaviour()
    startup: Optional[int] = None
    blocks: tuple[BlockInfo, ...] = ()
    networks: tuple[NetworkInfo, ...] = ()
    arguments: tuple[str, ...] = ()
    started: Optional[str] = None
    """A time as :func:`moment` reads it; another one tells a restart."""
    vcpus: int = 1
    linux_boot: Optional[str] = None
    type: UnikernelType = UnikernelType.SOLO5


@dataclass(frozen=True)
class NamedInfo:
    name: Name
    """Relative to the path that was asked about."""
    info: UnikernelInfo


@dataclass(frozen=True)
class Policy:
    """What the unikernels of a path may use together. A path without one is not limited."""

    cpus: tuple[int, ...]
    unikernels: int
    """Running at once."""
    memory_mib: int
    bridges: tuple[str, ...]
    block_mib: Optional[int] = None
    """None: no block devices."""


@dataclass(frozen=True)
class NamedPolicy:
    name: Name
    policy: Policy


@dataclass(frozen=True)
class BlockDevice:
    name: Name
    size_mib: int
    active: bool
    """Attached to a unikernel that runs."""


# --- samples of the statistics daemon ------------------------------------------------------------


@dataclass(frozen=True)
class TimeValue:
    seconds: int
    microseconds: int


@dataclass(frozen=True)
class ResourceUsage:
    """As getrusage(2); on Linux the unknown ones are 0."""

    utime: TimeValue
    stime: TimeValue
    maxrss: int
    """On Linux: pages."""
    ixrss: int
    idrss: int
    isrss: int
    minflt: int
    majflt: int
    nswap: int
    inblock: int
    outblock: int
    msgsnd: int
    msgrcv: int
    nsignals: int
    nvcsw: int
    nivcsw: int


@dataclass(frozen=True)
class KernelMemory:
    vsize: int
    """Octets."""
    rss: int
    """Pages."""
    tsize: int
    dsize: int
    ssize: int
    runtime: int
    """Microseconds of CPU."""
    cow: int
    start: TimeValue


@dataclass(frozen=True)
class InterfaceData:
    bridge: str
    """The guest's device, in spite of the name that the protocol gives it."""
    flags: int
    send_length: int
    max_send_length: int
    send_drops: int
    mtu: int
    baudrate: int
    input_packets: int
    input_errors: int
    output_packets: int
    output_errors: int
    collisions: int
    input_bytes: int
    output_bytes: int
    input_mcast: int
    output_mcast: int
    input_dropped: int
    output_dropped: int


@dataclass(frozen=True)
class Counter:
    key: str
    value: int


# --- times ---------------------------------------------------------------------------------------


def moment(text: str) -> datetime:
    """The time that a GeneralizedTime of the wire tells; ValueError if it tells none (a 13th month)."""
    body, offset = (text[:-1], "+0000") if text.endswith("Z") else (text[:-5], text[-5:])
    whole, _unused, fraction = body.partition(".")
    told = datetime.strptime(whole, "%Y%m%d%H%M%S").replace(microsecond=int(fraction.ljust(6, "0")) if fraction else 0)
    shift = timedelta(hours=int(offset[1:3]), minutes=int(offset[3:5]))
    return (told - shift if offset[0] == "+" else told + shift).replace(tzinfo=timezone.utc)


def generalized(at: datetime) -> str:
    """A time as it is sent: UTC, whole seconds."""
    return at.astimezone(timezone.utc).strftime("%Y%m%d%H%M%SZ")
