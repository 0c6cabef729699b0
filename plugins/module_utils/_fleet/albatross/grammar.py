# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ASN.1 of replies, of what is streamed, and of everything that a frame can hold (commands: ``commands_grammar``).

All tags are explicit but one.
"""

from __future__ import annotations

from typing import Optional

from .commands_grammar import (
    ARGUMENTS,
    COMMAND,
    DEVICE,
    INT64,
    MAC,
    MEMORY,
    NAME,
    OF_TYPE,
    ON_CPUS,
    ON_FAIL,
    ON_ONE_CPU,
    POLICY,
    STARTUP,
    UNSAID,
    V2_5,
    V2_6,
    V2_7,
    constant,
)
from .der import Boolean, Integer, Kind, Octets, Text, Time
from .errors import Malformed
from .messages import (
    COMMANDS,
    DATA,
    SUCCESSES,
    BlockChunk,
    BlockImage,
    Blocks,
    ConsoleLine,
    Consoles,
    Done,
    Failure,
    ImageData,
    Policies,
    Said,
    StatsSample,
    Unikernels,
)
from .records import (
    BlockDevice,
    BlockInfo,
    Counter,
    Generation,
    InterfaceData,
    KernelMemory,
    NamedInfo,
    NamedPolicy,
    NetworkInfo,
    ResourceUsage,
    TimeValue,
    UnikernelInfo,
)
from .structures import As, Case, Choice, Explicit, Field, ListOf, Record, SetOf

BLOCK_INFO = Record(
    BlockInfo,
    Field("guest_device", DEVICE),
    Field("host_device", DEVICE),
    Field("sector_size", Integer()),
    Field("size_mib", Integer()),
)
NETWORK_INFO = Record(NetworkInfo, Field("guest_device", DEVICE), Field("bridge", DEVICE), Field("mac", MAC))
UNSIZED_BLOCK_INFO = Record(BlockInfo, *BLOCK_INFO.parts[:3], unsaid=("size_mib",))
_DIGEST = Field("digest", Octets(most=4_096))
_BLOCKS = Field("blocks", Explicit(0, SetOf(BLOCK_INFO, most=4_096)), optional=True)
_UNSIZED_BLOCKS = Field("blocks", Explicit(0, SetOf(UNSIZED_BLOCK_INFO, most=4_096)), optional=True)
_CONNECTED = (
    Field("networks", Explicit(1, SetOf(NETWORK_INFO, most=4_096)), optional=True),
    Field("arguments", Explicit(2, ARGUMENTS), optional=True),
    Field("started", Explicit(3, Time()), optional=True),
)
_TOLD = (MEMORY, _DIGEST, _BLOCKS, *_CONNECTED)
INFOS: dict[Generation, Kind[UnikernelInfo]] = {
    V2_5: Record(UnikernelInfo, OF_TYPE, ON_FAIL, ON_ONE_CPU, *_TOLD, unsaid=UNSAID[V2_5]),
    V2_6: Record(UnikernelInfo, OF_TYPE, STARTUP, ON_FAIL, ON_ONE_CPU, *_TOLD, unsaid=UNSAID[V2_6]),
    V2_7: Record(
        UnikernelInfo,
        *(OF_TYPE, STARTUP, ON_FAIL, ON_CPUS, *_TOLD),
        Field("vcpus", Explicit(4, Integer()), optional=True),
        Field("linux_boot", Explicit(5, DEVICE), optional=True),
    ),
}
RELAYED_INFO: Kind[UnikernelInfo] = Record(
    UnikernelInfo,
    *(OF_TYPE, ON_FAIL, ON_ONE_CPU, MEMORY, _DIGEST, _UNSIZED_BLOCKS, *_CONNECTED),
    unsaid=UNSAID[V2_5],
)
"""2.5 reads its own listings (9) as those of 2.4 (8), so that is what its TLS endpoint passes on."""


def _unikernels(number: int, form: Generation, info: Kind[UnikernelInfo], relayed: bool = False) -> Case:
    named = Record(NamedInfo, Field("name", NAME), Field("info", info))
    kind = As(ListOf(named), lambda entries: Unikernels(entries, form, relayed), lambda reply: reply.entries)
    return Case(
        number, kind, lambda value: isinstance(value, Unikernels) and (value.form, value.relayed) == (form, relayed)
    )


NAMED_POLICY = Record(NamedPolicy, Field("name", NAME), Field("policy", POLICY))
BLOCK_DEVICE = Record(BlockDevice, Field("name", NAME), Field("size_mib", Integer()), Field("active", Boolean()))
IMAGE_DATA = Record(ImageData, Field("compressed", Boolean()), Field("image", Octets()))
SUCCESS = Choice(
    Case(0, constant(Done()), Done),
    Case(1, As(Text(), Said, lambda reply: reply.text), Said),
    Case(2, As(ListOf(NAMED_POLICY), Policies, lambda reply: reply.entries), Policies),
    Case(4, As(ListOf(BLOCK_DEVICE), Blocks, lambda reply: reply.entries), Blocks),
    Case(6, IMAGE_DATA, ImageData),
    _unikernels(8, V2_5, RELAYED_INFO, relayed=True),
    _unikernels(9, V2_5, INFOS[V2_5]),
    Case(10, As(Boolean(), BlockImage, lambda reply: reply.compressed), BlockImage),
    _unikernels(11, V2_6, INFOS[V2_6]),
    Case(12, As(ListOf(NAME), Consoles, lambda reply: reply.names), Consoles),
    _unikernels(13, V2_7, INFOS[V2_7]),
)

# --- streamed data -------------------------------------------------------------------------------

TIME_VALUE = Record(TimeValue, Field("seconds", INT64), Field("microseconds", Integer()))
RESOURCE_USAGE = Record(
    ResourceUsage,
    Field("utime", TIME_VALUE),
    Field("stime", TIME_VALUE),
    *(
        Field(name, INT64)
        for name in (
            *("maxrss", "ixrss", "idrss", "isrss", "minflt", "majflt", "nswap", "inblock", "outblock"),
            *("msgsnd", "msgrcv", "nsignals", "nvcsw", "nivcsw"),
        )
    ),
)
KERNEL_MEMORY = Record(
    KernelMemory,
    *(Field(name, INT64) for name in ("vsize", "rss", "tsize", "dsize", "ssize", "runtime")),
    Field("cow", Integer()),
    Field("start", TIME_VALUE),
    identifier=0xA1,
)
INTERFACE_DATA = Record(
    InterfaceData,
    Field("bridge", DEVICE),
    *(Field(name, Integer()) for name in ("flags", "send_length", "max_send_length", "send_drops", "mtu")),
    *(
        Field(name, INT64)
        for name in (
            *("baudrate", "input_packets", "input_errors", "output_packets", "output_errors", "collisions"),
            *("input_bytes", "output_bytes", "input_mcast", "output_mcast", "input_dropped", "output_dropped"),
        )
    ),
)
COUNTER = Record(Counter, Field("key", Text(4_096)), Field("value", INT64))
STATS_SAMPLE = Record(
    StatsSample,
    Field("usage", RESOURCE_USAGE),
    Field("interfaces", ListOf(INTERFACE_DATA, most=4_096)),
    Field("vmm", Explicit(0, ListOf(COUNTER, most=4_096)), optional=True),
    Field("memory", KERNEL_MEMORY, optional=True),
)
CONSOLE_LINE = Record(ConsoleLine, Field("time", Time()), Field("line", Text()))


def _more(octets: Optional[bytes]) -> bytes:
    return octets or b""


BLOCK_CHUNK = Choice(
    Case(0, As(Octets(), BlockChunk, lambda chunk: _more(chunk.octets)), lambda chunk: chunk.octets is not None),
    Case(1, constant(BlockChunk(None)), BlockChunk),
)
STREAMED = Choice(
    Case(1, STATS_SAMPLE, StatsSample), Case(3, CONSOLE_LINE, ConsoleLine), Case(4, BLOCK_CHUNK, BlockChunk)
)

PAYLOAD = Choice(
    Case(0, COMMAND, COMMANDS),
    Case(1, SUCCESS, SUCCESSES),
    Case(2, As(Text(), Failure, lambda failure: failure.text), Failure),
    Case(3, STREAMED, DATA),
)

# --- frame ---------------------------------------------------------------------------------------

VERSION = 5


def _version(number: int) -> int:
    if number != VERSION:
        raise Malformed(f"version {number} of the protocol; only {VERSION} is spoken here")
    return number


VERSION_NUMBER: Kind[int] = As(Integer(), _version, lambda number: number)
