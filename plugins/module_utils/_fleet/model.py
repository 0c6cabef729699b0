# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The words of the collection as data. No I/O, no Ansible, nothing but the standard library.

Units are in the names: ``memory_mib``, ``size`` of an image in bytes, ``*_s`` in seconds.
Annotations are read at run time by :mod:`codec`, so they stay in the form that Python 3.9 evaluates.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any, Optional

from .errors import InvalidDeclaration

NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}", re.ASCII)
DEVICE_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,66}", re.ASCII)
"""Solo5 takes up to 67 letters and digits."""
SHA256_PATTERN = re.compile(r"[0-9a-f]{64}", re.ASCII)

SECRET = {"secret": True}
"""Field metadata: never shown, logged or put into a diff."""


def checked_name(name: str) -> str:
    """The name if it is a bounded label that may become a folder's name, else InvalidDeclaration."""
    if not isinstance(name, str) or not NAME_PATTERN.fullmatch(name):
        shown = repr(name) if len(repr(name)) <= 80 else repr(name)[:77] + "..."
        raise InvalidDeclaration(
            f"{shown} is no name for a unikernel: 1 to 63 of the characters a-z, 0-9, '.' and '-', "
            "beginning with a letter or digit. Nothing was changed."
        )
    return name


def checked_device(name: str) -> str:
    """The name if a block device can have it and it may become a file's name, else InvalidDeclaration."""
    if not isinstance(name, str) or not DEVICE_PATTERN.fullmatch(name):
        raise InvalidDeclaration(
            f"{name!r} is no name of a block device: 1 to 67 letters, digits, '_', '-', '.', beginning with a letter "
            "or digit. Nothing was changed."
        )
    return name


def checked_sha256(digest: str) -> str:
    """The digest in lower case if it is a SHA-256 in hexadecimal, else InvalidDeclaration."""
    lowered = digest.lower() if isinstance(digest, str) else ""
    if not SHA256_PATTERN.fullmatch(lowered):
        raise InvalidDeclaration(f"{digest!r} is no SHA-256: 64 hexadecimal digits are needed.")
    return lowered


# --- builds and images ------------------------------------------------------------------------


@dataclass(frozen=True)
class Device:
    """A device that a Solo5 image declares in its manifest."""

    name: str
    type: str
    """``NET_BASIC`` or ``BLOCK_BASIC``."""


@dataclass(frozen=True)
class Abi:
    """The ABI note of a Solo5 image."""

    target: str
    """``hvt``, ``spt``, ``virtio``, ``muen``, ``genode`` or ``xen``."""
    version: int


@dataclass(frozen=True)
class Image:
    """The bytes of a build, named by their SHA-256."""

    sha256: str
    size: int
    """Bytes."""


@dataclass(frozen=True)
class Build:
    """An entry of a build source."""

    source: str
    """Name of the source in the inventory."""
    job: str
    id: str
    """UUID in its text form."""
    platform: str
    sha256: str
    size: int
    """Bytes of the image."""
    filename: str
    """Base name of the image at its source, for people."""
    location: str
    """Where the image's bytes are: an http(s) URL, or an absolute path on the machine that looked it up."""
    started_at: Optional[str] = None
    """RFC 3339."""
    finished_at: Optional[str] = None
    """RFC 3339."""
    abi: Optional[Abi] = None
    """None: not a Solo5 image, or not known."""
    devices: Optional[tuple[Device, ...]] = None
    """None: not a Solo5 image, or not known."""

    @property
    def image(self) -> Image:
        return Image(sha256=self.sha256, size=self.size)


@dataclass(frozen=True)
class BuildReference:
    """Which build a release came from: for people and for comparisons, never for trust."""

    source: str = ""
    job: str = ""
    id: str = ""
    platform: str = ""
    finished_at: Optional[str] = None

    def __str__(self) -> str:
        if not self.job and not self.id:
            return "a build of unknown origin"
        return f"{self.job or '?'} {self.id or '?'}" + (f" ({self.platform})" if self.platform else "")


