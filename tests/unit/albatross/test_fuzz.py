# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The short form of ``make fuzz``: mutated frames against the codec, and proof that it would notice."""

from __future__ import annotations

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross import wire
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.messages import Message
from ansible_collections.unikernel.fleet.tests.fuzz import albatross_frames as fuzz


def test_mutated_frames_neither_crash_nor_hang_the_codec_nor_make_it_grow() -> None:
    first = fuzz.batch(seed=1, frames=2_000)
    result = fuzz.batch(seed=2, frames=8_000)
    assert result.frames == 8_000
    assert 400 < result.read < 7_000, "mutations that are all read, or all refused at once, look into nothing"
    assert result.peak_mib - first.peak_mib < fuzz.MOST_GROWTH_MIB


def test_a_codec_that_crashes_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = wire.decode

    def crashing(octets: bytes) -> Message:
        return sound(octets) if octets[4:5] != b"\x7f" else sound(octets[1000])  # type: ignore[arg-type]

    monkeypatch.setattr(wire, "decode", crashing)
    with pytest.raises(fuzz.Failed, match=r"seed 1, frame .*: IndexError"):
        fuzz.batch(seed=1, frames=20_000)


def test_a_codec_that_forgets_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = wire.encode
    monkeypatch.setattr(wire, "encode", lambda message: sound(Message(message.name, message.payload)))
    with pytest.raises(fuzz.Failed, match="does not come back"):
        fuzz.batch(seed=1, frames=20_000)
