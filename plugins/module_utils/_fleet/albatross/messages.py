# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is said: commands, replies, streamed data, and the message around each.

``form`` is the generation in whose words something is said; the codec reads all of them into the same dataclasses.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional, Union

from .names import Name
from .records import (
    BlockDevice,
    Counter,
    Generation,
    InterfaceData,
    KernelMemory,
    NamedInfo,
    NamedPolicy,
    Policy,
    ResourceUsage,
    UnikernelArguments,
    UnikernelConfig,
)

NEWEST = Generation.V2_7

# --- commands to albatrossd ----------------------------------------------------------------------


@dataclass(frozen=True)
class ListUnikernels:
    form: Generation = NEWEST


@dataclass(frozen=True)
class Create:
    config: UnikernelConfig = field(repr=False)
    force: bool = False
    """Kills what runs under that name first, and looks at image, manifest and bridges only then."""
    form: Generation = NEWEST


@dataclass(frozen=True)
class Restart:
    arguments: Optional[UnikernelArguments] = field(default=None, repr=False)
    """None: as it was. Else these replace all of them."""
    form: Generation = NEWEST


@dataclass(frozen=True)
class Destroy:
    pass


@dataclass(frozen=True)
class GetImage:
    level: int = 0
    """Of zlib: 0 (plain) to 9. More kills the server, and cannot be written."""


@dataclass(frozen=True)
class ListPolicies:
    pass


@dataclass(frozen=True)
class AddPolicy:
    """Or replace it. After its success the connection stays open for one more command."""

    policy: Policy


@dataclass(frozen=True)
class RemovePolicy:
    pass


@dataclass(frozen=True)
class ListBlocks:
    pass


@dataclass(frozen=True)
class AddBlock:
    size_mib: int


@dataclass(frozen=True)
class RemoveBlock:
    pass


@dataclass(frozen=True)
class SetBlock:
    """Chunks follow, and an empty one ends them."""

    compressed: bool = False
    """The chunks together are one zlib stream."""


@dataclass(frozen=True)
class DumpBlock:
    level: int = 0
    """As of GetImage."""


# --- commands to albatross-console and albatross-stats -------------------------------------------


@dataclass(frozen=True)
class SubscribeConsole:
    """History, then live lines: the last ``count`` lines, or those since a time."""

    count: Optional[int] = None
    since: Optional[str] = None
    """A time as :func:`records.generalized` writes it. Exactly one of the two is given."""


@dataclass(frozen=True)
class ListInactiveConsoles:
    pass


@dataclass(frozen=True)
class AddConsole:
    """Said by albatrossd only: a unikernel starts."""

    most_unikernels: int


@dataclass(frozen=True)
class SubscribeStatistics:
    pass


# --- replies -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Done:
    """Success without a word."""


@dataclass(frozen=True)
class Said:
    """Success, in words."""

    text: str


@dataclass(frozen=True)
class Failure:
    """In words: there is no code."""

    text: str


@dataclass(frozen=True)
class Unikernels:
    entries: tuple[NamedInfo, ...] = ()
    form: Generation = NEWEST
    relayed: bool = False
    """Passed on by the TLS endpoint of 2.5, which takes a listing for an older one, without sizes of block devices."""


@dataclass(frozen=True)
class Policies:
    entries: tuple[NamedPolicy, ...] = ()


@dataclass(frozen=True)
class Blocks:
    entries: tuple[BlockDevice, ...] = ()


@dataclass(frozen=True)
class ImageData:
    compressed: bool
    image: bytes = field(repr=False)


@dataclass(frozen=True)
class BlockImage:
    """Chunks follow as data."""

    compressed: bool


@dataclass(frozen=True)
class Consoles:
    """Of unikernels that do not run, and left a history."""

    names: tuple[Name, ...] = ()


# --- streamed data -------------------------------------------------------------------------------


@dataclass(frozen=True)
class ConsoleLine:
    time: str
    """When the console daemon read it, as :func:`records.moment` reads it."""
    line: str


@dataclass(frozen=True)
class BlockChunk:
    octets: Optional[bytes] = field(repr=False)
    """None: the end."""


@dataclass(frozen=True)
class StatsSample:
    usage: ResourceUsage
    interfaces: tuple[InterfaceData, ...] = ()
    vmm: tuple[Counter, ...] = ()
    memory: Optional[KernelMemory] = None


UNIKERNEL_COMMANDS = (ListUnikernels, Create, Restart, Destroy, GetImage)
POLICY_COMMANDS = (ListPolicies, AddPolicy, RemovePolicy)
BLOCK_COMMANDS = (ListBlocks, AddBlock, RemoveBlock, SetBlock, DumpBlock)
CONSOLE_COMMANDS = (SubscribeConsole, ListInactiveConsoles, AddConsole)
STATISTICS_COMMANDS = (SubscribeStatistics,)
COMMANDS = (*UNIKERNEL_COMMANDS, *POLICY_COMMANDS, *BLOCK_COMMANDS, *CONSOLE_COMMANDS, *STATISTICS_COMMANDS)
SUCCESSES = (Done, Said, Unikernels, Policies, Blocks, ImageData, BlockImage, Consoles)
DATA = (ConsoleLine, BlockChunk, StatsSample)

UnikernelCommand = Union[ListUnikernels, Create, Restart, Destroy, GetImage]
PolicyCommand = Union[ListPolicies, AddPolicy, RemovePolicy]
BlockCommand = Union[ListBlocks, AddBlock, RemoveBlock, SetBlock, DumpBlock]
ConsoleCommand = Union[SubscribeConsole, ListInactiveConsoles, AddConsole]
Command = Union[UnikernelCommand, PolicyCommand, BlockCommand, ConsoleCommand, SubscribeStatistics]
Success = Union[Done, Said, Unikernels, Policies, Blocks, ImageData, BlockImage, Consoles]
Data = Union[ConsoleLine, BlockChunk, StatsSample]
Payload = Union[Command, Success, Failure, Data]


@dataclass(frozen=True)
class Message:
    """What one frame holds."""

    name: Name
    payload: Payload
    sequence: int = 0
    """Echoed by the first reply on a Unix socket; elsewhere without meaning."""
