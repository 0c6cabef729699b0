# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ASN.1 of version 5, as kinds over the dataclasses of ``records`` and ``messages``; all tags are explicit but one.

Bounds on texts and lists hold for both directions. The forms of generations 2.5 and 2.6 are read into the same
dataclasses; what an older form cannot say is refused when it is written.
"""

from __future__ import annotations

from typing import Any, Optional

from .der import (
    As,
    Boolean,
    Case,
    Choice,
    Explicit,
    Field,
    Integer,
    Kind,
    ListOf,
    Null,
    Octets,
    Record,
    SetOf,
    Text,
    Time,
)
from .errors import Malformed, Unsendable
from .messages import (
    BLOCK_COMMANDS,
    COMMANDS,
    CONSOLE_COMMANDS,
    DATA,
    POLICY_COMMANDS,
    STATISTICS_COMMANDS,
    SUCCESSES,
    UNIKERNEL_COMMANDS,
    AddBlock,
    AddConsole,
    AddPolicy,
    BlockChunk,
    BlockImage,
    Blocks,
    ConsoleLine,
    Consoles,
    Create,
    Destroy,
    Done,
    DumpBlock,
    Failure,
    GetImage,
    ImageData,
    ListBlocks,
    ListInactiveConsoles,
    ListPolicies,
    ListUnikernels,
    Policies,
    RemoveBlock,
    RemovePolicy,
    Restart,
    Said,
    SetBlock,
    StatsSample,
    SubscribeConsole,
    SubscribeStatistics,
    Unikernels,
)
from .names import Name
from .records import (
    BlockDevice,
    BlockInfo,
    BlockUse,
    Counter,
    FailBehaviour,
    Generation,
    InterfaceData,
    KernelMemory,
    NamedInfo,
    NamedPolicy,
    NetworkInfo,
    NetworkUse,
    Policy,
    ResourceUsage,
    TimeValue,
    UnikernelArguments,
    UnikernelConfig,
    UnikernelInfo,
    UnikernelType,
)

MOST_LEVEL = 9
"""Of zlib. A get or dump above it is an uncaught exception in albatrossd."""

V2_5, V2_6, V2_7 = Generation.V2_5, Generation.V2_6, Generation.V2_7


def constant(value: Any) -> Kind[Any]:
    """NULL, where the envelope alone tells what it is."""
    return As(Null(), lambda _null: value, lambda _value: None)


def _one_cpu(cpus: tuple[int, ...]) -> int:
    if len(set(cpus)) != 1:
        raise Unsendable(f"{cpus!r}: a server before generation 2.7 takes exactly one")
    return cpus[0]


def _level(command: Any) -> int:
    if not 0 <= command.level <= MOST_LEVEL:
        raise Unsendable(f"level {command.level}: more than {MOST_LEVEL} or less than 0 kills albatrossd")
    return int(command.level)


def _mac(text: str) -> bytes:
    try:
        octets = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        octets = b""
    if len(octets) != 6:
        raise Unsendable(f"{text!r:.40} is no MAC address")
    return octets


INT64: Kind[int] = As(
    Octets(8, 8), lambda octets: int.from_bytes(octets, "big"), lambda value: value.to_bytes(8, "big")
)
MAC: Kind[str] = As(Octets(6, 6), lambda octets: octets.hex(":"), _mac)
NAME: Kind[Name] = As(Text(4_096), Name.parse, str)
DEVICE = Text(256)
"""Names of devices, bridges, volumes."""
ARGUMENTS: Kind[tuple[str, ...]] = ListOf(Text(65_536), most=4_096)
CPUS: Kind[tuple[int, ...]] = SetOf(Integer(), most=4_096)
ONE_CPU: Kind[tuple[int, ...]] = As(Integer(), lambda cpu: (cpu,), _one_cpu)

# --- unikernels ----------------------------------------------------------------------------------

TYPE = Choice(
    Case(0, constant(UnikernelType.SOLO5), lambda value: value is UnikernelType.SOLO5),
    Case(1, constant(UnikernelType.BHYVE), lambda value: value is UnikernelType.BHYVE),
)
FAIL_BEHAVIOUR = Choice(
    Case(0, constant(FailBehaviour()), lambda value: not value.restart),
    Case(
        1,
        As(SetOf(Integer(), most=4_096), lambda codes: FailBehaviour(True, codes), lambda behaviour: behaviour.codes),
        FailBehaviour,
    ),
)
BLOCK_USE = Record(
    BlockUse,
    Field("guest_device", DEVICE),
    Field("host_device", DEVICE, optional=True),
    Field("sector_size", Integer(), optional=True),
)
NETWORK_USE = Record(
    NetworkUse,
    Field("guest_device", DEVICE),
    Field("bridge", DEVICE, optional=True),
    Field("mac", MAC, optional=True),
)
_DEVICES = (
    Field("blocks", Explicit(0, SetOf(BLOCK_USE, most=4_096)), optional=True),
    Field("networks", Explicit(1, SetOf(NETWORK_USE, most=4_096)), optional=True),
    Field("arguments", Explicit(2, ARGUMENTS), optional=True),
)
_BHYVE = (
    Field("vcpus", Explicit(3, Integer()), optional=True),
    Field("linux_boot", Explicit(4, DEVICE), optional=True),
)
_IMAGE = (Field("type", TYPE), Field("compressed", Boolean()), Field("image", Octets()))
_FAIL = Field("fail_behaviour", FAIL_BEHAVIOUR)
_STARTUP = Field("startup", Integer(), optional=True)
_ADD_NAME = Field("add_name", Boolean())
_ONE_CPU = Field("cpus", ONE_CPU)
_CPUS = Field("cpus", CPUS)
_MEMORY = Field("memory_mib", Integer())

# add_name is left unsaid to generation 2.5 whatever it is: no server of it adds a name.
CONFIGS: dict[Generation, Kind[UnikernelConfig]] = {
    V2_5: Record(
        UnikernelConfig, *_IMAGE, _FAIL, _ONE_CPU, _MEMORY, *_DEVICES, unsaid=("startup", "vcpus", "linux_boot")
    ),
    V2_6: Record(
        UnikernelConfig,
        *(*_IMAGE, _STARTUP, _ADD_NAME, _FAIL, _ONE_CPU, _MEMORY, *_DEVICES),
        unsaid=("vcpus", "linux_boot"),
    ),
    V2_7: Record(UnikernelConfig, *_IMAGE, _STARTUP, _ADD_NAME, _FAIL, _CPUS, _MEMORY, *_DEVICES, *_BHYVE),
}
ARGUMENT_FORMS: dict[Generation, Kind[UnikernelArguments]] = {
    V2_5: Record(UnikernelArguments, _FAIL, _ONE_CPU, _MEMORY, *_DEVICES, unsaid=("startup", "vcpus", "linux_boot")),
    V2_6: Record(
        UnikernelArguments, _FAIL, _STARTUP, _ADD_NAME, _ONE_CPU, _MEMORY, *_DEVICES, unsaid=("vcpus", "linux_boot")
    ),
    V2_7: Record(UnikernelArguments, _FAIL, _STARTUP, _ADD_NAME, _CPUS, _MEMORY, *_DEVICES, *_BHYVE),
}


def _told(restart: Restart) -> UnikernelArguments:
    if restart.arguments is None:
        raise Unsendable("a restart without arguments")
    return restart.arguments


def _restart_form(number: int, form: Generation) -> Case:
    kind = As(ARGUMENT_FORMS[form], lambda told: Restart(told, form), _told)
    return Case(number, kind, lambda restart: restart.form is form)


RESTART = Choice(
    Case(0, constant(Restart()), lambda restart: restart.arguments is None),
    _restart_form(1, V2_5),
    _restart_form(2, V2_6),
    _restart_form(3, V2_7),
)


def _create(number: int, force: bool, form: Generation) -> Case:
    kind = As(CONFIGS[form], lambda config: Create(config, force, form), lambda create: create.config)
    return Case(number, kind, lambda value: isinstance(value, Create) and (value.force, value.form) == (force, form))


def _info(number: int, form: Generation) -> Case:
    return Case(number, constant(ListUnikernels(form)), lambda value: value == ListUnikernels(form))


UNIKERNEL = Choice(
    Case(3, constant(Destroy()), Destroy),
    _create(9, False, V2_5),
    _create(10, True, V2_5),
    Case(11, As(Integer(), GetImage, _level), GetImage),
    Case(14, RESTART, Restart),
    _info(15, V2_5),
    _create(16, False, V2_6),
    _create(17, True, V2_6),
    _info(18, V2_6),
    _info(19, V2_7),
    _create(20, False, V2_7),
    _create(21, True, V2_7),
)

# --- the other commands --------------------------------------------------------------------------

POLICY = Record(
    Policy,
    Field("cpus", ListOf(Integer(), most=4_096)),
    Field("unikernels", Integer()),
    Field("memory_mib", Integer()),
    Field("block_mib", Integer(), optional=True),
    Field("bridges", ListOf(DEVICE, most=4_096)),
)
POLICY_COMMAND = Choice(
    Case(0, constant(ListPolicies()), ListPolicies),
    Case(1, As(POLICY, AddPolicy, lambda command: command.policy), AddPolicy),
    Case(2, constant(RemovePolicy()), RemovePolicy),
)
BLOCK_COMMAND = Choice(
    Case(0, constant(ListBlocks()), ListBlocks),
    Case(1, As(Integer(), AddBlock, lambda command: command.size_mib), AddBlock),
    Case(2, constant(RemoveBlock()), RemoveBlock),
    Case(6, As(Integer(), DumpBlock, _level), DumpBlock),
    Case(7, As(Boolean(), SetBlock, lambda command: command.compressed), SetBlock),
)
CONSOLE_START = Choice(
    Case(
        0,
        As(Time(), lambda since: SubscribeConsole(since=since), lambda command: command.since),
        lambda command: command.count is None and command.since is not None,
    ),
    Case(
        1,
        As(Integer(), SubscribeConsole, lambda command: command.count),
        lambda command: command.count is not None and command.since is None,
    ),
)
CONSOLE_COMMAND = Choice(
    Case(0, As(Integer(), AddConsole, lambda command: command.most_unikernels), AddConsole),
    Case(2, CONSOLE_START, SubscribeConsole),
    Case(3, constant(ListInactiveConsoles()), ListInactiveConsoles),
)
COMMAND = Choice(
    Case(0, CONSOLE_COMMAND, CONSOLE_COMMANDS),
    Case(1, Choice(Case(2, constant(SubscribeStatistics()), SubscribeStatistics)), STATISTICS_COMMANDS),
    Case(3, UNIKERNEL, UNIKERNEL_COMMANDS),
    Case(4, POLICY_COMMAND, POLICY_COMMANDS),
    Case(5, BLOCK_COMMAND, BLOCK_COMMANDS),
)

# --- replies -------------------------------------------------------------------------------------

BLOCK_INFO = Record(
    BlockInfo,
    Field("guest_device", DEVICE),
    Field("host_device", DEVICE),
    Field("sector_size", Integer()),
    Field("size_mib", Integer()),
)
NETWORK_INFO = Record(NetworkInfo, Field("guest_device", DEVICE), Field("bridge", DEVICE), Field("mac", MAC))
_TOLD = (
    _MEMORY,
    Field("digest", Octets(most=4_096)),
    Field("blocks", Explicit(0, SetOf(BLOCK_INFO, most=4_096)), optional=True),
    Field("networks", Explicit(1, SetOf(NETWORK_INFO, most=4_096)), optional=True),
    Field("arguments", Explicit(2, ARGUMENTS), optional=True),
    Field("started", Explicit(3, Time()), optional=True),
)
_TYPE = Field("type", TYPE)
INFOS: dict[Generation, Kind[UnikernelInfo]] = {
    V2_5: Record(UnikernelInfo, _TYPE, _FAIL, _ONE_CPU, *_TOLD, unsaid=("startup", "vcpus", "linux_boot")),
    V2_6: Record(UnikernelInfo, _TYPE, _STARTUP, _FAIL, _ONE_CPU, *_TOLD, unsaid=("vcpus", "linux_boot")),
    V2_7: Record(
        UnikernelInfo,
        *(_TYPE, _STARTUP, _FAIL, _CPUS, *_TOLD),
        Field("vcpus", Explicit(4, Integer()), optional=True),
        Field("linux_boot", Explicit(5, DEVICE), optional=True),
    ),
}


def _unikernels(number: int, form: Generation) -> Case:
    named = Record(NamedInfo, Field("name", NAME), Field("info", INFOS[form]))
    kind = As(ListOf(named), lambda entries: Unikernels(entries, form), lambda reply: reply.entries)
    return Case(number, kind, lambda value: isinstance(value, Unikernels) and value.form is form)


NAMED_POLICY = Record(NamedPolicy, Field("name", NAME), Field("policy", POLICY))
BLOCK_DEVICE = Record(BlockDevice, Field("name", NAME), Field("size_mib", Integer()), Field("active", Boolean()))
IMAGE_DATA = Record(ImageData, Field("compressed", Boolean()), Field("image", Octets()))
SUCCESS = Choice(
    Case(0, constant(Done()), Done),
    Case(1, As(Text(), Said, lambda reply: reply.text), Said),
    Case(2, As(ListOf(NAMED_POLICY), Policies, lambda reply: reply.entries), Policies),
    Case(4, As(ListOf(BLOCK_DEVICE), Blocks, lambda reply: reply.entries), Blocks),
    Case(6, IMAGE_DATA, ImageData),
    _unikernels(9, V2_5),
    Case(10, As(Boolean(), BlockImage, lambda reply: reply.compressed), BlockImage),
    _unikernels(11, V2_6),
    Case(12, As(ListOf(NAME), Consoles, lambda reply: reply.names), Consoles),
    _unikernels(13, V2_7),
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
