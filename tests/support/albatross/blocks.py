# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Block devices of the double: files, as albatross' are, and its streams in and out of them."""

from __future__ import annotations

import socket
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross import messages as m
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import BlockDevice
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import InvalidDeclaration
from ansible_collections.unikernel.fleet.tests.support.albatross import frames
from ansible_collections.unikernel.fleet.tests.support.albatross.faults import Died, Fault
from ansible_collections.unikernel.fleet.tests.support.albatross.listing import listed
from ansible_collections.unikernel.fleet.tests.support.albatross.machine import Machine
from ansible_collections.unikernel.fleet.tests.support.albatross.resources import Block, Resources

MIB = 1 << 20
_PIECE = 4_096


@dataclass(frozen=True)
class Writing:
    path: Path
    octets: int


class Blocks:
    def __init__(self, machine: Machine, resources: Resources) -> None:
        self._machine, self._resources = machine, resources

    def find(self) -> None:
        """Those that are there when albatrossd starts."""
        for path in sorted((self._machine.own / "block").iterdir()):
            try:
                name = Name.parse(path.name)
            except InvalidDeclaration:
                continue
            size = path.stat().st_size
            if size and size % MIB == 0:
                self._resources.blocks[name] = Block(size // MIB)

    def size(self, name: Name) -> int:
        found = self._resources.blocks.get(name)
        return found.size_mib if found else 0

    def answer(self, name: Name) -> m.Blocks:
        found = listed(name, self._resources.blocks)
        return m.Blocks(tuple(BlockDevice(relative, one.size_mib, one.active) for relative, one in found))

    def add(self, name: Name, size_mib: int) -> m.Said:
        self._resources.check_block(name, size_mib)
        path = self._machine.block_file(name)
        if path.exists():
            raise Fault("file already exists")
        path.touch(0o600)
        if size_mib < 1:
            # The file stays.
            raise Fault("overflow while computing bytes")
        _resize(path, size_mib * MIB)
        self._resources.blocks[name] = Block(size_mib)
        return m.Said("added block device")

    def remove(self, name: Name) -> m.Said:
        self._idle(name, "remove")
        self._machine.block_file(name).unlink(missing_ok=True)
        del self._resources.blocks[name]
        return m.Said("removed block")

    def prepare_set(self, name: Name) -> Writing:
        """What it held is gone from here on."""
        block = self._idle(name, "set")
        path = self._machine.block_file(name)
        path.write_bytes(b"")
        return Writing(path, block.size_mib * MIB)

    def set_from(self, connection: socket.socket, to: Writing, compressed: bool) -> m.Payload:
        """A connection that ends counts as the end of the data."""
        stream = zlib.decompressobj() if compressed else None
        written = 0
        with to.path.open("wb") as file:
            while True:
                octets = frames.chunk(connection)
                if not octets:
                    break
                if stream is not None:
                    try:
                        octets = stream.decompress(octets)
                    except zlib.error:
                        return m.Failure("error writing to file descriptor")
                written += len(octets)
                if written > to.octets:
                    return m.Failure("stream exceeds size")
                file.write(octets)
        _resize(to.path, to.octets)
        return m.Said("set block device")

    def prepare_dump(self, name: Name) -> Path:
        self._idle(name, "dump")
        return self._machine.block_file(name)

    def dump_to(self, say: Callable[[m.Payload], bool], path: Path, level: int) -> None:
        if level not in range(10):
            raise Died(f"there is no level {level} of zlib")
        say(m.BlockImage(level != 0))
        for piece in _compressed(_pieces(path), level) if level else _pieces(path):
            if not say(m.BlockChunk(piece)):
                return
        say(m.BlockChunk(None))

    def _idle(self, name: Name, what: str) -> Block:
        found = self._resources.blocks.get(name)
        if found is None:
            raise Fault(f"{what} block: not found")
        if found.active:
            raise Fault(f"{what} block: is in use")
        return found


def _resize(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while True:
            piece = file.read(_PIECE)
            if not piece:
                return
            yield piece


def _compressed(pieces: Iterator[bytes], level: int) -> Iterator[bytes]:
    stream = zlib.compressobj(level)
    for piece in pieces:
        octets = stream.compress(piece)
        if octets:
            yield octets
    yield stream.flush()
