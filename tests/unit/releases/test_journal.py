# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.codec import encode
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import (
    FleetError,
    StateError,
    StateTooNew,
    StateUnreadable,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases import history, journal
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.journal import Journal, parse
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.lock import exclusive
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import (
    SCHEMA,
    Event,
    Holder,
    Phase,
    State,
    Trial,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.steps import begun
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import locked
from ansible_collections.unikernel.fleet.tests.support.fleet_node import ME, FleetNode
from ansible_collections.unikernel.fleet.tests.support.real_node import AT_ONCE

NAME = "www"
STATE = State(NAME, "5a")


@pytest.fixture
def layout(tmp_path: Path) -> NodeLayout:
    return NodeLayout(tmp_path / "state")


@pytest.fixture
def written(layout: NodeLayout) -> Journal:
    opened = Journal(layout, NAME)
    opened.write(with_events(STATE, 2))
    return opened


def with_events(state: State, count: int) -> State:
    for number in range(count):
        trial = Trial(f"t{number}", None, Holder(), "then", "boot", 60.0)
        state = replace(begun(state, trial), phase=Phase.STABLE, trial=None)
    return state


def seqs(layout: NodeLayout) -> list[int]:
    return [event["seq"] for event in history.tail(layout.history(NAME), 10_000)]


def changed(**changes: Any) -> bytes:
    return json.dumps({**encode(STATE), **changes}).encode("utf-8")


WHOLE = changed()


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (WHOLE[: len(WHOLE) // 2], "it is not JSON"),
        (b"", "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"[]", "it names no schema"),
        (changed(schema="1"), "it names no schema"),
        (changed(schema=0), "no way from schema 0"),
        (changed(name="other"), "it is the state of 'other'"),
        (changed(colour="red"), "unknown 'colour'"),
        (changed(phase="asleep"), "'asleep' is none of"),
        (changed(phase="on_trial"), "its phase on_trial does not go with its trial"),
        (changed(next_number="2"), "State.next_number: int is needed"),
    ],
)
def test_a_state_that_cannot_be_understood_is_refused_and_left_untouched(
    layout: NodeLayout, raw: bytes, why: str
) -> None:
    path = layout.state(NAME)
    path.parent.mkdir(parents=True)
    path.write_bytes(raw)
    for attempt in (Journal(layout, NAME).read, Journal(layout, NAME).open):
        with pytest.raises(StateUnreadable) as refused:
            attempt()
        assert why in str(refused.value) and "what runs was left running" in str(refused.value)
    assert path.read_bytes() == raw
    assert os.listdir(path.parent) == ["state.json"]


def test_a_state_of_a_newer_collection_is_refused_and_left_untouched(layout: NodeLayout) -> None:
    path = layout.state(NAME)
    path.parent.mkdir(parents=True)
    path.write_bytes(changed(schema=SCHEMA + 1, colour="red"))
    with pytest.raises(StateTooNew, match=r"newer collection.*left untouched"):
        Journal(layout, NAME).open()
    assert path.read_bytes() == changed(schema=SCHEMA + 1, colour="red")


def test_a_state_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(StateUnreadable, match="more than any state"):
        parse(b" " * ((16 << 20) + 1), tmp_path, NAME)


@given(st.binary(max_size=300))
def test_garbage_never_is_a_traceback(raw: bytes) -> None:
    with pytest.raises(StateError):
        parse(raw, Path("state.json"), NAME)


@given(st.integers(0, len(WHOLE) - 1))
def test_a_cut_state_is_never_half_understood(length: int) -> None:
    with pytest.raises(StateUnreadable):
        parse(WHOLE[:length], Path("state.json"), NAME)


def test_a_file_that_cannot_be_looked_at_is_not_taken_for_a_new_unikernel(
    written: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: Any, **options: Any) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", refused)
        assert written.exists
    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", refused)
        with pytest.raises(StateUnreadable, match="Permission denied"):
            written.read()


def test_an_older_state_is_migrated_with_a_copy_kept(
    layout: NodeLayout, written: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = layout.state(NAME).read_bytes()
    monkeypatch.setattr(journal, "SCHEMA", SCHEMA + 1)
    monkeypatch.setitem(journal.MIGRATIONS, SCHEMA, lambda data: {**data, "schema": SCHEMA + 1, "next_number": 77})
    assert written.read().next_number == 77
    assert layout.state(NAME).read_bytes() == before, "looking migrates nothing on disk"
    assert written.open().next_number == 77
    assert layout.state(NAME).with_name(f"state.schema-{SCHEMA}.json").read_bytes() == before
    assert json.loads(layout.state(NAME).read_bytes())["schema"] == SCHEMA + 1


def test_a_state_of_schema_1_is_understood(layout: NodeLayout, written: Journal) -> None:
    """As it was written before there were rehearsals: nothing of them is in it."""
    path = layout.state(NAME)
    data = {**json.loads(path.read_bytes()), "schema": 1}
    trial = data.get("trial")
    if trial is not None:
        del trial["rehearsal"]
    path.write_text(json.dumps(data), encoding="utf-8")
    before = path.read_bytes()
    state = written.open()
    assert state.schema == SCHEMA and json.loads(path.read_bytes())["schema"] == SCHEMA
    assert state.trial is None or state.trial.rehearsal is None
    assert path.with_name("state.schema-1.json").read_bytes() == before


# --- history ----------------------------------------------------------------------------------------


def test_each_event_is_one_line_and_told_once(layout: NodeLayout, written: Journal) -> None:
    assert seqs(layout) == [1, 2]
    written.write(with_events(written.open(), 1))
    assert seqs(layout) == [1, 2, 3]
    assert len(json.loads(layout.state(NAME).read_bytes())["events"]) == 1, "told ones do not stay in the state"


def test_events_wait_in_the_state_while_the_history_cannot_be_written(layout: NodeLayout, written: Journal) -> None:
    path = layout.history(NAME)
    path.unlink()
    path.mkdir()
    written.write(with_events(written.open(), 1))
    path.rmdir()
    written.open()
    assert seqs(layout) == [1, 2, 3]


def test_an_event_whose_line_was_torn_by_a_power_cut_is_told_again(layout: NodeLayout, written: Journal) -> None:
    path = layout.history(NAME)
    path.write_bytes(path.read_bytes()[:-20])
    assert history.last_seq(path) == 1
    written.open()
    assert seqs(layout) == [1, 2]


def test_a_state_that_was_moved_away_or_restored_does_not_number_anew(layout: NodeLayout, written: Journal) -> None:
    old = layout.state(NAME).read_bytes()
    written.write(with_events(written.open(), 3))
    layout.state(NAME).write_bytes(old)
    assert written.open().event_count == 5
    layout.state(NAME).unlink()
    written.write(with_events(written.open(), 1))
    assert seqs(layout) == [1, 2, 3, 4, 5, 6]


def test_the_tail_is_bounded_and_passes_over_what_is_not_whole(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    assert (history.tail(path, 5), history.last_seq(path)) == ((), 0)
    history.complete(path, [Event(n, "now", "begun", "me", reason="x" * 1000) for n in range(1, 3001)])
    with path.open("ab") as stream:
        stream.write(b'["no event"]\n{"seq": "x"}\n{"seq": 3001')
    assert [event["seq"] for event in history.tail(path, 2)] == [2999, 3000]
    assert history.last_seq(path) == 3000
    assert history.tail(path, 0) == ()
    assert len(history.tail(path, 100_000)) < 1100


def test_an_event_longer_than_the_usual_look_is_found(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    history.complete(path, [Event(1, "now", "begun", "me", reason="x" * 200_000)])
    assert history.last_seq(path) == 1


# --- full disks -------------------------------------------------------------------------------------


class FullDisk:
    """Every write of the state fails from the given one on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, spared: int) -> None:
        self._write, self._spared = journal.write_durably, spared
        monkeypatch.setattr(journal, "write_durably", self)

    def __call__(self, path: Path, content: bytes) -> None:
        self._spared -= 1
        if self._spared < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._write(path, content)


@pytest.mark.parametrize("spared", range(4))
def test_on_a_disk_that_is_full_the_old_release_runs_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spared: int
) -> None:
    fleet = FleetNode(tmp_path)
    declare(fleet, "one")
    declaration = fleet.declaration("two")
    with monkeypatch.context() as patched:
        FullDisk(patched, spared)
        try:
            declare(fleet, declaration)
            failed = False
        except StateError as error:
            failed = True
            assert "No space left on device" in str(error) and "Make room" in str(error)
    state = fleet.node().journal(NAME).read()
    committed = state.phase is Phase.CONFIRMING or (state.current is not None and state.current.number == 2)
    assert failed == (spared < 3)
    assert fleet.running(NAME) == ("two" if committed else "one")
    declare(fleet, declaration)
    assert fleet.running(NAME) == "two", "with room again it goes on"


def declare(fleet: FleetNode, declaration: Any) -> None:
    if isinstance(declaration, str):
        declaration = fleet.declaration(declaration)
    with locked(fleet.node(), NAME, ME, 0.0) as transaction:
        transaction.declare(declaration, AT_ONCE, None)


def test_a_lock_that_cannot_be_made_is_an_error_of_the_state(layout: NodeLayout) -> None:
    layout.root.parent.mkdir(exist_ok=True)
    layout.root.write_text("no folder", encoding="utf-8")
    with pytest.raises(FleetError, match=r"the lock .* cannot be opened"):
        exclusive(layout.lock(NAME), "me", NAME, 0.0).__enter__()
