# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The double against the recorded session: asked what the real albatross was asked, it answers what that answered.

Its answers are compared octet for octet, after these were put in the place of what must differ:

* times (of a console's line, of a unikernel's start): the recorded ones, once the double's own are times of this test;
* digests: the recorded ones, once the double's own is that of our image in the place of the recorded one;
* the images that ``get`` answers with are not kept: whether they are the one that runs is compared instead;
* the alert of TLS for a chain that is refused, since OpenSSL chooses it: that there is one is compared.
"""

from __future__ import annotations

import dataclasses
import hashlib
import socket
import ssl
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Optional

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross import wire
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.authority import read_authority
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.client import Client
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.issuing import request
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.messages import (
    Command,
    ConsoleLine,
    ImageData,
    Message,
    Unikernels,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import ROOT, Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import moment
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.unix_sockets import (
    UnixSockets,
    socket_of,
)
from ansible_collections.unikernel.fleet.tests.support import (
    albatross_certificates as certificates,
    albatross_recording,
)
from ansible_collections.unikernel.fleet.tests.support.albatross.double import Albatross
from ansible_collections.unikernel.fleet.tests.support.albatross_captures import (
    EXTENSION,
    FOLDER,
    NOT_OF_THE_PROTOCOL,
    REPLY,
    REQUEST,
    TLS_GOT,
    capture,
)
from ansible_collections.unikernel.fleet.tests.support.albatross_recording import DIGESTS, HELLO, STORY
from ansible_collections.unikernel.fleet.tests.support.programs import until

UNANSWERED = ("46-raw-http", "46-raw-short")
"""The real server waits on for these."""
IMAGES = ("31-get-level0", "32-get-level9", "t12-tls-get-level9")
"""Their answers hold an image, and were not kept."""
PATIENCE_S = 10.0
SILENCE_S = 0.2

BEGAN = datetime.now(timezone.utc) - timedelta(seconds=1)


class Player:
    """Does the steps of the story to a double. What answers otherwise than recorded is kept, by the capture's name."""

    def __init__(self, double: Albatross, other_root: certificates.Files) -> None:
        self.double = double
        self.client = Client(UnixSockets(double.folder))
        self.other_root = other_root
        self.differences: dict[str, object] = {}

    def play(self, step: albatross_recording.Step) -> None:
        getattr(self, f"_{type(step).__name__.lower()}")(step)

    # --- captures

    def _recorded(self, step: albatross_recording.Recorded) -> None:
        name = step.name
        if name == "t02-tls-info-strict":
            with pytest.raises(ssl.SSLCertVerificationError, match="Missing Subject Key Identifier"):
                self._over_tls(name, strict=True)
        elif name == "t15-tls-unknown-ca":
            with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
                self._over_tls(name, who=self.other_root)
        elif name in IMAGES:
            octets = self._over_tls(name) if name.startswith("t") else self._ask(capture(name, REQUEST).octets)
            (message,) = _messages(octets)
            assert isinstance(message.payload, ImageData)
            assert message.payload.compressed is ("level9" in name)
            found = zlib.decompress(message.payload.image) if message.payload.compressed else message.payload.image
            assert found == albatross_recording.V2
        elif name.startswith("t"):
            self._compare(name, TLS_GOT, self._over_tls(name))
        else:
            expected = capture(name, REPLY).octets
            octets = self._ask(capture(name, REQUEST).octets, len(expected), silent=name in UNANSWERED)
            self._compare(name, REPLY, octets)

    def _rebuilt(self, step: albatross_recording.Rebuilt) -> None:
        asked = [wire.framed(wire.encode(request)) for request in step.requests]
        self._compare(step.name, REPLY, b"".join(self._ask(octets) for octets in asked))

    def _streamed(self, step: albatross_recording.Streamed) -> None:
        self._compare(step.name, TLS_GOT, self._over_tls(step.name, stream=step.image))

    def _incertificate(self, step: albatross_recording.InCertificate) -> None:
        self._compare(step.name, TLS_GOT, self._over_tls(step.name, command=step.request))

    def _compare(self, name: str, part: str, octets: bytes) -> None:
        recorded = capture(name, part)
        try:
            frames = [_as_recorded(*pair) for pair in zip(_messages(octets), _messages(recorded.octets))]
            told = b"".join(frames) if len(octets) == len(recorded.octets) else octets
        except AssertionError as error:
            self.differences[name] = error
            return
        if told != recorded.octets:
            self.differences[name] = (_messages(octets), _messages(recorded.octets))

    # --- what happens between them

    def _done(self, step: albatross_recording.Done) -> None:
        self._ask(wire.framed(wire.encode(step.request)), expected=1)

    def _bridge(self, step: albatross_recording.Bridge) -> None:
        (self.double.make_bridge if step.there else self.double.remove_bridge)(step.name)

    def _restarted(self, _step: albatross_recording.Restarted) -> None:
        self.double.stop_daemon()
        self.double.start_daemon()

    def _lives(self, step: albatross_recording.Lives) -> None:
        until(lambda: [line.line for line in self.client.console(step.name, 1)] == ["httpd: ready"])

    def _isgone(self, step: albatross_recording.IsGone) -> None:
        until(lambda: self.client.unikernel(step.name) is None)
        until(lambda: step.name in self.client.inactive_consoles())

    def _loops(self, step: albatross_recording.Loops) -> None:
        first = self.client.unikernel(step.name)
        until(lambda: self.client.unikernel(step.name) not in (None, first))

    # --- connections

    def _ask(self, octets: bytes, expected: Optional[int] = None, silent: bool = False) -> bytes:
        """All that is answered, to the end, or of a stream as much as was recorded."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(str(self.double.folder / _socket_of(octets)))
            connection.sendall(octets)
            return _received(connection, expected, silent)

    def _over_tls(
        self,
        name: str,
        command: Optional[Command] = None,
        stream: Optional[bytes] = None,
        who: Optional[certificates.Files] = None,
        strict: bool = False,
    ) -> bytes:
        who = who or self.double.root
        asked = _name_in(name)
        command = command or wire.decode_extension(capture(name, EXTENSION).octets)
        credential = request(read_authority(who.certificates, who.key), asked, command)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(cafile=str(self.double.root.certificates))
        if strict:
            context.verify_flags |= ssl.VERIFY_X509_STRICT
        else:
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        with tempfile.NamedTemporaryFile() as file:
            file.write(credential.key + credential.certificates)
            file.flush()
            context.load_cert_chain(file.name)
        address = ("127.0.0.1", self.double.tls_port or 0)
        with socket.create_connection(address) as plain, context.wrap_socket(plain) as connection:
            if stream is not None:
                connection.sendall(wire.framed(stream) + wire.framed(b""))
            return _received(connection, None, False)


def _received(connection: socket.socket, expected: Optional[int], silent: bool) -> bytes:
    connection.settimeout(SILENCE_S if silent else PATIENCE_S)
    found = b""
    ended = False
    with suppress(ConnectionResetError):
        while expected is None or not found or len(found) < expected:
            try:
                more = connection.recv(65_536)
            except socket.timeout:
                assert silent, f"nothing comes any more after {found!r}"
                return found
            if not more:
                ended = True
                break
            found += more
    assert not (silent and ended), "the connection was closed, where the real server waits on"
    return found


def _socket_of(octets: bytes) -> str:
    """Which daemon the real client asked."""
    with suppress(Exception):
        command = wire.decode(octets[4:]).payload
        if type(command).__name__ in ("SubscribeConsole", "ListInactiveConsoles"):
            return socket_of(command)  # type: ignore[arg-type]
    return "vmmd.sock"


def _name_in(name: str) -> Name:
    """What the leaf of a recorded request over TLS was named."""
    labels = {"t14-tls-destroy-missing": "nosuch"}
    whole = ("t01-tls-info", "t02-tls-info-strict", "t10-tls-policy-info", "t15-tls-unknown-ca")
    return ROOT if name in whole else Name((), labels.get(name, HELLO.label))


def _messages(octets: bytes) -> list[Message]:
    found, position = [], 0
    while position < len(octets):
        length = int.from_bytes(octets[position : position + 4], "big")
        found.append(wire.decode(octets[position + 4 : position + 4 + length]))
        position += 4 + length
    return found


def _as_recorded(ours: Message, recorded: Message) -> bytes:
    """Our message as octets, with the recorded times and digests where ours are as they should be."""
    payload: Any = ours.payload
    if isinstance(payload, ConsoleLine) and isinstance(recorded.payload, ConsoleLine):
        payload = dataclasses.replace(payload, time=_time_of(payload.time, recorded.payload.time))
    if isinstance(payload, Unikernels) and isinstance(recorded.payload, Unikernels):
        entries = []
        for one, other in zip(payload.entries, recorded.payload.entries):
            assert one.info.digest == DIGESTS[other.info.digest.hex()], f"the digest of {one.name}"
            started = _time_of(one.info.started or "", other.info.started or "")
            info = dataclasses.replace(one.info, digest=other.info.digest, started=started)
            entries.append(dataclasses.replace(one, info=info))
        payload = dataclasses.replace(payload, entries=(*entries, *payload.entries[len(entries) :]))
    return wire.framed(wire.encode(dataclasses.replace(ours, payload=payload)))


def _time_of(ours: str, recorded: str) -> str:
    assert BEGAN <= moment(ours) <= datetime.now(timezone.utc) + timedelta(seconds=1)
    return recorded


@contextmanager
def playing(folder: Path) -> Iterator[Player]:
    sockets = folder / "s"
    with Albatross(sockets, bridges=albatross_recording.BRIDGES, tls_port=0) as double:
        yield Player(double, certificates.root(folder / "other", "otherca"))


def test_asked_what_the_real_albatross_was_asked_it_answers_what_that_answered(tmp_path: Path) -> None:
    with playing(tmp_path) as player:
        for step in STORY:
            player.play(step)
    assert player.differences == {}


def test_the_story_holds_all_captures() -> None:
    played = {name for step in STORY for name in [getattr(step, "name", None)] if isinstance(name, str)}
    assert {path.name.rsplit(".", 2)[0] for path in FOLDER.glob("*.hex")} - played == set()
    assert played >= NOT_OF_THE_PROTOCOL


def test_a_wrong_answer_would_be_noticed(tmp_path: Path) -> None:
    """Each exception is as narrow as it says."""
    with playing(tmp_path) as player:
        for step in STORY[:4]:
            player.play(step)
        listing = _messages(player._ask(capture("04-info-1", REQUEST).octets))[0]
    assert isinstance(listing.payload, Unikernels)
    (entry,) = listing.payload.entries
    for wrong in (
        {"memory_mib": 17},
        {"digest": hashlib.sha256(b"another").digest()},
        {"arguments": ()},
        {"started": "19990101000000Z"},
    ):
        info = dataclasses.replace(entry.info, **wrong)
        payload = Unikernels((dataclasses.replace(entry, info=info),))
        player._compare("04-info-1", REPLY, wire.framed(wire.encode(Message(ROOT, payload))))
        assert "04-info-1" in player.differences, wrong
        player.differences.clear()
