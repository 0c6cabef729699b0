# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The codec by itself: what goes out comes back, what is not of the protocol is refused, and all of it is bounded."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import pytest
from hypothesis import given

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross import der, structures, wire
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.errors import Malformed, Unsendable
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.messages import (
    AddPolicy,
    Command,
    ConsoleLine,
    Create,
    Destroy,
    DumpBlock,
    GetImage,
    ImageData,
    ListUnikernels,
    Message,
    Restart,
    Said,
    Unikernels,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import ROOT, Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import (
    Generation,
    NamedInfo,
    NetworkUse,
    Policy,
    UnikernelArguments,
    UnikernelConfig,
    UnikernelInfo,
    generalized,
    moment,
)
from ansible_collections.unikernel.fleet.tests.support.albatross_values import COMMANDS, MESSAGES, TIMES

HELLO = Name((), "hello")
SETS = ("codes", "blocks", "networks")


def alike(value: Any) -> Any:
    """A value as its octets tell it: sets sorted, and the form of a restart without arguments left open."""
    if isinstance(value, Restart) and value.arguments is None:
        return Restart()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        inner = {f.name: alike(getattr(value, f.name)) for f in dataclasses.fields(value)}
        for name in SETS + (() if isinstance(value, Policy) else ("cpus",)):
            if isinstance(inner.get(name), tuple):
                inner[name] = tuple(sorted(inner[name], key=repr))
        return type(value), tuple(inner.items())
    return tuple(alike(item) for item in value) if isinstance(value, tuple) else value


@given(MESSAGES)
def test_every_message_comes_back_as_it_went_out(message: Message) -> None:
    octets = wire.encode(message)
    back = wire.decode(octets)
    assert alike(back) == alike(message)
    assert wire.encode(back) == octets


@given(COMMANDS)
def test_every_command_comes_back_from_a_certificate(command: Command) -> None:
    assert alike(wire.decode_extension(wire.encode_extension(command))) == alike(command)


@given(MESSAGES)
def test_no_message_is_read_from_a_part_of_its_octets(message: Message) -> None:
    octets = wire.encode(message)
    for cut in (0, 1, len(octets) // 2, len(octets) - 1):
        with pytest.raises(Malformed):
            wire.decode(octets[:cut])
    with pytest.raises(Malformed):
        wire.decode(octets + b"\0")


# --- what is refused when it is read -------------------------------------------------------------


def message_with(payload: bytes, header: bytes = bytes.fromhex("3010020105040800000000000000000c013a")) -> bytes:
    return der.element(0x30, header + payload)


def within(*identifiers: int, content: bytes = b"") -> bytes:
    """Octets in envelopes, the outermost first."""
    for identifier in reversed(identifiers):
        content = der.element(identifier, content)
    return content


@pytest.mark.parametrize(
    ("payload", "complaint"),
    [
        (bytes.fromhex("a006a304b3020501"), "payload: cut, or not DER"),
        (bytes.fromhex("a080a304b30205000000"), "not in its shortest form"),
        (bytes.fromhex("a08106a304b3020500"), "not in its shortest form"),
        (bytes.fromhex("bf2106a304b3020500"), "not in its shortest form"),
        (within(0xA0, 0xA3, 0xB3, 0x05) + within(0x05), "more than 2 values"),
        (within(0xA1, 0xA1, 0xB3, 0x05), "payload: the tag 0xb3 does not belong here"),
        (within(0xA7, 0xA3, 0xB3, 0x05), "payload is not what belongs there"),
        (within(0xA0, 0xA2, 0x05), "payload: the tag 0xa2 does not belong here"),
        (within(0xA0), "nothing where a value belongs"),
        (within(0xA0, 0xA3, content=within(0xB3, 0x05) + within(0x05)), "more than 1 value"),
        (within(0xA0, 0xA3, 0xB3, 0x05, content=b"x"), "a NULL that holds something"),
        (within(0xA0, 0xA5, 0xA7, 0x01, content=b"\0\0"), "a BOOLEAN that is not one octet"),
        (within(0xA0, 0xA3, 0xAB, 0x02, content=b"\0\5"), "an INTEGER that is not in its shortest form"),
        (within(0xA0, 0xA3, 0xAB, 0x02, content=b"\xff\xff"), "an INTEGER that is not in its shortest form"),
        (within(0xA0, 0xA3, 0xAB, 0x02), "an INTEGER of no octets"),
        (within(0xA0, 0xA3, 0xAB, 0x02, content=bytes(9)), "of more than 62 bits"),
        (within(0xA0, 0xA3, 0xAB, 0x02, content=b"\x7f" + bytes(7)), "is not from"),
        (within(0xA0, 0xA0, 0xA2, 0xA0, 0x18, content=b"20261122030201"), "is no time"),
        (within(0xA1, 0xA1, 0x2C, 0x0C, content=b"in parts"), "the tag 0x2c does not belong here"),
        (within(0xA3, 0xA3, 0x30, 0x18, content=b"20261122030201Z"), "payload: line is missing"),
        (within(0xA1, 0xAD, 0x30, 0x30, 0x0C, content=b":a"), r"payload: \[0\]: info is missing"),
    ],
)
def test_what_is_not_of_the_protocol_is_refused_with_its_place(payload: bytes, complaint: str) -> None:
    with pytest.raises(Malformed, match=complaint):
        wire.decode(message_with(payload))


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        ("3010020104040800000000000000000c013a", "header: version: version 4 of the protocol; only 5"),
        ("300f0201050407000000000000000c013a", "header: sequence: 7 octets"),
        ("3012020105040800000000000000000c033a3a78", "header: name: '' is no label"),
        ("300f020105040800000000000000000c00", "header: name: '' is no name"),
        ("3010020105040800000000000000000c015f", "header: name: '_' is no label"),
        ("300d02010504080000000000000000", "header: name is missing"),
    ],
)
def test_a_header_that_is_none_is_refused(header: str, complaint: str) -> None:
    with pytest.raises(Malformed, match=complaint):
        wire.decode(message_with(bytes.fromhex("a006a304b3020500"), bytes.fromhex(header)))


