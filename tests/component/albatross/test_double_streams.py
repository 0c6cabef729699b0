# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Consoles, samples and block devices of the double."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross import client as client_module, wire
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.client import Client
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.errors import (
    Refused,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.messages import (
    Message,
    SubscribeConsole,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import (
    BlockUse,
    Policy,
)
from ansible_collections.unikernel.fleet.tests.support.albatross.consoles import Lines
from ansible_collections.unikernel.fleet.tests.support.albatross.double import Albatross
from ansible_collections.unikernel.fleet.tests.support.albatross.images import image
from ansible_collections.unikernel.fleet.tests.support.albatross_asking import (
    DEV,
    HELLO,
    client_of,
    config,
    lines,
)
from ansible_collections.unikernel.fleet.tests.support.programs import until


def test_a_console_keeps_its_last_1024_lines(client: Client) -> None:
    client.create(HELLO, config(image("#!/bin/sh\nseq 1 1500\nexec sleep 300\n"), add_name=False))
    until(lambda: lines(client, count=1) == ["1500"])
    assert lines(client) == [str(number) for number in range(477, 1_501)]
    assert lines(client, count=3) == ["1498", "1499", "1500"]


def test_a_guest_that_never_pauses_is_not_listened_to_for_long(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "HISTORY_WITHIN_S", 0.5)
    talks = "#!/bin/sh\nwhile :; do echo word; sleep 0.02; done\n"
    client.create(HELLO, config(image(talks), add_name=False))
    until(lambda: len(lines(client, count=3)) == 3)
    began = time.monotonic()
    found = client.console(HELLO, 1_000, quiet_s=5.0)
    assert 3 <= len(found) < 1_000
    assert time.monotonic() - began < 5.0


def test_lines_are_cut_and_empty_ones_dropped() -> None:
    found = Lines()
    long = b"x" * 300
    assert found.of(b"one\n\ntwo\nthr") == [b"one", b"two"]
    assert found.of(b"ee\n" + long) == [b"three"]
    assert found.of(long) == [b"x" * 512 + b" [truncated]"]
    assert found.of(long) == []
    assert found.of(b"rest\nnext\n") == [b"next"]


def test_one_listener_too_many_throws_the_oldest_out(double: Albatross, client: Client) -> None:
    client.create(HELLO, config())
    asked = wire.framed(wire.encode(Message(HELLO, SubscribeConsole(count=0))))
    open_ones = []
    for _unused in range(7):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(10.0)
        connection.connect(str(double.folder / "console.sock"))
        connection.sendall(asked)
        assert b"subscribed" in connection.recv(4_096)
        open_ones.append(connection)
    assert open_ones[0].recv(1) == b""
    client.restart(HELLO)
    assert all(one.recv(4_096) for one in open_ones[1:])
    for one in open_ones:
        one.close()


def test_a_path_with_a_policy_keeps_one_console_more_than_unikernels(client: Client) -> None:
    client.add_policy(DEV, Policy((0,), 1, 64, ("br0",)))
    for label in ("a", "b", "c"):
        client.create(Name(("dev",), label), config())
        client.destroy(Name(("dev",), label))
        until(lambda label=label: Name(("dev",), label) in client.inactive_consoles(DEV))  # type: ignore[misc]
    assert [name.label for name in client.inactive_consoles()] == ["c"]


def test_samples_come_for_everything_below_a_path(tmp_path: Path) -> None:
    with Albatross(tmp_path / "s", bridges=("br0",), samples_every_s=0.1) as double:
        client = client_of(double)
        client.create(Name(("dev",), "a"), config())
        found = list(client.statistics(DEV, 0.5))
    assert len(found) > 2
    name, sample = found[0]
    assert str(name) == "dev:a"
    assert [interface.bridge for interface in sample.interfaces] == ["service"]
    assert sample.memory is not None and sample.memory.vsize > 0


def test_a_block_device_in_use_is_left_alone(client: Client) -> None:
    disk = Name((), "disk")
    client.add_block(disk, 1)
    client.create(
        HELLO, config(image("#!/bin/sh\nexec sleep 300\n", blocks=("data",)), blocks=(BlockUse("data", "disk"),))
    )
    info = client.unikernel(HELLO)
    assert info is not None and [(one.host_device, one.size_mib) for one in info.blocks] == [("disk", 1)]
    for act, text in (
        (lambda: client.remove_block(disk), "remove block: is in use"),
        (lambda: client.set_block(disk, [b"x"]), "set block: is in use"),
        (lambda: list(client.dump_block(disk, 0, 1 << 20)), "dump block: is in use"),
        (lambda: client.create(Name((), "b"), config(blocks=(BlockUse("data", "disk"),))), "already in use"),
    ):
        with pytest.raises(Refused, match=text):
            act()
    client.destroy(HELLO)
    with pytest.raises(Refused, match="stream exceeds size"):
        client.set_block(disk, [b"x" * (1 << 19)] * 3)
    client.remove_block(disk)
