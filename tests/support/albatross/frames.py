# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests as the daemons read them from a connection, and replies as they write them.

albatross reads the first eight octets of a sequence and dies of a shorter one; anything else that is not of the
protocol, or of a newer generation than its own, ends the connection without a word.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross import wire
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.commands_grammar import NAME
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.der import Octets
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.errors import Malformed
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.grammar import PAYLOAD, VERSION_NUMBER
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.messages import (
    Create,
    ListInactiveConsoles,
    ListUnikernels,
    Message,
    Payload,
    Restart,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import Generation
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.structures import Field, Record
from ansible_collections.unikernel.fleet.tests.support.albatross.faults import Died

SEQUENCE_OCTETS = 8


@dataclass(frozen=True)
class _Header:
    version: int
    sequence: bytes
    name: Name


@dataclass(frozen=True)
class _Wire:
    header: _Header
    payload: Any


_WIRE = Record(
    _Wire,
    Field(
        "header", Record(_Header, Field("version", VERSION_NUMBER), Field("sequence", Octets()), Field("name", NAME))
    ),
    Field("payload", PAYLOAD),
)


def chunk(connection: socket.socket) -> Optional[bytes]:
    """What the next frame holds, waited for as long as it takes. Empty at the end of a stream, for which a frame that
    is too long is also taken; None when the connection ended, or broke."""
    prefix = _exactly(connection, wire.LENGTH_OCTETS)
    if prefix is None:
        return None
    length = int.from_bytes(prefix, "big", signed=True)
    return _exactly(connection, length) if length > 0 else b""


def request(connection: socket.socket, generation: Generation) -> Optional[Message]:
    """The next request; None when there is none, or none that this server can read."""
    octets = chunk(connection)
    if not octets:
        return None
    try:
        read = _WIRE.decode(octets)
    except Malformed:
        return None
    if len(read.header.sequence) < SEQUENCE_OCTETS:
        raise Died("the sequence is shorter than eight octets")
    if not known(read.payload, generation):
        return None
    sequence = int.from_bytes(read.header.sequence[:SEQUENCE_OCTETS], "big")
    return Message(canonical(read.header.name, generation), read.payload, sequence)


def known(payload: Payload, generation: Generation) -> bool:
    """A server of that generation has words for it."""
    if isinstance(payload, (ListUnikernels, Create)) or (isinstance(payload, Restart) and payload.arguments):
        return payload.form.value <= generation.value
    return not isinstance(payload, ListInactiveConsoles) or generation is not Generation.V2_5


def canonical(name: Name, generation: Generation) -> Name:
    """Labels are lower-cased since 2.6.1."""
    if generation is Generation.V2_5:
        return name
    return Name(tuple(label.lower() for label in name.path), name.label and name.label.lower())


def say(connection: socket.socket, message: Message) -> bool:
    """False when nobody listens any more."""
    try:
        connection.sendall(wire.framed(wire.encode(message)))
    except OSError:
        return False
    return True


def _exactly(connection: socket.socket, size: int) -> Optional[bytes]:
    found = bytearray()
    while len(found) < size:
        try:
            more = connection.recv(min(size - len(found), 1 << 18))
        except OSError:
            return None
        if not more:
            return None
        found += more
    return bytes(found)