def test_a_surplus_or_missing_field_is_named() -> None:
    config = wire.encode_extension(Create(UnikernelConfig(image=b"x")))
    assert isinstance(wire.decode_extension(config), Create)
    short = bytearray(config)
    short[short.index(b"\x01\x01\xff")] = 0x05
    with pytest.raises(Malformed, match="add_name is not what belongs there"):
        wire.decode_extension(bytes(short))


def test_lists_and_texts_are_bounded() -> None:
    entries = der.element(0x30, b"".join(der.element(0x0C, b":a") for _unused in range(structures.LONGEST_LIST + 1)))
    with pytest.raises(Malformed, match="more than 16384 values"):
        wire.decode(message_with(der.element(0xA1, der.element(0xAC, entries))))
    with pytest.raises(Malformed, match="at most 65536 are read"):
        wire.decode(message_with(der.element(0xA1, der.element(0xA1, der.element(0x0C, bytes(65_537))))))
    with pytest.raises(Unsendable, match="at most 65536 are sent"):
        wire.encode(Message(ROOT, Said("x" * 65_537)))


def test_a_long_list_of_short_values_is_read_in_time_that_grows_with_it() -> None:
    """What is copied for each of them must not be all that follows."""

    def seconds(number: int) -> float:
        octets = der.element(0x05, b"") * number
        began = time.process_time()
        assert len(der.elements(octets, number)) == number
        return time.process_time() - began

    seconds(10_000)
    assert seconds(400_000) < 40 * max(seconds(40_000), 0.01)


def test_an_image_of_many_mebibytes_comes_back() -> None:
    image = bytes(range(256)) * 65_536
    payload = wire.decode(wire.encode(Message(HELLO, ImageData(False, image)))).payload
    assert isinstance(payload, ImageData)
    assert payload.image == image


# --- what is refused when it is written ----------------------------------------------------------


@pytest.mark.parametrize("level", [-1, 10, 2**40])
@pytest.mark.parametrize("command", [GetImage, DumpBlock])
def test_a_level_that_kills_the_server_cannot_be_written(command: Any, level: int) -> None:
    with pytest.raises(Unsendable, match="kills albatrossd"):
        wire.encode(Message(HELLO, command(level)))


def test_a_level_that_kills_the_server_can_be_read() -> None:
    """So that a double can die of it."""
    octets = wire.encode(Message(HELLO, GetImage(9)))
    assert octets.endswith(b"\x02\x01\x09")
    assert wire.decode(octets[:-1] + b"\x0a").payload == GetImage(10)


@pytest.mark.parametrize(
    ("told", "form", "complaint"),
    [
        ({"cpus": (0, 1)}, Generation.V2_6, "exactly one"),
        ({"cpus": ()}, Generation.V2_5, "exactly one"),
        ({"startup": 10}, Generation.V2_5, "startup: 10 cannot be said"),
        ({"vcpus": 2}, Generation.V2_6, "vcpus: 2 cannot be said"),
        ({"linux_boot": "boot"}, Generation.V2_5, "linux_boot"),
        ({"networks": (NetworkUse("service", mac="00:80:41"),)}, Generation.V2_7, "is no MAC address"),
        ({"memory_mib": 2**62}, Generation.V2_7, "memory_mib: .* is no integer"),
        ({"arguments": ("\ud800",)}, Generation.V2_7, "lone surrogate"),
    ],
)
def test_what_a_generation_has_no_words_for_is_refused(told: Any, form: Generation, complaint: str) -> None:
    for command in (Create(UnikernelConfig(**told), form=form), Restart(UnikernelArguments(**told), form)):
        with pytest.raises(Unsendable, match=complaint):
            wire.encode(Message(HELLO, command))


def test_a_server_of_the_first_generation_is_not_told_about_names() -> None:
    """It never adds one, so either wish is met as well as it can be."""
    for wish in (True, False):
        assert wire.encode(Message(HELLO, Create(UnikernelConfig(add_name=wish), form=Generation.V2_5)))


