# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asking a double: what tests of it share."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross import wire
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.client import Client
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.conversation import Patience
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.messages import (
    Create,
    Said,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import (
    NetworkUse,
    UnikernelConfig,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.unix_sockets import UnixSockets
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.deadline import Deadline
from ansible_collections.unikernel.fleet.tests.support.albatross.double import Albatross
from ansible_collections.unikernel.fleet.tests.support.albatross.images import image

HELLO = Name((), "hello")
DEV = Name(("dev",))
LIVES = image('#!/bin/sh\necho "up $*"\nexec sleep 300\n')
OTHER = image('#!/bin/sh\necho "other $*"\nexec sleep 300\n')
NETWORK = (NetworkUse("service", "br0"),)

LIST, LIST_2_6, LIST_2_5, GET_10 = map(
    bytes.fromhex, ("a304b3020500", "a304b2020500", "a304af020500", "a305ab0302010a")
)
"""Commands in DER."""


def config(octets: bytes = LIVES, **more: Any) -> UnikernelConfig:
    return UnikernelConfig(image=octets, **{"networks": NETWORK, **more})


def client_of(double: Albatross, **more: Any) -> Client:
    return Client(UnixSockets(double.folder), double.generation, **more)


def lines(client: Client, name: Name = HELLO, count: int = 1_024) -> list[str]:
    return [line.line for line in client.console(name, count)]


def raw(double: Albatross, payload: bytes, sequence: bytes = bytes(8), name: bytes = b":hello") -> bytes:
    """A frame of a command that our codec would not write, and all that is answered."""

    def tlv(tag: int, content: bytes) -> bytes:
        return bytes((tag, len(content))) + content

    header = tlv(0x30, b"\x02\x01\x05" + tlv(0x04, sequence) + tlv(0x0C, name))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(10.0)
        connection.connect(str(double.folder / "vmmd.sock"))
        connection.sendall(wire.framed(tlv(0x30, header + tlv(0xA0, payload))))
        with suppress(ConnectionResetError):
            return connection.recv(65_536)
    return b""


def sent_as_it_is(double: Albatross, name: Name, new: UnikernelConfig) -> None:
    """Past the client's own checks: it would not send an empty image."""
    with UnixSockets(double.folder).open(name, Create(new, force=True), Patience()) as talk:
        assert isinstance(talk.reply(Deadline.after(5.0)), Said)
