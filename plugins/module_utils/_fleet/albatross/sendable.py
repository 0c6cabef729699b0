# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What may be sent: requests that a server would take, and be sorry for, are refused before a connection is made.

Lengths and levels are already bound by the grammar. Here is what a request means: that its name fits it, and that the
server is not known to answer it with success and a unikernel that never runs, with a stray file, or with its own end.
"""

from __future__ import annotations

from collections.abc import Iterable

from .errors import Unsendable
from .messages import (
    AddBlock,
    AddConsole,
    AddPolicy,
    Command,
    Create,
    Destroy,
    DumpBlock,
    GetImage,
    ListInactiveConsoles,
    ListUnikernels,
    RemoveBlock,
    RemovePolicy,
    Restart,
    SetBlock,
    SubscribeConsole,
)
from .names import Name
from .records import Generation, UnikernelArguments

MOST_LINES = 1_024
"""Of a console's history: as many as the ring holds. Before 2.7.2 a greater count exhausts the console daemon."""
_OF_A_LABEL = (Create, Restart, Destroy, GetImage, AddBlock, RemoveBlock, SetBlock, DumpBlock, SubscribeConsole)
_OF_A_PATH = (AddPolicy, RemovePolicy, ListInactiveConsoles)


def checked(name: Name, command: Command, generation: Generation) -> None:
    """Unsendable, with the reason, for a request that a server of this generation must not be given."""
    what = type(command).__name__
    if isinstance(command, _OF_A_LABEL) and (name.label is None or not name.label.strip(".")):
        raise _refused(f"{what} needs the name of one thing, not {str(name)!r}")
    if isinstance(command, _OF_A_PATH) and name.label is not None:
        # For ':dev' a policy command acts on the root's policy.
        raise _refused(f"{what} needs a path, written with ':' at its end, not {str(name)!r}")
    if isinstance(command, ListInactiveConsoles) and generation is Generation.V2_5:
        raise _refused("a server of generation 2.5 does not know of inactive consoles")
    if isinstance(command, AddConsole):
        raise _refused("only albatrossd itself announces consoles")
    if isinstance(command, (Create, Restart, ListUnikernels)) and command.form is not generation:
        raise _refused(f"it is in the words of generation {command.form.value}, the server is of {generation.value}")
    if isinstance(command, Create):
        if not command.config.image:
            raise _refused("an empty image is found out after what ran was killed")
        _check_arguments(command.config)
    elif isinstance(command, Restart) and command.arguments is not None:
        _check_arguments(command.arguments)
    elif isinstance(command, AddBlock) and command.size_mib < 1:
        raise _refused(f"a block device of {command.size_mib} MiB fails, and leaves a file behind")
    elif isinstance(command, AddPolicy):
        _check_policy(command)
    elif isinstance(command, SubscribeConsole):
        _check_history(command, generation)


def _check_arguments(told: UnikernelArguments) -> None:
    if not told.cpus or min(told.cpus) < 0:
        raise _refused("a unikernel without a CPU is created with success, and never runs")
    if told.memory_mib < 1:
        raise _refused(f"memory of {told.memory_mib} MiB is accepted, and the guest dies of it")
    if told.vcpus < 1:
        raise _refused(f"{told.vcpus} virtual CPUs")
    if told.startup is not None and told.startup < 0:
        raise _refused(f"startup: {told.startup} is no place in an order")
    _check_distinct("network", (use.guest_device for use in told.networks))
    _check_distinct("block", (use.guest_device for use in told.blocks))
    if any("\0" in argument for argument in told.arguments):
        raise _refused("an argument with a NUL ends there for the guest")


def _check_distinct(kind: str, names: Iterable[str]) -> None:
    seen = set()
    for name in names:
        if name in seen or not name:
            raise _refused(
                f"two {kind} devices of the guest are named {name!r}" if name else f"a {kind} without a name"
            )
        seen.add(name)


def _check_policy(command: AddPolicy) -> None:
    policy = command.policy
    if policy.unikernels < 1 or not policy.cpus or policy.memory_mib <= 16 or (policy.block_mib or 0) < 0:
        raise _refused(
            "a policy needs room for one unikernel, a CPU, more than 16 MiB of memory, and no negative sizes"
        )


def _check_history(command: SubscribeConsole, generation: Generation) -> None:
    if (command.count is None) == (command.since is None):
        raise _refused("a console is asked for its last lines or for those since a time")
    if command.count is not None and not 0 <= command.count <= MOST_LINES:
        raise _refused(f"{command.count} lines of a console; 0 to {MOST_LINES} do not exhaust the console daemon")
    if command.since is not None and generation is not Generation.V2_7:
        raise _refused("a time before the oldest line exhausts the console daemon of this generation: ask for a count")


def _refused(why: str) -> Unsendable:
    return Unsendable(f"Not sent to albatross: {why}. Nothing was changed.")
