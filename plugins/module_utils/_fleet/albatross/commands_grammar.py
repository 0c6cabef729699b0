# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ASN.1 of the commands of version 5, as kinds over the dataclasses of ``records`` and ``messages``.

Bounds on texts and lists hold for both directions. The forms of generations 2.5 and 2.6 are read into the same
dataclasses; what an older form cannot say is refused when it is written.
"""

from __future__ import annotations

from typing import Any

from .der import Boolean, Integer, Kind, Null, Octets, Text, Time
from .errors import Unsendable
from .messages import (
    BLOCK_COMMANDS,
    CONSOLE_COMMANDS,
    POLICY_COMMANDS,
    STATISTICS_COMMANDS,
    UNIKERNEL_COMMANDS,
    AddBlock,
    AddConsole,
    AddPolicy,
    Create,
    Destroy,
    DumpBlock,
    GetImage,
    ListBlocks,
    ListInactiveConsoles,
    ListPolicies,
    ListUnikernels,
    RemoveBlock,
    RemovePolicy,
    Restart,
    SetBlock,
    SubscribeConsole,
    SubscribeStatistics,
)
from .names import Name
from .records import (
    BlockUse,
    FailBehaviour,
    Generation,
    NetworkUse,
    Policy,
    UnikernelArguments,
    UnikernelConfig,
    UnikernelType,
)
from .structures import As, Case, Choice, Explicit, Field, ListOf, Record, SetOf

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
    NetworkUse, Field("guest_device", DEVICE), Field("bridge", DEVICE, optional=True), Field("mac", MAC, optional=True)
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
OF_TYPE = Field("type", TYPE)
_IMAGE = (OF_TYPE, Field("compressed", Boolean()), Field("image", Octets()))
ON_FAIL = Field("fail_behaviour", FAIL_BEHAVIOUR)
STARTUP = Field("startup", Integer(), optional=True)
ADD_NAME = Field("add_name", Boolean())
ON_ONE_CPU = Field("cpus", ONE_CPU)
ON_CPUS = Field("cpus", CPUS)
MEMORY = Field("memory_mib", Integer())

UNSAID = {V2_5: ("startup", "vcpus", "linux_boot"), V2_6: ("vcpus", "linux_boot")}
"""What older forms have no words for."""
# add_name is left unsaid to generation 2.5 whatever it is: no server of it adds a name.
CONFIGS: dict[Generation, Kind[UnikernelConfig]] = {
    V2_5: Record(UnikernelConfig, *_IMAGE, ON_FAIL, ON_ONE_CPU, MEMORY, *_DEVICES, unsaid=UNSAID[V2_5]),
    V2_6: Record(
        UnikernelConfig, *(*_IMAGE, STARTUP, ADD_NAME, ON_FAIL, ON_ONE_CPU, MEMORY, *_DEVICES), unsaid=UNSAID[V2_6]
    ),
    V2_7: Record(UnikernelConfig, *_IMAGE, STARTUP, ADD_NAME, ON_FAIL, ON_CPUS, MEMORY, *_DEVICES, *_BHYVE),
}
ARGUMENT_FORMS: dict[Generation, Kind[UnikernelArguments]] = {
    V2_5: Record(UnikernelArguments, ON_FAIL, ON_ONE_CPU, MEMORY, *_DEVICES, unsaid=UNSAID[V2_5]),
    V2_6: Record(UnikernelArguments, ON_FAIL, STARTUP, ADD_NAME, ON_ONE_CPU, MEMORY, *_DEVICES, unsaid=UNSAID[V2_6]),
    V2_7: Record(UnikernelArguments, ON_FAIL, STARTUP, ADD_NAME, ON_CPUS, MEMORY, *_DEVICES, *_BHYVE),
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
