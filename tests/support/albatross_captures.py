# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was recorded between albatross-client and the real albatross: octets, and how the client itself decoded them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "data" / "albatross"
REQUEST, REPLY = "req", "rep"
EXTENSION, TLS_SENT, TLS_GOT = "cert-ext", "tls-sent", "tls-got"

NOT_OF_THE_PROTOCOL = frozenset(
    {"46-raw-garbage", "46-raw-http", "46-raw-short", "46-raw-trail", "46-raw-v4", "46-raw-v6"}
)
"""Requests that were sent to see what the server does with them."""


@dataclass(frozen=True)
class Capture:
    """All octets that went one way in one exchange."""

    name: str
    part: str
    octets: bytes

    def __str__(self) -> str:
        return f"{self.name}.{self.part}"

    def frames(self) -> list[bytes]:
        """What is in its frames; an empty one ends a stream."""
        found, position = [], 0
        while position < len(self.octets):
            length = int.from_bytes(self.octets[position : position + 4], "big")
            position += 4
            if position + length > len(self.octets):
                raise ValueError(f"{self} ends within a frame")
            found.append(self.octets[position : position + length])
            position += length
        return found


def capture(name: str, part: str) -> Capture:
    text = (FOLDER / f"{name}.{part}.hex").read_text(encoding="ascii")
    return Capture(name, part, bytes.fromhex(text))


def captures(*parts: str) -> Iterator[Capture]:
    """All of these parts, in the order of their names."""
    for path in sorted(FOLDER.glob("*.hex")):
        name, part, _suffix = path.name.rsplit(".", 2)
        if part in parts:
            yield capture(name, part)


@dataclass(frozen=True)
class Described:
    """A frame as the real client's decoder describes it."""

    length: int
    sequence: int
    name: str
    text: str
    """Its first line only."""


_FRAME = re.compile(r'frame (\d+) bytes, sequence (\d+), name "([^"]*)": (.*)')
_PART = re.compile(r"--- (request|reply|plaintext got|plaintext sent), \d+ bytes ---")
_TITLES = {REQUEST: "request", REPLY: "reply", TLS_GOT: "plaintext got", TLS_SENT: "plaintext sent"}


def described(of: Capture) -> list[Described]:
    """What DECODED.md says about the frames of a capture: of long streams only the first ones."""
    text = (FOLDER / "DECODED.md").read_text(encoding="utf-8")
    section = re.split(r"^## ", text, flags=re.MULTILINE)
    (found,) = (part for part in section if part.partition("\n")[0].strip() == of.name)
    frames, title = [], ""
    for line in found.splitlines():
        part = _PART.match(line)
        if part:
            title = part.group(1)
        frame = _FRAME.match(line)
        if frame and title == _TITLES[of.part]:
            length, sequence, name, told = frame.groups()
            frames.append(Described(int(length), int(sequence), name, told))
    return frames
