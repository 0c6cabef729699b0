# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``state.json`` on disk: read strictly, written before the step that it announces is done."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..codec import Mismatch, decode, encode
from ..durable import make_folder, write_durably
from ..errors import StateError, StateTooNew, StateUnreadable
from ..layout import NodeLayout
from . import history
from .state import SCHEMA, Phase, State

_MOST_BYTES = 16 << 20


class Journal:
    """The state and the history of one unikernel. Only who holds its lock may write."""

    def __init__(self, layout: NodeLayout, name: str, reached: Callable[[str], None] = lambda step: None) -> None:
        self._layout = layout
        self._name = name
        self._reached = reached

    @property
    def exists(self) -> bool:
        """Also when it cannot be looked at: only a file that is certainly not there makes a unikernel new."""
        try:
            self._layout.state(self._name).stat()
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return True

    def read(self) -> State:
        """The state as written; a fresh one when there is none. Nothing is changed on disk."""
        path = self._layout.state(self._name)
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            # The history outlives a state that was moved away: its numbers go on.
            return State(name=self._name, salt=secrets.token_hex(16), event_count=self._last_seq())
        except OSError as error:
            raise StateUnreadable(_unreadable(path, error.strerror or str(error))) from error
        return parse(raw, path, self._name)

    def open(self) -> State:
        """Read, and put right what an interruption left: an older schema, events that the history lacks."""
        path = self._layout.state(self._name)
        state = self.read()
        # A state that was restored from a backup is older than its history.
        state = replace(state, event_count=max(state.event_count, self._last_seq()))
        if path.exists() and _schema_on_disk(path) != SCHEMA:
            self._keep_a_copy(path)
            self.write(state)
        self._complete_history(state)
        return state

    def write(self, state: State) -> None:
        """Replace the state durably, then add its events to the history. StateError: the old state stands."""
        path = self._layout.state(state.name)
        whole = self._last_seq()
        state = replace(state, events=tuple(event for event in state.events if event.seq > whole))
        content = json.dumps(encode(state), indent=1, sort_keys=True).encode("utf-8")
        self._reached(f"before writing {state.phase.value}")
        try:
            make_folder(path.parent)
            write_durably(path, content)
        except OSError as error:
            raise StateError(
                f"{state.name}: its state cannot be written to {path} ({error.strerror}). The state before stands. "
                "Make room on the disk or mend its permissions, then run again."
            ) from error
        self._reached(f"after writing {state.phase.value}")
        self._complete_history(state)

    def _last_seq(self) -> int:
        try:
            return history.last_seq(self._layout.history(self._name))
        except OSError:
            return 0  # A history that cannot be read must not hinder a rollback: its events wait in the state.

    def _complete_history(self, state: State) -> None:
        # The events stand in the state until the history has them; a full disk only delays this.
        with suppress(OSError):
            history.complete(self._layout.history(state.name), state.events)

    def _keep_a_copy(self, path: Path) -> None:
        older = path.with_name(f"state.schema-{_schema_on_disk(path)}.json")
        write_durably(older, path.read_bytes())


def parse(raw: bytes, path: Path, name: str) -> State:
    """The state from its bytes, migrated to the present schema in memory."""
    if len(raw) > _MOST_BYTES:
        raise StateUnreadable(_unreadable(path, f"it has {len(raw)} bytes, more than any state"))
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise StateUnreadable(_unreadable(path, f"it is not JSON: {error}")) from error
    if not isinstance(data, dict) or not isinstance(data.get("schema"), int):
        raise StateUnreadable(_unreadable(path, "it names no schema"))
    if data["schema"] > SCHEMA:
        raise StateTooNew(
            f"{path} was written by a newer collection (schema {data['schema']}, this one knows {SCHEMA}). It was left "
            "untouched. Use the newer unikernel.fleet for this node."
        )
    try:
        state = decode(State, migrated(data))
    except (Mismatch, KeyError, TypeError) as error:
        raise StateUnreadable(_unreadable(path, str(error))) from error
    if state.name != name:
        raise StateUnreadable(_unreadable(path, f"it is the state of {state.name!r}"))
    if (state.trial is None) != (state.phase is Phase.STABLE):
        raise StateUnreadable(_unreadable(path, f"its phase {state.phase.value} does not go with its trial"))
    return state


def migrated(data: dict[str, Any]) -> dict[str, Any]:
    """Data of the present schema from data of any older one."""
    while data["schema"] < SCHEMA:
        if data["schema"] not in MIGRATIONS:
            raise Mismatch(f"there is no way from schema {data['schema']} to {SCHEMA}")
        data = MIGRATIONS[data["schema"]](dict(data))
    return data


def _to_schema_2(data: dict[str, Any]) -> dict[str, Any]:
    """Rehearsals: a phase, a verdict and an outcome that schema 1 has no words for. What it has means the same."""
    return {**data, "schema": 2}


MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _to_schema_2}
"""From a schema to the next one."""


def _schema_on_disk(path: Path) -> Any:
    data = json.loads(path.read_bytes())
    return data.get("schema") if isinstance(data, dict) else None


def _unreadable(path: Path, why: str) -> str:
    if not os.access(path.parent, os.X_OK) or (path.exists() and not os.access(path, os.R_OK)):
        return (
            f"{path} cannot be read: {why}. Nothing was changed. It is for another user to read, root as a rule: say "
            "become: true."
        )
    return (
        f"{path} cannot be understood: {why}. Nothing was changed, and what runs was left running. Restore the file "
        "from a backup, or move it away: the unikernel is then adopted from what runs."
    )