# --- configuration ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Network:
    """A network device of the guest and the bridge that it is plugged into."""

    name: str
    bridge: str
    mac: Optional[str] = None
    """None: derived from the unikernel's name, as albatross does."""
    addresses: tuple[str, ...] = ()
    """IPv4 and IPv6 with their prefix lengths. A process in a namespace of its own is given them; of a guest that has
    its own network stack they say which it uses, so that it can be looked at off its bridge."""
    gateway: Optional[str] = None
    """For a process in a namespace: where its default route leads."""


@dataclass(frozen=True)
class BlockDevice:
    """A block device of the guest, and what lies behind it: a file of its own, or one or a volume that is there."""

    name: str
    path: Optional[str] = None
    """None: a file in the unikernel's folder, made when it is first needed."""
    size_mib: Optional[int] = None
    """Of a file of its own; None for what is there."""


class SnapshotMethod(str, Enum):
    """How data is kept over an update."""

    REFLINK = "reflink"
    """Of files, on a file system whose files can share blocks."""
    LVM = "lvm"
    COPY = "copy"
    """Of files, byte for byte: takes its time while nothing runs."""
    HOOK = "hook"
    """A program of the operator's."""


@dataclass(frozen=True)
class Snapshot:
    """The data of a unikernel as the release before left it."""

    method: SnapshotMethod
    label: str
    """Names it among those of the same data: the trial's id."""
    disks: tuple[str, ...]
    """Paths of the files and volumes."""
    copies: tuple[str, ...]
    """Where each disk's copy is: a path, or the name of a volume in its disk's group, or nothing (of a hook)."""
    hook: Optional[str] = None
    """Path of the program."""
    taken: bool = False
    """It is whole; from here on a release may have changed the disks."""
    restored: bool = False
    """The disks are as they were; from here on a release may have changed them again."""


class BootedFrom(str, Enum):
    """What the image of a virtual machine is."""

    KERNEL = "kernel"
    DISK = "disk"
    """Booted by its own loader. What the guest writes to it is gone when it ends: data belongs onto block devices."""


@dataclass(frozen=True)
class Boot:
    """How a virtual machine comes up, and goes down (driver ``qemu``)."""

    image: BootedFrom = BootedFrom.KERNEL
    initrd: Optional[Image] = None
    """Beside a kernel; in the store like the image, and as much a part of the release."""
    power_button: bool = False
    """The guest shuts down when its power button is pressed (ACPI): a stop presses it and waits ``stop_grace_s``.
    Most unikernels do not listen, and would only cost that time."""


@dataclass(frozen=True)
class CoreDump:
    """Whether a guest that gives up leaves its memory behind, as evidence (driver ``solo5``, target hvt)."""

    enabled: bool = False
    most_mib: int = 64
    """A core is as large as its guest's memory; a guest with more than that is refused."""


@dataclass(frozen=True)
class AlbatrossOptions:
    """What albatross does to a guest besides running it (driver ``albatross``)."""

    add_name: bool = False
    """It puts ``--name=LABEL`` before the arguments, as albatross-client has it do unless told otherwise; a guest that
    ends with status 64 is started once more without it."""


@dataclass(frozen=True)
class Limits:
    """What a process may use; None leaves the limit of the machine in force."""

    open_files: Optional[int] = None
    processes: Optional[int] = None
    file_size_mib: Optional[int] = None
    cpu_time_s: Optional[int] = None


class SwapMethod(str, Enum):
    """How the running release is replaced by another."""

    AUTO = "auto"
    """``cut_over`` exactly when a ready check is declared, the driver can, no block device is shared and there is
    memory for two; else ``stop_start``."""
    STOP_START = "stop_start"
    CUT_OVER = "cut_over"
    """The new instance comes up beside the old one, off the bridge, and takes its place when it is ready."""


class RestartPolicy(str, Enum):
    """What happens when the unikernel ends by itself (never during a trial: there an end is a failure)."""

    NEVER = "never"
    ON_FAILURE = "on_failure"
    ALWAYS = "always"


