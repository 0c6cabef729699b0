# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Typed calls to an albatross server, over any transport. One request each; nothing is retried here.

``NotSent``, ``Unsendable`` and ``Refused`` mean what they say. After ``AnswerLost`` the caller asks what runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Optional, TypeVar

from ..checks.deadline import Deadline, OutOfTime
from . import wire
from .conversation import Conversation, Patience, Transport
from .errors import AnswerLost, ClosedUnanswered, MalformedAnswer, Refused, Unsendable
from .inflating import inflated
from .messages import (
    AddBlock,
    AddPolicy,
    BlockChunk,
    BlockImage,
    Blocks,
    Command,
    ConsoleLine,
    Consoles,
    Create,
    Destroy,
    DumpBlock,
    GetImage,
    ImageData,
    ListBlocks,
    ListInactiveConsoles,
    ListPolicies,
    ListUnikernels,
    Policies,
    RemoveBlock,
    RemovePolicy,
    Restart,
    Said,
    SetBlock,
    StatsSample,
    SubscribeConsole,
    SubscribeStatistics,
    Unikernels,
)
from .names import ROOT, Name
from .records import (
    BlockDevice,
    Generation,
    NamedInfo,
    NamedPolicy,
    Policy,
    UnikernelArguments,
    UnikernelConfig,
    UnikernelInfo,
    generalized,
)
from .sendable import checked

S = TypeVar("S")

MAX_IMAGE_BYTES = 256 << 20
"""Of an image that is fetched, inflated."""
NOBODY = "generation-of-this-server"
"""A label that hardly runs: the answer about it is short, and what matters is that there is one."""
NEVER_HEARD_OF = "waiting for VM"
"""The console daemon's answer to who would listen to it."""
HISTORY_QUIET_S = 0.25
"""The end of a console's history has no mark. It comes in one go, so a silence of this length is taken for it."""
HISTORY_WITHIN_S = 2.0
"""Where there is no silence, since the guest never pauses, what came by then is taken for its history."""


