# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The codec against the octets of the real albatross: all of them are read, and written again as they were."""

from __future__ import annotations

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross import wire
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.errors import Malformed
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.messages import (
    AddConsole,
    AddPolicy,
    ConsoleLine,
    Create,
    Done,
    Failure,
    ImageData,
    ListUnikernels,
    Message,
    Policies,
    Restart,
    Said,
    SubscribeConsole,
    Unikernels,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import ROOT, Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import (
    FailBehaviour,
    NetworkInfo,
    NetworkUse,
    Policy,
    UnikernelArguments,
    moment,
)
from ansible_collections.unikernel.fleet.tests.support.albatross_captures import (
    EXTENSION,
    NOT_OF_THE_PROTOCOL,
    REPLY,
    REQUEST,
    TLS_GOT,
    TLS_SENT,
    Capture,
    capture,
    captures,
    described,
)

FRAMED = [one for one in captures(REQUEST, REPLY, TLS_GOT, TLS_SENT) if one.name not in NOT_OF_THE_PROTOCOL]
TIMES_WITH_TRAILING_ZEROS = ("07-console-subscribe", "54-console-boot64")


def messages(name: str, part: str) -> list[Message]:
    return [wire.decode(frame) for frame in capture(name, part).frames() if frame]


def test_the_recorded_octets_are_there() -> None:
    assert len(FRAMED) > 100
    assert sum(len(one.frames()) for one in FRAMED) > 130
    assert sum(len(described(one)) for one in FRAMED) > 100


@pytest.mark.parametrize("one", FRAMED, ids=str)
def test_each_frame_is_read_and_written_again_as_it_was(one: Capture) -> None:
    written = b"".join(wire.framed(wire.encode(wire.decode(frame)) if frame else b"") for frame in one.frames())
    assert written == one.octets


@pytest.mark.parametrize("one", list(captures(EXTENSION)), ids=str)
def test_each_request_in_a_certificate_is_read_and_written_again_as_it_was(one: Capture) -> None:
    assert wire.encode_extension(wire.decode_extension(one.octets)) == one.octets


@pytest.mark.parametrize("one", FRAMED, ids=str)
def test_frames_are_read_as_the_real_client_reads_them(one: Capture) -> None:
    frames = [frame for frame in one.frames() if frame]
    for frame, told in zip(frames, described(one)):
        message = wire.decode(frame)
        assert (len(frame), message.sequence, str(message.name)) == (told.length, told.sequence, told.name)
        if isinstance(message.payload, Said):
            assert told.text.endswith(f"success: {message.payload.text}")
        if isinstance(message.payload, Failure):
            assert told.text.endswith(f"command failed {message.payload.text}")
        if isinstance(message.payload, ConsoleLine):
            at = moment(message.payload.time).strftime("%Y-%m-%dT%H:%M:%S-00:00")
            assert told.text == f"console {at}: {message.payload.line}".replace("\\", "\\\\")


@pytest.mark.parametrize("name", sorted(NOT_OF_THE_PROTOCOL))
def test_what_the_real_server_closes_unanswered_is_refused_here_too(name: str) -> None:
    octets = capture(name, REQUEST).octets
    assert capture(name, REPLY).octets == b""
    with pytest.raises(Malformed):
        wire.announced(octets[:4], wire.LONGEST_REPLY)
        wire.decode(octets[4:])


def test_a_listing_is_read_with_all_it_tells() -> None:
    (message,) = messages("01-info-empty", REQUEST)
    assert message == Message(ROOT, ListUnikernels())
    (message,) = messages("22-info-after-21", REPLY)
    assert isinstance(message.payload, Unikernels)
    fresh, world = message.payload.entries
    assert str(fresh.name) == ":fresh"
    assert world.name == Name(("dev",), "world")
    assert world.info.digest.hex() == "5a2316e14a67df48d57122add66224fbe91acf99d195637afc127f940b5ec697"
    assert world.info.networks == (NetworkInfo("service", "br-alb", "02:00:00:00:00:03"),)
    assert world.info.fail_behaviour == FailBehaviour(restart=True)
    assert (world.info.startup, world.info.cpus, world.info.memory_mib) == (10, (1,), 32)
    assert world.info.arguments == ("--ipv4=10.78.0.3/24",)
    assert world.info.started is not None
    assert moment(world.info.started).isoformat().startswith("2026-11-22T03:02:10")


def test_commands_are_read_with_all_they_ask() -> None:
    (message,) = messages("24-raw-force-create-garbage-image", REQUEST)
    assert isinstance(message.payload, Create)
    config = message.payload.config
    assert (message.payload.force, len(config.image), config.compressed, config.add_name) == (True, 5000, False, True)
    assert config.networks == (NetworkUse("service", "br-alb"),)
    (message,) = messages("29-restart-with-args", REQUEST)
    assert message.payload == Restart(
        UnikernelArguments(
            memory_mib=20,
            cpus=(1,),
            networks=(NetworkUse("service", "br-alb"),),
            arguments=("--ipv4=10.78.0.9/24",),
        )
    )
    (message,) = messages("13-add-policy-dev", REQUEST)
    assert message == Message(Name(("dev",)), AddPolicy(Policy((0, 1), 2, 128, ("br-alb",), 64)))
    (message,) = messages("07-console-subscribe", REQUEST)
    assert message.payload == SubscribeConsole(count=20)
    (message,) = messages("50-raw-console-cmd-to-vmmd", REQUEST)
    assert message.payload == AddConsole(5)
    (message,) = messages("49-raw-success-as-request", REQUEST)
    assert message.payload == Done()


def test_policies_are_read_with_the_path_that_they_are_for() -> None:
    (message,) = messages("t10-tls-policy-info", TLS_GOT)
    assert isinstance(message.payload, Policies)
    root, dev = message.payload.entries
    assert (root.name, root.policy.unikernels) == (ROOT, 2**62 - 1)
    assert dev.name == Name(("dev",))
    assert dev.policy == Policy((0, 1), 3, 128, ("br-alb",), None)


def test_times_keep_their_trailing_zeros() -> None:
    """About one in ten has them, and strict DER readers refuse it."""
    lines = [m.payload for name in TIMES_WITH_TRAILING_ZEROS for m in messages(name, REPLY)]
    ending = [line.time for line in lines if isinstance(line, ConsoleLine) and line.time.endswith("0Z")]
    assert ending
    assert all(wire.decode(wire.encode(Message(ROOT, ConsoleLine(time, "x")))).payload.time == time for time in ending)  # type: ignore[union-attr]


def test_an_image_that_was_streamed_is_absent_from_the_certificate() -> None:
    command = wire.decode_extension(capture("t05-tls-force-create-image-streamed", EXTENSION).octets)
    assert isinstance(command, Create)
    assert (command.force, command.config.image) == (True, b"")


def test_what_is_announced_longer_than_it_may_be_is_not_read() -> None:
    with pytest.raises(Malformed, match="1195725856"):
        wire.announced(capture("46-raw-http", REQUEST).octets[:4], wire.LONGEST_REPLY)


def test_images_have_no_place_in_what_is_shown() -> None:
    assert "deadbeef" not in repr(ImageData(False, b"deadbeef"))
