# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One request's connection: octets out, frames back, all of it bounded in time and size.

albatross serves one request per connection, and sometimes never answers. So whatever is awaited here has an end.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Optional, Protocol, Union

from ..checks.bounded import bounded
from ..checks.deadline import Deadline, OutOfTime
from ..checks.stream import said
from . import wire
from .errors import AnswerLost, ClosedUnanswered, Malformed, MalformedAnswer, NotSent, Refused
from .messages import DATA, SUCCESSES, Command, Data, Failure, Message, Success
from .names import Name

CHUNK_OCTETS = 65_536


@dataclass(frozen=True)
class Patience:
    """Seconds that are waited, whatever the other side does meanwhile."""

    connect_s: float = 5.0
    """Until the connection stands (over TLS: with its handshake)."""
    send_s: float = 120.0
    """For the whole request, with its image or block device."""
    answer_s: float = 30.0
    """From the end of the request to the end of its answer. Creating and destroying take tenths of a second; an old
    guest that does not die takes for ever."""


class Transport(Protocol):
    """A way to an albatross server."""

    @property
    def where(self) -> str:
        """The server, for messages."""

    def open(
        self, name: Name, command: Command, patience: Patience, upload: Optional[Iterable[bytes]] = None
    ) -> Conversation:
        """A connection on which this request was sent, and after it the chunks of the upload. NotSent when the server
        has carried out nothing of it."""


class Conversation:
    """What follows a request that was sent. A context manager, which closes the connection."""

    def __init__(self, connection: socket.socket, where: str, echo: Optional[Message] = None) -> None:
        self._connection = connection
        self._where = where
        self._echo = echo
        """The request, where its first reply must repeat name and sequence."""
        self._buffer = bytearray()
        self._heard = False
        self._undone: Optional[str] = None
        """Why the server cannot have carried out the request, if that is known."""

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_unused: object) -> None:
        self.close()

    def close(self) -> None:
        with suppress(OSError):
            self._connection.close()

    # --- out

    def request(self, octets: bytes, upload: Optional[Iterable[bytes]], deadline: Deadline, whole: bool) -> None:
        """Hand a request over, and its upload with the empty chunk at its end. ``whole``: a server that did not get
        all of it does nothing. NotSent, or AnswerLost, when it does not take it in time."""
        try:
            self._send(octets, deadline)
            for chunk in upload or ():
                if chunk:
                    self._send(wire.framed(chunk), deadline)
            if upload is not None:
                self._send(wire.framed(b""), deadline)
        except OutOfTime:
            self.close()
            self._undone = "did not take the request in time" if whole else None
            raise self._lost("did not take all that belongs to the request in time") from None
        except OSError as error:
            # A server that refuses an upload says so and stops reading: its answer is still there to be read.
            self._undone = f"did not take the request to its end ({said(error)})" if whole else None

    def _send(self, octets: bytes, deadline: Deadline) -> None:
        view = memoryview(octets)
        while view:
            self._connection.settimeout(deadline.left_s())
            try:
                view = view[self._connection.send(view[:CHUNK_OCTETS]) :]
            except socket.timeout:
                raise OutOfTime from None

    # --- back

    def reply(self, deadline: Deadline, longest: int = wire.LONGEST_REPLY) -> Success:
        """The server's first answer. Refused with its words; AnswerLost in all its kinds when there is none."""
        try:
            message = self._next(deadline, longest)
        except OutOfTime:
            raise self._lost("took the request and did not answer in time") from None
        if message is None:
            raise self._lost(
                "closed the connection without an answer: it does that with a request that it cannot read (is it of "
                "another generation than was configured?), and when it dies",
                ClosedUnanswered,
            )
        self._check_echo(message)
        if isinstance(message.payload, Failure):
            text = bounded(message.payload.text)
            raise Refused(f"{self._where} refused {message.name}: {text}", message.payload.text)
        if not isinstance(message.payload, SUCCESSES):
            raise self._malformed(f"{type(message.payload).__name__} is no answer")
        return message.payload

    def data(self, deadline: Deadline, longest: int = wire.ENVELOPE) -> Optional[tuple[Name, Data]]:
        """What is streamed next, and whose it is; None at the end of the stream, OutOfTime when nothing came."""
        message = self._next(deadline, longest)
        if message is None:
            return None
        if isinstance(message.payload, Failure):
            raise Refused(f"{self._where}: {bounded(message.payload.text)}", message.payload.text)
        if not isinstance(message.payload, DATA):
            raise self._malformed(f"{type(message.payload).__name__} in a stream")
        return message.name, message.payload

    def _next(self, deadline: Deadline, longest: int) -> Optional[Message]:
        """The next message; None at the end. What has come of a frame is kept when the time runs out within it."""
        try:
            if not self._filled(wire.LENGTH_OCTETS, deadline):
                return None
            whole = wire.LENGTH_OCTETS + wire.announced(bytes(self._buffer[: wire.LENGTH_OCTETS]), longest)
            if not self._filled(whole, deadline):
                raise Malformed(f"the connection ended after {len(self._buffer)} of {whole} octets")
            octets = bytes(memoryview(self._buffer)[wire.LENGTH_OCTETS : whole])
            del self._buffer[:whole]
            return wire.decode(octets)
        except Malformed as error:
            raise self._malformed(str(error)) from None

    def _filled(self, size: int, deadline: Deadline) -> bool:
        """Receive until there are so many octets. False when the stream ended before the first of them."""
        while len(self._buffer) < size:
            self._connection.settimeout(deadline.left_s())
            try:
                chunk = self._connection.recv(min(size - len(self._buffer), 4 * CHUNK_OCTETS))
            except socket.timeout:
                raise OutOfTime from None
            except ConnectionError as error:
                if not self._buffer:
                    return False
                raise Malformed(f"the connection broke within a frame: {said(error)}") from None
            except OSError as error:
                if isinstance(error, ssl.SSLError) and not self._heard:
                    # In TLS 1.3 a server looks at a client's certificate after the client's handshake is over.
                    self._undone = f"refused the certificate ({reason(error)})"
                raise self._lost(f"broke the connection ({said(error)})") from None
            if not chunk:
                if self._buffer:
                    raise Malformed(f"the connection ended after {len(self._buffer)} of {size} octets")
                return False
            self._buffer += chunk
            self._heard = True
        return True

    def _lost(self, how: str, kind: type[AnswerLost] = AnswerLost) -> Union[AnswerLost, NotSent]:
        if self._undone is not None:
            return NotSent(f"{self._where} {self._undone}: it carried out nothing of it.")
        return kind(f"{self._where} {how}. Whether the request was carried out is not known.")

    def _check_echo(self, message: Message) -> None:
        echo, self._echo = self._echo, None
        if echo is None:
            return
        same_name = str(message.name).lower() == str(echo.name).lower()
        if message.sequence != echo.sequence or not same_name:
            raise self._malformed(f"an answer to {message.name} number {message.sequence}, which was not asked")

    def _malformed(self, why: str) -> MalformedAnswer:
        return MalformedAnswer(
            f"{self._where} sent what is not of albatross' protocol: {bounded(why)}. Whether the request was carried "
            "out is not known."
        )


def reason(error: ssl.SSLError) -> str:
    """What TLS complains of, in words."""
    return (error.reason or str(error)).lower().replace("_", " ")
