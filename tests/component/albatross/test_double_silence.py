# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The double is silent where the real albatross is: for ever, or with a closed connection, or with its own end."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross import wire
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.client import Client
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.conversation import Patience
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.errors import (
    AnswerLost,
    ClosedUnanswered,
    NotSent,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.messages import (
    AddPolicy,
    ListUnikernels,
    Message,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import (
    Policy,
)
from ansible_collections.unikernel.fleet.tests.support.albatross.double import Albatross
from ansible_collections.unikernel.fleet.tests.support.albatross.images import image
from ansible_collections.unikernel.fleet.tests.support.albatross_asking import (
    DEV,
    GET_10,
    HELLO,
    LIST,
    LIVES,
    OTHER,
    client_of,
    config,
    lines,
    raw,
)
from ansible_collections.unikernel.fleet.tests.support.programs import until

SLOW_TO_DIE = image("#!/bin/sh\ntrap 'sleep 0.7; exit 0' TERM\necho up\nwhile :; do sleep 0.05; done\n")


def test_the_first_of_two_simultaneous_replacements_is_never_answered(double: Albatross, client: Client) -> None:
    client.create(HELLO, config(SLOW_TO_DIE))
    until(lambda: lines(client))
    first: list[object] = []

    def replace_it() -> None:
        try:
            first.append(client_of(double, patience=Patience(answer_s=2.0)).force_create(HELLO, config(OTHER)))
        except AnswerLost as lost:
            first.append(lost)

    thread = threading.Thread(target=replace_it)
    thread.start()
    time.sleep(0.2)
    assert client.force_create(HELLO, config(LIVES)) == "created unikernel"
    thread.join(10.0)
    assert isinstance(first[0], AnswerLost) and not isinstance(first[0], ClosedUnanswered)
    assert lines(client)[-1] == "up --name=hello"


@pytest.mark.parametrize("name", [b"", b"::", b"::x", b"a_b", b"-a", b"x" * 64])
def test_a_name_that_is_none_ends_the_connection(name: bytes, double: Albatross) -> None:
    assert raw(double, LIST, name=name) == b""
    assert double.lives
    assert raw(double, LIST, name=b":HELLO")  # Lower-cased, and answered.


def test_a_longer_sequence_counts_with_its_first_eight_octets(double: Albatross) -> None:
    answer = wire.decode(raw(double, LIST, sequence=bytes(7) + b"\x2a\xff\xff")[4:])
    assert answer.sequence == 42


@pytest.mark.parametrize(
    ("payload", "sequence"),
    [
        (GET_10, bytes(8)),
        (LIST, b"\1"),
        (bytes.fromhex("a304af020500"), bytes(8)),
        (bytes.fromhex("a304b2020500"), bytes(8)),
    ],
    ids=["get with level 10", "a short sequence", "list in the words of 2.5", "list in the words of 2.6"],
)
def test_what_kills_the_daemon_leaves_its_unikernels(
    payload: bytes, sequence: bytes, double: Albatross, client: Client
) -> None:
    client.create(HELLO, config(cpus=(0, 1)))
    (pid,) = double.pids(HELLO)
    assert raw(double, payload, sequence) == b""
    until(lambda: not double.lives)
    with pytest.raises(NotSent):
        client.unikernels()
    assert double.pids(HELLO) == [pid]
    double.start_daemon()
    # A second copy, with the same MAC and address.
    assert len(double.pids(HELLO)) == 2
    assert client.destroy(HELLO)
    assert double.pids(HELLO) == [pid]


def test_only_after_a_policy_was_added_the_connection_is_there_for_more(double: Albatross) -> None:
    policy = Policy((0,), 2, 64, ("br0",))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(10.0)
        connection.connect(str(double.folder / "vmmd.sock"))
        for payload, answer in (
            (AddPolicy(policy), b"added policy"),
            (AddPolicy(policy), b"no modification of policy"),
        ):
            connection.sendall(wire.framed(wire.encode(Message(DEV, payload))))
            assert answer in connection.recv(4_096)
        connection.sendall(wire.framed(wire.encode(Message(DEV, ListUnikernels()))))
        assert connection.recv(4_096)
        assert connection.recv(4_096) == b""
