# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Messages to octets and back, and the frames that carry them: for both sides of a conversation.

A frame is four octets of length, big-endian, and one message in DER. What stands in a certificate has no frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .commands_grammar import COMMAND, INT64, NAME
from .der import require_library
from .errors import Malformed, Unsendable
from .grammar import PAYLOAD, VERSION, VERSION_NUMBER
from .messages import Command, Message
from .names import Name
from .structures import Field, Record

LENGTH_OCTETS = 4
LONGEST_REPLY = 2 << 20
"""Octets of a frame that holds no image: room for some ten thousand unikernels; some seconds to read at the worst."""
ENVELOPE = 1 << 16
"""Octets that a frame may have beyond the image, or the block of a device, that it carries."""
_LONGEST_FRAME = 2**31 - 1
"""The server takes longer ones for the end of the stream."""


@dataclass(frozen=True)
class _Header:
    version: int
    sequence: int
    name: Name


@dataclass(frozen=True)
class _Wire:
    header: _Header
    payload: Any


@dataclass(frozen=True)
class _Extension:
    version: int
    command: Any


_WIRE = Record(
    _Wire,
    Field("header", Record(_Header, Field("version", VERSION_NUMBER), Field("sequence", INT64), Field("name", NAME))),
    Field("payload", PAYLOAD),
)
_EXTENSION = Record(_Extension, Field("version", VERSION_NUMBER), Field("command", COMMAND))


def encode(message: Message) -> bytes:
    """A message in DER. Unsendable for what cannot be said in its form, or would kill a server."""
    require_library()
    return _WIRE.write(_Wire(_Header(VERSION, message.sequence, message.name), message.payload))


def decode(octets: bytes) -> Message:
    """The message that some octets are; Malformed when they are not exactly one."""
    require_library()
    wire = _WIRE.decode(octets)
    return Message(wire.header.name, wire.payload, wire.header.sequence)


def encode_extension(command: Command) -> bytes:
    """A request, or the policy of a tenant, as the value of its certificate's extension."""
    require_library()
    return _EXTENSION.write(_Extension(VERSION, command))


def decode_extension(octets: bytes) -> Command:
    require_library()
    command: Command = _EXTENSION.decode(octets).command
    return command


def framed(octets: bytes) -> bytes:
    """Octets with their length before them: a frame, or a chunk of an image or block device (none: the end)."""
    if len(octets) > _LONGEST_FRAME:
        raise Unsendable(f"{len(octets)} octets do not fit into one frame; nothing was sent")
    return len(octets).to_bytes(LENGTH_OCTETS, "big") + octets


def announced(prefix: bytes, longest: int) -> int:
    """The length that the first four octets of a frame announce; Malformed when it is more than is taken."""
    length = int.from_bytes(prefix, "big")
    if length > longest:
        raise Malformed(f"a frame of {length} octets is announced; at most {longest} are read here")
    return length
