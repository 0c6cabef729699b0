# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests that harm a real server, or that it answers with a success that is none, never leave this machine."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.errors import Unsendable
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.messages import (
    AddBlock,
    AddConsole,
    AddPolicy,
    Command,
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
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import ROOT, Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import (
    BlockUse,
    Generation,
    NetworkUse,
    Policy,
    UnikernelArguments,
    UnikernelConfig,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.sendable import checked


def create(**told: Any) -> Create:
    return Create(UnikernelConfig(**{"image": b"x", **told}))


HELLO, DEV = Name((), "hello"), Name(("dev",))
V2_6, V2_7 = Generation.V2_6, Generation.V2_7
POLICY = Policy((0,), 1, 32, ())


@pytest.mark.parametrize(
    ("name", "command"),
    [
        (ROOT, ListUnikernels()),
        (HELLO, ListUnikernels()),
        (HELLO, create(networks=(NetworkUse("a"), NetworkUse("b")), blocks=(BlockUse("a"),))),
        (HELLO, Restart()),
        (HELLO, Destroy()),
        (HELLO, GetImage()),
        (ROOT, ListPolicies()),
        (DEV, AddPolicy(POLICY)),
        (DEV, RemovePolicy()),
        (DEV, ListBlocks()),
        (HELLO, AddBlock(1)),
        (HELLO, SubscribeConsole(count=1_024)),
        (HELLO, SubscribeConsole(since="20261122030201Z")),
        (DEV, ListInactiveConsoles()),
        (DEV, SubscribeStatistics()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_server_takes_may_be_sent(name: Name, command: Command) -> None:
    checked(name, command, V2_7)


@pytest.mark.parametrize(
    ("name", "command", "complaint"),
    [
        *(
            (name, command, "needs the name of one thing")
            for name in (ROOT, DEV, Name((), "."))
            for command in (
                *(create(), Restart(), Destroy(), GetImage(), AddBlock(8), RemoveBlock()),
                *(SetBlock(), DumpBlock(), SubscribeConsole(count=1)),
            )
        ),
        *((HELLO, command, "needs a path") for command in (AddPolicy(POLICY), RemovePolicy(), ListInactiveConsoles())),
        (HELLO, AddConsole(5), "only albatrossd"),
        (HELLO, create(cpus=()), "never runs"),
        (HELLO, create(cpus=(-1,)), "never runs"),
        (HELLO, Restart(UnikernelArguments(cpus=())), "never runs"),
        (HELLO, create(image=b""), "an empty image"),
        (HELLO, create(memory_mib=0), "the guest dies"),
        (HELLO, create(vcpus=0), "virtual CPUs"),
        (HELLO, create(startup=-1), "startup: -1"),
        (HELLO, create(arguments=("a\0b",)), "NUL"),
        (HELLO, create(networks=(NetworkUse("a"), NetworkUse("a", "b"))), "two network devices"),
        (HELLO, create(blocks=(BlockUse("a"), BlockUse("a", "b"))), "two block devices"),
        (HELLO, create(blocks=(BlockUse(""),)), "without a name"),
        (HELLO, AddBlock(0), "leaves a file behind"),
        (DEV, AddPolicy(Policy((), 1, 32, ())), "a policy needs"),
        (DEV, AddPolicy(Policy((0,), 0, 32, ())), "a policy needs"),
        (DEV, AddPolicy(Policy((0,), 1, 16, ())), "a policy needs"),
        (DEV, AddPolicy(Policy((0,), 1, 32, (), -1)), "a policy needs"),
        (HELLO, SubscribeConsole(), "last lines or for those since"),
        (HELLO, SubscribeConsole(1, "20261122030201Z"), "last lines or for those since"),
        (HELLO, SubscribeConsole(count=1_025), "do not exhaust"),
        (HELLO, SubscribeConsole(count=-1), "do not exhaust"),
        (ROOT, ListUnikernels(V2_6), r"in the words of generation 2\.6, the server is of 2\.7"),
    ],
)
def test_what_harms_a_server_or_a_guest_is_not_sent(name: Name, command: Command, complaint: str) -> None:
    with pytest.raises(Unsendable, match=complaint) as raised:
        checked(name, command, V2_7)
    assert "Nothing was changed" in str(raised.value)


def test_a_time_is_not_asked_of_a_console_that_it_exhausts() -> None:
    with pytest.raises(Unsendable, match="ask for a count"):
        checked(HELLO, SubscribeConsole(since="20261122030201Z"), V2_6)


def test_an_old_server_is_not_asked_for_what_it_does_not_know() -> None:
    with pytest.raises(Unsendable, match="does not know of inactive consoles"):
        checked(ROOT, ListInactiveConsoles(), Generation.V2_5)
    checked(ROOT, ListInactiveConsoles(), V2_6)
