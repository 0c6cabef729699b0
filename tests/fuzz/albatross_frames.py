# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mutated frames of albatross' protocol against the codec: none may crash it, hang it, or make it grow.

``albatross_frames.py [--frames N] [--jobs N] [--seed N]``: every frame is either refused with Malformed, or read into a
message that is written and read again as the same one. What fails is printed with its seed and its octets.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import os
import random
import resource
import socket
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Optional, Union, cast

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross import der, wire
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.conversation import Conversation
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.errors import (
    AnswerLost,
    Malformed,
    Refused,
    Unsendable,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.deadline import Deadline
from ansible_collections.unikernel.fleet.tests.support.albatross_captures import (
    EXTENSION,
    REPLY,
    REQUEST,
    TLS_GOT,
    captures,
)

FRAMES = 1_000_000
LONGEST_FRAME_S = 1.0
"""Of CPU, for one frame of at most some thousand octets; a usual one takes a ten thousandth of it."""
MOST_GROWTH_MIB = 64
HANG_S = 30.0
_BATCH = 5_000
_SEED_OCTETS = 600
"""Only shorter frames are mutated: what is found in long ones is found in short ones, and sooner."""
_INTERESTING = bytes(
    (0, 1, 0x7F, 0x80, 0x81, 0x82, 0x84, 0x88, 0xFE, 0xFF, 2, 4, 5, 0x0C, 0x18, 0x30, 0x31, 0xA0, 0xA3)
)


class Failed(Exception):
    """A frame that the codec does not stand."""


@dataclass(frozen=True)
class Result:
    """What became of a batch of frames."""

    frames: int = 0
    read: int = 0
    slowest_s: float = 0.0
    cpu_s: float = 0.0
    peak_mib: float = 0.0

    def __add__(self, other: Result) -> Result:
        return Result(
            self.frames + other.frames,
            self.read + other.read,
            max(self.slowest_s, other.slowest_s),
            self.cpu_s + other.cpu_s,
            max(self.peak_mib, other.peak_mib),
        )


def corpus() -> tuple[list[bytes], list[bytes]]:
    """Frames and extensions that were recorded, each content once."""
    frames = {frame for one in captures(REQUEST, REPLY, TLS_GOT) if "raw" not in one.name for frame in one.frames()}
    return (
        sorted(frame for frame in frames if len(frame) <= _SEED_OCTETS),
        sorted(one.octets for one in captures(EXTENSION) if len(one.octets) <= _SEED_OCTETS),
    )


Tree = list[tuple[int, Union["Tree", bytes]]]
"""Values by their identifiers; those of constructed ones are trees again."""


def tree_of(octets: bytes) -> Tree:
    return [
        (octet, tree_of(content) if octet & 0x20 else content) for octet, content in der.elements(octets, _SEED_OCTETS)
    ]


def octets_of(tree: Tree) -> bytes:
    return b"".join(
        der.element(octet, octets_of(content) if isinstance(content, list) else content) for octet, content in tree
    )


def lists_of(tree: Tree) -> list[Tree]:
    """The tree and all within it."""
    return [tree, *(one for _octet, content in tree if isinstance(content, list) for one in lists_of(content))]


def grafted(dice: random.Random, seeds: Sequence[bytes]) -> bytes:
    """A frame with one to three changes that leave all lengths right, so that they are met deep within it."""
    tree = tree_of(dice.choice(seeds))
    for _unused in range(dice.choice((1, 1, 2, 3))):
        place = dice.choice(lists_of(tree))
        at = dice.randrange(len(place) + 1)
        change = dice.randrange(6)
        if change == 0:
            del place[at : at + 1]
        elif change == 1:
            place[at:at] = place[at : at + 1] * dice.randrange(1, 30)
        elif change == 2:
            other = dice.choice(lists_of(tree_of(dice.choice(seeds))))
            place[at : at + dice.randrange(2)] = other[:1]
        elif change == 3 and at < len(place):
            place[at] = (dice.choice((*_INTERESTING, 0xA0 + dice.randrange(23))) & ~0x1F | dice.randrange(31), b"")
        elif change == 4 and at < len(place):
            octet, content = place[at]
            place[at] = (0xA0 | dice.randrange(23) if octet & 0x80 else octet, content)
        elif at < len(place) and not isinstance(place[at][1], list):
            place[at] = (place[at][0], changed(dice, [cast(bytes, place[at][1]) or b"\0"]))
    return octets_of(tree)[: 8 * _SEED_OCTETS]


def mutated(dice: random.Random, seeds: Sequence[bytes]) -> bytes:
    return grafted(dice, seeds) if dice.randrange(2) else changed(dice, seeds)


def changed(dice: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Octets with one to four changes anywhere."""
    octets = bytearray(dice.choice(seeds))
    for _unused in range(dice.choice((1, 1, 2, 4))):
        at = dice.randrange(len(octets) + 1) if octets else 0
        change = dice.randrange(8)
        if change == 0 and at < len(octets):
            octets[at] ^= 1 << dice.randrange(8)
        elif change == 1 and at < len(octets):
            octets[at] = dice.choice(_INTERESTING)
        elif change == 2 and at < len(octets):
            octets[at] = (octets[at] + dice.choice((1, -1))) % 256
        elif change == 3:
            octets[at:at] = dice.randbytes(dice.randrange(1, 5))
        elif change == 4:
            del octets[at : at + dice.randrange(1, 9)]
        elif change == 5:
            other = dice.choice(seeds)
            start = dice.randrange(len(other))
            octets[at : at + dice.randrange(9)] = other[start : start + dice.randrange(1, 40)]
        elif change == 6:
            del octets[at:]
        else:
            octets[at:at] = octets[at : at + dice.randrange(1, 60)] * dice.randrange(1, 5)
    return bytes(octets[: 4 * _SEED_OCTETS])


def tried(octets: bytes, decode: Callable[[bytes], object], encode: Callable[[object], bytes]) -> bool:
    """Whether a frame was read; Failed when it was neither read nor refused as it should be."""
    try:
        message = decode(octets)
    except Malformed as error:
        if len(str(error)) > 1_000:
            raise Failed(f"a complaint of {len(str(error))} characters") from error
        return False
    try:
        written = encode(message)
    except Unsendable:
        return True
    if decode(written) != message:
        raise Failed(f"{message!r} does not come back")
    return True


class Pieces:
    """As much of a socket as a conversation needs: octets that arrive in pieces of any size."""

    def __init__(self, octets: bytes, dice: random.Random) -> None:
        self.octets, self.dice = octets, dice

    def settimeout(self, seconds: Optional[float]) -> None:
        pass

    def recv(self, size: int) -> bytes:
        piece = self.octets[: min(size, self.dice.randrange(1, 200))]
        self.octets = self.octets[len(piece) :]
        return piece

    def close(self) -> None:
        pass


def conversed(octets: bytes, dice: random.Random) -> None:
    """The same as an answer on a connection: it is taken, or it is a refusal or a lost answer."""
    talk = Conversation(cast(socket.socket, Pieces(octets, dice)), "albatross")
    deadline = Deadline.after(HANG_S)
    try:
        talk.reply(deadline)
        while talk.data(deadline) is not None:
            pass
    except (AnswerLost, Refused):
        pass


def batch(seed: int, frames: int) -> Result:
    """Try so many frames; the same ones for the same seed. What hangs ends the process, with a traceback."""
    faulthandler.dump_traceback_later(HANG_S, exit=True, file=sys.__stderr__)
    try:
        return _tried(seed, frames)
    finally:
        # Also after a failure, or the process would be ended in the middle of whatever it does by then.
        faulthandler.cancel_dump_traceback_later()


def _tried(seed: int, frames: int) -> Result:
    dice = random.Random(seed)
    seeds, extensions = corpus()
    read, slowest_s = 0, 0.0
    began = time.process_time()
    for number in range(frames):
        octets = b""
        before = time.process_time()
        try:
            if number % 16 == 0:
                octets = mutated(dice, extensions)
                read += tried(octets, wire.decode_extension, wire.encode_extension)  # type: ignore[arg-type]
            else:
                octets = mutated(dice, seeds)
                read += tried(octets, wire.decode, wire.encode)  # type: ignore[arg-type]
                if number % 16 == 1:
                    conversed(wire.framed(octets) + octets, dice)
        except Exception as error:
            raise Failed(f"seed {seed}, frame {number}: {type(error).__name__}: {error}: {octets.hex()}") from error
        took_s = time.process_time() - before
        if took_s > LONGEST_FRAME_S:
            raise Failed(f"seed {seed}, frame {number} took {took_s:.1f} s: {octets.hex()}")
        slowest_s = max(slowest_s, took_s)
    return Result(frames, read, slowest_s, time.process_time() - began, _peak_mib())


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _guarded(seed: int, frames: int) -> Result:
    """A batch in a process of its own that is used again: it must not be larger after it than it was before."""
    gc.collect()
    before = _peak_mib()
    result = batch(seed, frames)
    if frames == _BATCH and _batches_here and result.peak_mib - _batches_here[0] > MOST_GROWTH_MIB:
        raise Failed(f"seed {seed}: the process grew from {_batches_here[0]:.0f} to {result.peak_mib:.0f} MiB")
    if not _batches_here:
        _batches_here.append(max(before, result.peak_mib))
    return result


_batches_here: list[float] = []
"""How large this process was after its first batch, in MiB."""


def run(frames: int, jobs: int, seed: int) -> Result:
    """All of it, in so many processes."""
    parts = [(seed + number, min(_BATCH, frames - number * _BATCH)) for number in range(-(-frames // _BATCH))]
    total = Result()
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_bound) as pool:
        for result in pool.map(_guarded, *zip(*parts)):
            total += result
    return total


def _bound() -> None:
    """No process may take more memory than this: one that would ends with a MemoryError, which is a failure."""
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big") << 20)
    chosen = parser.parse_args()
    began = time.monotonic()
    try:
        result = run(chosen.frames, chosen.jobs, chosen.seed)
    except Failed as failed:
        print(f"failed: {failed}")
        return 1
    print(
        f"{result.frames} mutated frames of albatross, seed {chosen.seed}: {result.read} read, the others refused; "
        f"{time.monotonic() - began:.0f} s in {chosen.jobs} processes, {result.cpu_s:.0f} s of CPU, "
        f"the slowest frame {1000 * result.slowest_s:.0f} ms, at most {result.peak_mib:.0f} MiB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