@dataclass
class Client:
    """A server, and how long it is waited for."""

    transport: Transport
    generation: Generation = Generation.V2_7
    """Of the server. One that is newer than it is said to be is found out before it is harmed."""
    patience: Patience = Patience()
    _known: bool = field(default=False, init=False, repr=False)
    """The generation was compared with what the server understands."""

    # --- unikernels

    def unikernels(self, name: Name = ROOT) -> tuple[NamedInfo, ...]:
        """Those that run under a path, or the one of that name, with full names. What does not run is not there."""
        self._make_sure(name)
        reply = self._ask(name, ListUnikernels(self.generation), Unikernels)
        return tuple(NamedInfo(entry.name.below(_path_asked(name)), entry.info) for entry in reply.entries)

    def unikernel(self, name: Name) -> Optional[UnikernelInfo]:
        """The one of that name; None when it does not run."""
        found = [entry.info for entry in self.unikernels(name)]
        if len(found) > 1:
            raise MalformedAnswer(f"{self.transport.where} told of {len(found)} unikernels named {name}.")
        return found[0] if found else None

    def create(self, name: Name, config: UnikernelConfig) -> str:
        """Start it; Refused when one of that name runs. Success means that its tender was started, and no more."""
        return self._do(name, Create(config, False, self.generation))

    def force_create(self, name: Name, config: UnikernelConfig) -> str:
        """Kill what runs under that name, then look at the image, its manifest and the bridges, then start it."""
        return self._do(name, Create(config, True, self.generation))

    def restart(self, name: Name, arguments: Optional[UnikernelArguments] = None) -> str:
        """Kill it and start it again, as it was or with other arguments (looked at after the kill)."""
        return self._do(name, Restart(arguments, self.generation))

    def destroy(self, name: Name) -> bool:
        """False when there was none. A server that has just destroyed one says once more that it did."""
        try:
            self._do(name, Destroy())
        except Refused as refused:
            if refused.text == "destroy: not found":
                return False
            raise
        return True

    def image(self, name: Name, level: int = 0, max_bytes: int = MAX_IMAGE_BYTES) -> Optional[bytes]:
        """The image of a unikernel that runs, inflated; None when it does not run. ``level`` is for the way only."""
        try:
            reply = self._ask(name, GetImage(level), ImageData, longest=max_bytes + wire.ENVELOPE)
        except Refused as refused:
            if refused.text == "get: no unikernel found":
                return None
            raise
        if not reply.compressed:
            return reply.image
        return b"".join(inflated((reply.image,), max_bytes, self.transport.where))

    # --- policies

    def policies(self, name: Name = ROOT) -> tuple[NamedPolicy, ...]:
        """The policies of a path and of those below it, with full names."""
        reply = self._ask(name, ListPolicies(), Policies)
        return tuple(NamedPolicy(entry.name.below(_path_asked(name)), entry.policy) for entry in reply.entries)

    def add_policy(self, path: Name, policy: Policy) -> str:
        """Add or replace the policy of a path."""
        return self._do(path, AddPolicy(policy))

    def remove_policy(self, path: Name) -> str:
        return self._do(path, RemovePolicy())

    # --- block devices

    def blocks(self, name: Name = ROOT) -> tuple[BlockDevice, ...]:
        """The block devices under a path, or the one of that name, with full names."""
        reply = self._ask(name, ListBlocks(), Blocks)
        return tuple(replace(entry, name=entry.name.below(_path_asked(name))) for entry in reply.entries)

    def add_block(self, name: Name, size_mib: int) -> str:
        return self._do(name, AddBlock(size_mib))

    def remove_block(self, name: Name) -> str:
        return self._do(name, RemoveBlock())

    def set_block(self, name: Name, content: Iterable[bytes], compressed: bool = False) -> str:
        """Overwrite a block device that nobody uses. What it held is lost before the first octet is looked at."""
        return self._do(name, SetBlock(compressed), upload=content)

    def dump_block(self, name: Name, level: int, max_bytes: int) -> Iterator[bytes]:
        """What a block device that nobody uses holds, piece by piece, inflated."""
        with self._open(name, DumpBlock(level)) as talk:
            deadline = Deadline.after(self.patience.send_s)
            reply = self._expected(talk.reply(deadline), BlockImage)
            pieces = self._chunks(talk, deadline, max_bytes)
            yield from inflated(pieces, max_bytes, self.transport.where) if reply.compressed else pieces

    def _chunks(self, talk: Conversation, deadline: Deadline, max_bytes: int) -> Iterator[bytes]:
        size = 0
        try:
            while True:
                told = talk.data(deadline)
                if told is None:
                    raise MalformedAnswer(f"{self.transport.where} ended a block device's dump in its middle.")
                chunk = self._expected(told[1], BlockChunk).octets
                if chunk is None:
                    return
                size += len(chunk)
                if size > max_bytes:
                    raise MalformedAnswer(f"{self.transport.where} sent more than {max_bytes} bytes of a block device.")
                yield chunk
        except OutOfTime:
            raise AnswerLost(f"{self.transport.where} did not end a block device's dump in time.") from None

    # --- consoles and statistics

    def console(self, name: Name, count: int, quiet_s: float = HISTORY_QUIET_S) -> tuple[ConsoleLine, ...]:
        """The last lines of a console, of a unikernel that is gone too; none when there never was one."""
        lines: list[ConsoleLine] = []
        with self._open(name, SubscribeConsole(count=count)) as talk:
            self._expected(talk.reply(Deadline.after(self.patience.answer_s)), Said)
            end = Deadline.after(HISTORY_WITHIN_S)
            while len(lines) < count:
                try:
                    told = talk.data(Deadline.after(min(quiet_s, end.left_s())))
                except OutOfTime:
                    break
                if told is None:
                    break
                lines.append(self._expected(told[1], ConsoleLine))
        return tuple(lines)

    def has_console(self, name: Name) -> bool:
        """False when the console daemon has never heard of it: as of what ran already when that was started."""
        with self._open(name, SubscribeConsole(count=0)) as talk:
            told = self._expected(talk.reply(Deadline.after(self.patience.answer_s)), Said)
        return told.text != NEVER_HEARD_OF

    def follow_console(
        self, name: Name, seconds: float, count: Optional[int] = None, since: Optional[datetime] = None
    ) -> Iterator[ConsoleLine]:
        """History and then live lines, as they come, for so many seconds or until the server ends the stream. Before
        release 2.7.2 of the server a time before its oldest line exhausts it: prefer a count."""
        told_since = None if since is None else generalized(since)
        for _name, line in self._followed(name, SubscribeConsole(count, told_since), seconds, ConsoleLine):
            yield line

    @contextmanager
    def listening(self, name: Name, count: int = 0) -> Iterator[Callable[[float], Optional[ConsoleLine]]]:
        """An ear at a console, also of what does not run yet: the next line, waited for so many seconds; None when none
        came. ``count``: beginning with so many lines of its history. AnswerLost when the server ends the stream."""
        with self._open(name, SubscribeConsole(count=count)) as talk:
            self._expected(talk.reply(Deadline.after(self.patience.answer_s)), Said)

            def heard(seconds: float) -> Optional[ConsoleLine]:
                try:
                    told = talk.data(Deadline.after(seconds))
                except OutOfTime:
                    return None
                if told is None:
                    raise AnswerLost(f"{self.transport.where} ended the console of {name}: too many listen to it.")
                return self._expected(told[1], ConsoleLine)

            yield heard

    def inactive_consoles(self, path: Name = ROOT) -> tuple[Name, ...]:
        """Full names of those that left a history and do not run."""
        reply = self._ask(path, ListInactiveConsoles(), Consoles)
        return tuple(name.below(_path_asked(path)) for name in reply.names)

    def statistics(self, name: Name, seconds: float) -> Iterator[tuple[Name, StatsSample]]:
        """Samples as they come, about every ten seconds one of each unikernel, under full names. A second subscriber
        ends the first one's stream."""
        for told, sample in self._followed(name, SubscribeStatistics(), seconds, StatsSample):
            yield told.below(_path_asked(name)), sample

    def _followed(self, name: Name, command: Command, seconds: float, kind: type[S]) -> Iterator[tuple[Name, S]]:
        with self._open(name, command) as talk:
            self._expected(talk.reply(Deadline.after(self.patience.answer_s)), Said)
            end = Deadline(time.monotonic() + seconds)
            try:
                while True:
                    told = talk.data(end)
                    if told is None:
                        return
                    yield told[0], self._expected(told[1], kind)
            except OutOfTime:
                return

    # --- requests

    def _open(self, name: Name, command: Command, upload: Optional[Iterable[bytes]] = None) -> Conversation:
        checked(name, command, self.generation)
        return self.transport.open(name, command, self.patience, upload)

    def _ask(
        self,
        name: Name,
        command: Command,
        kind: type[S],
        upload: Optional[Iterable[bytes]] = None,
        longest: int = wire.LONGEST_REPLY,
    ) -> S:
        with self._open(name, command, upload) as talk:
            return self._expected(talk.reply(Deadline.after(self.patience.answer_s), longest), kind)

    def _do(self, name: Name, command: Command, upload: Optional[Iterable[bytes]] = None) -> str:
        return self._ask(name, command, Said, upload).text

    def _expected(self, told: object, kind: type[S]) -> S:
        if not isinstance(told, kind):
            raise MalformedAnswer(
                f"{self.transport.where} answered with {type(told).__name__} where {kind.__name__} belongs. "
                "Whether the request was carried out is not known."
            )
        return told

    def _make_sure(self, name: Name) -> None:
        """The old listings kill a newer server once a unikernel has two CPUs. Its own listing is not known to an older
        one, which closes the connection: so this question can only be answered by a newer one, and harms none."""
        if self._known or self.generation is Generation.V2_7:
            return
        newest = Generation.V2_7
        try:
            with self.transport.open(Name(name.path, NOBODY), ListUnikernels(newest), self.patience) as talk:
                talk.reply(Deadline.after(self.patience.answer_s))
        except ClosedUnanswered:
            self._known = True
            return
        raise Unsendable(
            f"{self.transport.where} is of generation {newest.value}, not {self.generation.value} as configured. "
            "Listing its unikernels in older words can kill it; that was not done. Set the generation to what it is."
        )


def _path_asked(name: Name) -> tuple[str, ...]:
    """What names in an answer are relative to: the path when a path was asked for, nothing when one thing was."""
    return name.path if name.label is None else ()