def test_the_forms_have_their_own_tags() -> None:
    octets = [wire.encode(Message(ROOT, ListUnikernels(form)))[-4:] for form in Generation]
    assert octets == [within(tag, 0x05) for tag in (0xAF, 0xB2, 0xB3)]


def test_a_listing_that_the_endpoint_of_the_first_generation_has_passed_on() -> None:
    """As a real albatross-tls-endpoint 2.5.1 sent it: it takes its daemon's listing for one of 2.4."""
    octets = bytes.fromhex(
        "3081a93010020105040800000000000000000c013aa18194a8819130818e30818b0c063a68656c6c6f308180a0020500a002050002010002"
        "012004204d1e3cb7b4d24098aae08eac1282d94f672d94841e19488437063d5a16f0832ba11e311c301a0c07736572766963650c07736572"
        "766963650406008041cd8aeba21730150c132d2d697076343d3139322e302e322e392f3234a315181332303236313132323132303631342e"
        "3234385a"
    )
    read = wire.decode(octets)
    assert isinstance(read.payload, Unikernels) and (read.payload.form, read.payload.relayed) == (Generation.V2_5, True)
    (entry,) = read.payload.entries
    assert (entry.name, entry.info.memory_mib, entry.info.arguments) == (HELLO, 32, ("--ipv4=192.0.2.9/24",))
    assert [network.bridge for network in entry.info.networks] == ["service"]
    assert wire.encode(read) == octets


def test_sets_are_sent_sorted_and_once() -> None:
    one = wire.encode(Message(HELLO, Create(UnikernelConfig(cpus=(3, 0, 3)))))
    assert one == wire.encode(Message(HELLO, Create(UnikernelConfig(cpus=(0, 3)))))


def test_a_frame_longer_than_the_server_reads_is_not_made() -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return 2**31

    with pytest.raises(Unsendable, match="do not fit"):
        wire.framed(Huge())


# --- names and times -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "canonical"),
    [
        (":", ROOT, ":"),
        ("hello", HELLO, ":hello"),
        (":hello", HELLO, ":hello"),
        ("dev:", Name(("dev",)), "dev:"),
        (":dev:", Name(("dev",)), "dev:"),
        ("dev:world", Name(("dev",), "world"), "dev:world"),
        ("a:b:c", Name(("a", "b"), "c"), "a:b:c"),
    ],
)
def test_names_are_read_and_written_canonically(text: str, name: Name, canonical: str) -> None:
    assert Name.parse(text) == name
    assert str(name) == canonical
    assert wire.decode(wire.encode(Message(name, Destroy()))).name == name


@pytest.mark.parametrize("text", ["", "::", "::x", "-a", "a_b", "ä", "x" * 64, "a:" * 40 + "b", "a\n"])
def test_what_the_server_closes_on_is_no_name(text: str) -> None:
    with pytest.raises(Exception, match=r"is no (name|label)|labels; at most|is no name") as raised:
        Name.parse(text)
    assert type(raised.value).__name__ == "InvalidDeclaration"


@given(TIMES)
def test_times_are_kept_to_the_last_zero(text: str) -> None:
    back = wire.decode(wire.encode(Message(ROOT, ConsoleLine(text, "x")))).payload
    assert isinstance(back, ConsoleLine)
    assert back.time == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("20261122030201Z", "2026-11-22T03:02:01+00:00"),
        ("20261122030201.610Z", "2026-11-22T03:02:01.610000+00:00"),
        ("20261122030201.000Z", "2026-11-22T03:02:01+00:00"),
        ("20261122030201+0130", "2026-11-22T01:32:01+00:00"),
        ("20261122030201-0130", "2026-11-22T04:32:01+00:00"),
    ],
)
def test_times_are_understood(text: str, told: str) -> None:
    assert moment(text).isoformat() == told
    assert moment(generalized(moment(text))) == moment(text).replace(microsecond=0)


@pytest.mark.parametrize("text", ["20261122030201", "2026112203020Z", "20261122030201.Z", "20261122030201.1234Z", "x"])
def test_what_tells_no_time_is_neither_read_nor_written(text: str) -> None:
    with pytest.raises(Unsendable):
        wire.encode(Message(ROOT, ConsoleLine(text, "x")))
    line = der.element(0x30, der.element(0x18, text.encode()) + der.element(0x0C, b"x"))
    with pytest.raises(Malformed, match="time"):
        wire.decode(message_with(der.element(0xA3, der.element(0xA3, line))))


def test_a_hundred_unikernels_with_all_their_details_come_back() -> None:
    info = UnikernelInfo(memory_mib=32, digest=bytes(32), cpus=(0, 1), arguments=("--ipv4=10.0.0.2/24",))
    listing = Unikernels(tuple(NamedInfo(Name(("dev",), f"u{number}"), info) for number in range(100)))
    assert wire.decode(wire.encode(Message(ROOT, listing))).payload == listing


def test_a_policy_keeps_the_order_of_its_lists() -> None:
    policy = Policy((1, 0), 2, 64, ("b", "a"), None)
    assert wire.decode_extension(wire.encode_extension(AddPolicy(policy))) == AddPolicy(policy)