@dataclass(frozen=True)
class Configuration:
    """How an image is run. Two releases with equal image and configuration are the same release."""

    driver: str = "unix"
    memory_mib: Optional[int] = None
    cpus: tuple[int, ...] = ()
    """Indices of the CPUs that it may use; empty: any."""
    networks: tuple[Network, ...] = ()
    block_devices: tuple[BlockDevice, ...] = ()
    arguments: tuple[str, ...] = ()
    secret_arguments: tuple[str, ...] = field(default=(), metadata=SECRET)
    """Follow the arguments."""
    environment: dict[str, str] = field(default_factory=dict)
    secret_environment: dict[str, str] = field(default_factory=dict, metadata=SECRET)
    working_directory: Optional[str] = None
    limits: Limits = Limits()
    boot: Boot = Boot()
    core_dump: CoreDump = CoreDump()
    albatross: AlbatrossOptions = AlbatrossOptions()
    restart: RestartPolicy = RestartPolicy.NEVER
    start_order: int = 50
    """0 to 100; lower ones start first at boot."""
    stop_grace_s: float = 10.0
    """From the request to stop to the kill."""
    swap: SwapMethod = SwapMethod.AUTO
    ready: Optional[dict[str, Any]] = None
    """One declared check, in the words of ``checks``, that says through the port that is not on its bridge yet when a
    new instance may take over; ``within`` beside it: for how many seconds that is awaited."""


def secret_fields() -> tuple[str, ...]:
    """Names of the fields of a Configuration that are never shown."""
    return tuple(f.name for f in fields(Configuration) if f.metadata.get("secret"))


# --- releases ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Release:
    """Image + configuration + number, of one unikernel. What is absent is ``None``, the release before the first."""

    number: int
    image: Image
    configuration: Configuration
    running: bool = True
    """False: declared ``stopped``."""
    build: BuildReference = BuildReference()
    abi: Optional[Abi] = None
    devices: Optional[tuple[Device, ...]] = None

    @property
    def files(self) -> tuple[Image, ...]:
        """All that it needs from the store."""
        initrd = self.configuration.boot.initrd
        return (self.image,) if initrd is None else (self.image, initrd)

    def __str__(self) -> str:
        return f"release {self.number} ({self.build}, sha256 {self.image.sha256[:12]})"


# --- what runs --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Exit:
    """How an instance ended."""

    status: Optional[int] = None
    """Exit status; None when it ended by a signal or nobody saw it end."""
    signal: Optional[int] = None
    at: Optional[str] = None
    """Wall time, RFC 3339."""
    meaning: str = "ended, and nobody saw how"
    """For people: ``exited with status 1``, ``killed by SIGSEGV``."""

    @property
    def unseen(self) -> bool:
        """It ended while the machine was up, and whoever was to see that had been killed: so nobody restarts it."""
        return self == Exit()


@dataclass(frozen=True)
class Instance:
    """One incarnation of a release, as its driver sees it on the node."""

    name: str
    release: int
    """Number of the release that it was started from."""
    alive: bool
    identity: Optional[str] = None
    """Unforgeable while the machine is up: another identity is another process. None when it never ran."""
    restarts: int = 0
    """How often it was restarted since it was started for its release."""
    cpu_time_s: Optional[float] = None
    memory_mib: Optional[float] = None
    """Resident memory."""
    uptime_s: Optional[float] = None
    exit: Optional[Exit] = None
    serving: bool = True
    """False: it lives, but off its bridge: not yet on it, parked for the length of a trial, or taken off it."""
    unreachable: Optional[str] = None
    """Why it is as good as dead although its process lives: its network interface was deleted, for instance."""
    cut_off: Optional[str] = None
    """Why nobody reaches it through no fault of its own: its network interface was deleted, or its bridge is down. That
    it is off its bridge says ``serving``."""
    watched: bool = True
    """False: it lives, and whoever was to restart it and to see how it ends was killed."""
    altered: Optional[str] = None
    """Something runs under its name that is not as its release says: what somebody else changed, behind our back."""

    @property
    def works(self) -> bool:
        """It lives, is what its release says, and what it needs to be of use is there."""
        return self.alive and self.unreachable is None and self.altered is None


@dataclass(frozen=True)
class Capabilities:
    """What a driver can do on this node."""

    swap_methods: tuple[str, ...] = ("stop_start",)
    discovers: bool = False
    """It sees instances that we did not start (they can be adopted)."""
    shared: bool = False
    """Others start and stop things there as well, under the same names: what they do is drift, and put right when
    somebody deploys, never by a guard."""
    details: dict[str, Any] = field(default_factory=dict)
