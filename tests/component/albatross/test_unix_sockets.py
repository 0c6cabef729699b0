# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client on real Unix sockets, against servers that behave like the real one on its worse days."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross import wire
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.client import Client
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.conversation import Patience
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.errors import (
    AnswerLost,
    ClosedUnanswered,
    MalformedAnswer,
    NotSent,
    Refused,
    Unsendable,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.messages import (
    BlockChunk,
    BlockImage,
    Blocks,
    ConsoleLine,
    Consoles,
    Create,
    Data,
    Failure,
    ImageData,
    ListUnikernels,
    Message,
    Payload,
    Policies,
    Said,
    StatsSample,
    SubscribeConsole,
    Unikernels,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import ROOT, Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import (
    BlockDevice,
    Generation,
    NamedInfo,
    NamedPolicy,
    Policy,
    ResourceUsage,
    TimeValue,
    UnikernelConfig,
    UnikernelInfo,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.unix_sockets import UnixSockets
from ansible_collections.unikernel.fleet.tests.support.albatross_captures import REPLY, REQUEST, capture
from ansible_collections.unikernel.fleet.tests.support.raw_servers import (
    Behaviour,
    answering,
    drip,
    exactly,
    frame_of,
    unix_server,
    until_hung_up,
)

HELLO = Name((), "hello")
PATIENT = Patience()
IMPATIENT = Patience(connect_s=0.3, send_s=0.3, answer_s=0.3)
CONFIG = UnikernelConfig(memory_mib=16, image=b"\x7fELF and so on")
INFO = UnikernelInfo(memory_mib=16, digest=bytes(32), cpus=(0,))
USAGE = ResourceUsage(TimeValue(1, 2), TimeValue(3, 4), *range(14))


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short: a Unix socket's address has room for some hundred octets."""
    path = Path(tempfile.mkdtemp(prefix="alb"))
    yield path
    shutil.rmtree(path)


def client(folder: Path, generation: Generation = Generation.V2_7, patience: Patience = PATIENT) -> Client:
    return Client(UnixSockets(folder), generation, patience)


def said(payload: Payload, name: Name = HELLO) -> bytes:
    return wire.framed(wire.encode(Message(name, payload)))


def silent(connection: socket.socket) -> None:
    frame_of(connection)
    until_hung_up(connection)


# --- what the real server said, answered again ---------------------------------------------------


@pytest.mark.parametrize(
    ("recorded", "asked"),
    [
        ("04-info-1", lambda one: one.unikernels()[0].name == HELLO),
        ("05-info-by-name", lambda one: one.unikernel(HELLO).memory_mib == 16),
        ("06-info-missing-name", lambda one: one.unikernel(Name((), "nosuch")) is None),
        ("28-restart-ok", lambda one: one.restart(HELLO) == "created unikernel"),
        ("33-get-missing", lambda one: one.image(Name((), "nosuch")) is None),
        ("34-destroy-ok", lambda one: one.destroy(HELLO)),
        ("35-destroy-again-first-time", lambda one: one.destroy(HELLO)),
        ("35-destroy-missing", lambda one: not one.destroy(HELLO)),
        ("40-block-info-empty", lambda one: one.blocks() == ()),
        ("41-block-create", lambda one: one.add_block(Name((), "data"), 8) == "added block device"),
        ("43-block-destroy", lambda one: one.remove_block(Name((), "data")) == "removed block"),
        ("02-policy-info", lambda one: one.policies()[0].policy.bridges == ("br-alb", "br-gone")),
    ],
)
def test_a_call_sends_what_the_real_client_sent_and_reads_what_the_real_server_said(
    folder: Path, recorded: str, asked: object
) -> None:
    got = []

    def behave(connection: socket.socket) -> None:
        got.append(wire.framed(frame_of(connection)))
        connection.sendall(capture(recorded, REPLY).octets)

    with unix_server(folder / "vmmd.sock", behave):
        assert callable(asked)
        assert asked(client(folder))
    assert got == [capture(recorded, REQUEST).octets]


def test_the_history_of_a_console_is_read_to_its_unmarked_end(folder: Path) -> None:
    def behave(connection: socket.socket) -> None:
        assert wire.decode(frame_of(connection)).payload == SubscribeConsole(count=20)
        connection.sendall(capture("07-console-subscribe", REPLY).octets)
        until_hung_up(connection)

    with unix_server(folder / "console.sock", behave):
        lines = client(folder).console(HELLO, 20)
    assert [line.line for line in lines][-1] == "httpd: ready"
    assert len(lines) == 15


def test_a_console_that_never_was_has_no_lines(folder: Path) -> None:
    with unix_server(folder / "console.sock", answering(capture("38-console-waiting", REPLY).octets)):
        assert client(folder).console(Name((), "never"), 20) == ()


def test_a_console_is_followed_until_the_time_is_over(folder: Path) -> None:
    lines = [ConsoleLine("20261122030201.616Z", f"line {number}") for number in range(3)]

    def behave(connection: socket.socket) -> None:
        frame_of(connection)
        connection.sendall(said(Said("subscribed")))
        for line in lines:
            connection.sendall(said(line))
            time.sleep(0.05)
        until_hung_up(connection)

    with unix_server(folder / "console.sock", behave):
        began = time.monotonic()
        assert list(client(folder).follow_console(HELLO, 0.5, count=0)) == lines
        assert 0.4 < time.monotonic() - began < 5


def test_names_below_a_path_are_told_in_full(folder: Path) -> None:
    dev = Name(("dev",))
    answers: list[Payload] = [
        Unikernels((NamedInfo(Name((), "world"), INFO),)),
        Policies((NamedPolicy(ROOT, Policy((0,), 1, 32, ())),)),
        Blocks((BlockDevice(Name(("a",), "data"), 8, True),)),
    ]

    def behave(connection: socket.socket) -> None:
        frame_of(connection)
        connection.sendall(said(answers.pop(0), dev))

    with unix_server(folder / "vmmd.sock", behave):
        one = client(folder)
        assert [str(entry.name) for entry in one.unikernels(dev)] == ["dev:world"]
        assert [str(entry.name) for entry in one.policies(dev)] == ["dev:"]
        assert [str(entry.name) for entry in one.blocks(dev)] == ["dev:a:data"]
    with unix_server(folder / "console.sock", answering(said(Consoles((Name((), "gone"),)), dev))):
        assert [str(name) for name in client(folder).inactive_consoles(dev)] == ["dev:gone"]


def test_samples_are_read_as_they_come(folder: Path) -> None:
    sample = StatsSample(USAGE)
    answer = said(Said("subscribed"), ROOT) + said(sample, HELLO)
    with unix_server(folder / "stat.sock", answering(answer)):
        assert list(client(folder).statistics(ROOT, 2)) == [(HELLO, sample)]


# --- images and block devices --------------------------------------------------------------------


@pytest.mark.parametrize("compressed", [False, True])
def test_an_image_is_fetched_whole(folder: Path, compressed: bool) -> None:
    image = os.urandom(300_000) + bytes(3_000_000)
    sent = zlib.compress(image) if compressed else image
    with unix_server(folder / "vmmd.sock", answering(said(ImageData(compressed, sent)))):
        assert client(folder).image(HELLO, 9 if compressed else 0) == image


@pytest.mark.parametrize("sent", [ImageData(False, bytes(2_000_000)), ImageData(True, zlib.compress(bytes(2_000_000)))])
def test_an_image_that_is_larger_than_it_may_be_is_not_taken(folder: Path, sent: ImageData) -> None:
    with unix_server(folder / "vmmd.sock", answering(said(sent))), pytest.raises(MalformedAnswer):
        client(folder).image(HELLO, max_bytes=1_000_000)


@pytest.mark.parametrize("sent", [b"", b"no zlib", zlib.compress(b"x" * 100)[:-3], zlib.compress(b"x") + b"more"])
def test_an_image_that_is_not_compressed_as_it_says_is_not_taken(folder: Path, sent: bytes) -> None:
    with unix_server(folder / "vmmd.sock", answering(said(ImageData(True, sent)))), pytest.raises(MalformedAnswer):
        client(folder).image(HELLO)


def test_a_created_unikernel_has_the_image_in_its_request(folder: Path) -> None:
    got = []

    def behave(connection: socket.socket) -> None:
        got.append(wire.decode(frame_of(connection)))
        connection.sendall(said(Said("created unikernel")))

    config = UnikernelConfig(memory_mib=16, image=os.urandom(2_000_000))
    with unix_server(folder / "vmmd.sock", behave):
        client(folder).force_create(HELLO, config)
        client(folder).create(HELLO, config)
    assert got == [Message(HELLO, Create(config, force=True)), Message(HELLO, Create(config))]


def test_a_block_device_is_sent_in_chunks_and_ended(folder: Path) -> None:
    chunks: list[bytes] = []

    def behave(connection: socket.socket) -> None:
        frame_of(connection)
        while True:
            chunks.append(frame_of(connection))
            if not chunks[-1]:
                break
        connection.sendall(said(Said("set block device"), Name((), "data")))

    with unix_server(folder / "vmmd.sock", behave):
        assert client(folder).set_block(Name((), "data"), [b"one", b"", b"two"]) == "set block device"
    assert chunks == [b"one", b"two", b""]


def test_a_block_device_that_is_refused_early_is_told_with_the_servers_reason(folder: Path) -> None:
    def behave(connection: socket.socket) -> None:
        frame_of(connection)
        connection.sendall(said(Failure("set block: is in use"), Name((), "data")))

    with unix_server(folder / "vmmd.sock", behave), pytest.raises(Refused, match="is in use"):
        client(folder).set_block(Name((), "data"), (bytes(100_000) for _unused in range(200)))


@pytest.mark.parametrize("compressed", [False, True])
def test_a_block_device_is_dumped_to_its_end(folder: Path, compressed: bool) -> None:
    content = os.urandom(5_000) + bytes(100_000)
    sent = zlib.compress(content) if compressed else content
    frames: list[Data] = [BlockChunk(sent[at : at + 4096]) for at in range(0, len(sent), 4096)]
    answer = b"".join(said(one) for one in (BlockImage(compressed), *frames, BlockChunk(None)))
    with unix_server(folder / "vmmd.sock", answering(answer)):
        assert b"".join(client(folder).dump_block(HELLO, 6, 1_000_000)) == content


def test_a_dump_that_is_cut_is_not_taken_for_whole(folder: Path) -> None:
    answer = said(BlockImage(False)) + said(BlockChunk(b"half"))
    with unix_server(folder / "vmmd.sock", answering(answer)), pytest.raises(MalformedAnswer, match="in its middle"):
        list(client(folder).dump_block(HELLO, 0, 1_000_000))


# --- servers on their worse days -----------------------------------------------------------------


def test_a_socket_that_is_not_there_is_not_sent_to(folder: Path) -> None:
    with pytest.raises(NotSent, match="no such socket"):
        client(folder).unikernels()


def test_a_socket_that_its_daemon_left_behind_is_not_sent_to(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as abandoned:
        abandoned.bind(str(folder / "vmmd.sock"))
    with pytest.raises(NotSent, match="nobody listens"):
        client(folder).unikernels()


def test_a_queue_that_stays_full_ends_in_time(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(folder / "vmmd.sock"))
        busy.listen(0)
        waiting = [socket.socket(socket.AF_UNIX) for _unused in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(str(folder / "vmmd.sock"))
        with pytest.raises(NotSent, match="queue is full"):
            client(folder, patience=IMPATIENT).unikernels()
        for one in waiting:
            one.close()


def test_a_folder_with_a_long_path_is_reached(tmp_path: Path, folder: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    with unix_server(folder / "vmmd.sock", answering(said(Unikernels(), ROOT))):
        (folder / "vmmd.sock").rename(deep / "vmmd.sock")
        assert client(deep).unikernels() == ()


def times_out(folder: Path, behave: Behaviour) -> AnswerLost:
    began = time.monotonic()
    with unix_server(folder / "vmmd.sock", behave), pytest.raises(AnswerLost) as raised:
        client(folder, patience=IMPATIENT).force_create(HELLO, CONFIG)
    assert time.monotonic() - began < 5
    return raised.value


def test_a_server_that_never_answers_is_left_in_time(folder: Path) -> None:
    """The first of two simultaneous force creates of one name is never answered by the real one."""
    assert "did not answer in time. Whether the request was carried out is not known" in str(times_out(folder, silent))


def test_a_server_that_drips_its_answer_is_left_in_time(folder: Path) -> None:
    def behave(connection: socket.socket) -> None:
        frame_of(connection)
        drip(connection, said(Said("created unikernel")), 0.05)

    assert "in time" in str(times_out(folder, behave))


def test_a_server_that_stops_within_its_answer_is_left_in_time(folder: Path) -> None:
    def behave(connection: socket.socket) -> None:
        frame_of(connection)
        connection.sendall(said(Said("created unikernel"))[:-5])
        until_hung_up(connection)

    assert "in time" in str(times_out(folder, behave))


def test_a_server_that_takes_no_whole_request_has_not_carried_it_out(folder: Path) -> None:
    def behave(connection: socket.socket) -> None:
        exactly(connection, 100)
        time.sleep(1)

    began = time.monotonic()
    large = UnikernelConfig(memory_mib=16, image=bytes(8_000_000))
    with unix_server(folder / "vmmd.sock", behave), pytest.raises(NotSent, match="carried out nothing"):
        client(folder, patience=IMPATIENT).force_create(HELLO, large)
    assert time.monotonic() - began < 5


def test_half_a_block_device_is_a_lost_answer(folder: Path) -> None:
    """The real server takes a dropped connection for the end of the upload."""

    def behave(connection: socket.socket) -> None:
        exactly(connection, 100)
        time.sleep(1)

    with unix_server(folder / "vmmd.sock", behave), pytest.raises(AnswerLost):
        client(folder, patience=IMPATIENT).set_block(HELLO, [bytes(8_000_000)])


def test_a_silent_close_is_told_as_what_it_may_mean(folder: Path) -> None:
    with unix_server(folder / "vmmd.sock", answering()), pytest.raises(ClosedUnanswered, match="another generation"):
        client(folder).restart(HELLO)


def test_a_reset_is_a_lost_answer(folder: Path) -> None:
    def behave(connection: socket.socket) -> None:
        exactly(connection, 10)

    with unix_server(folder / "vmmd.sock", behave), pytest.raises(ClosedUnanswered):
        client(folder).restart(HELLO)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 400 Bad Request\r\n\r\n",
        wire.framed(b""),
        wire.framed(b"\x30\x00"),
        said(Said("created unikernel"))[:-3],
        said(Said("created unikernel"))[:3],
        said(ListUnikernels()),
        said(Unikernels()),
        said(BlockChunk(b"x")),
        said(Said("created unikernel"), Name((), "another")),
        wire.framed(wire.encode(Message(HELLO, Said("created unikernel"), sequence=7))),
        b"\x7f\xff\xff\xff" + bytes(1000),
    ],
    ids=range(11),
)
def test_an_answer_that_is_none_is_a_lost_answer(folder: Path, answer: bytes) -> None:
    with unix_server(folder / "vmmd.sock", answering(answer)), pytest.raises(MalformedAnswer):
        client(folder).restart(HELLO)


def test_a_failure_is_told_in_the_servers_words(folder: Path) -> None:
    answer = said(Failure("interface br-gone does not exist\x1b[2J\n" + "x" * 1000))
    with unix_server(folder / "vmmd.sock", answering(answer)), pytest.raises(Refused) as raised:
        client(folder).force_create(HELLO, CONFIG)
    assert "refused :hello: interface br-gone does not exist" in str(raised.value)
    assert len(str(raised.value)) < 500
    assert "\x1b" not in str(raised.value)
    assert raised.value.text.startswith("interface br-gone does not exist")


def test_a_stream_that_turns_to_garbage_is_told(folder: Path) -> None:
    answers = answering(said(Said("subscribed")), b"\xff" * 100)
    with unix_server(folder / "console.sock", answers), pytest.raises(MalformedAnswer):
        client(folder).console(HELLO, 10)


# --- generations ---------------------------------------------------------------------------------


def test_an_older_server_is_listed_in_its_own_words(folder: Path) -> None:
    asked = []

    def behave(connection: socket.socket) -> None:
        asked.append(wire.decode(frame_of(connection)).payload)
        if asked[-1] == ListUnikernels(Generation.V2_6):
            connection.sendall(said(Unikernels((NamedInfo(HELLO, INFO),), Generation.V2_6), ROOT))

    with unix_server(folder / "vmmd.sock", behave):
        one = client(folder, Generation.V2_6)
        assert one.unikernels() == one.unikernels() == (NamedInfo(HELLO, INFO),)
    assert asked == [ListUnikernels(Generation.V2_7), *2 * [ListUnikernels(Generation.V2_6)]]


def test_a_newer_server_than_configured_is_not_asked_what_would_kill_it(folder: Path) -> None:
    """A listing in older words is an uncaught exception of albatrossd once a unikernel has two CPUs."""
    asked = []

    def behave(connection: socket.socket) -> None:
        asked.append(wire.decode(frame_of(connection)).payload)
        connection.sendall(said(Unikernels(), Name((), "generation-of-this-server")))

    with unix_server(folder / "vmmd.sock", behave), pytest.raises(Unsendable, match=r"is of generation 2\.7, not 2\.5"):
        client(folder, Generation.V2_5).unikernels()
    assert asked == [ListUnikernels(Generation.V2_7)]
