# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a node says of a unikernel: what runs, what is written, how the two differ. Looks, changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

from ..codec import encode
from ..drivers.albatross_place import Place
from ..errors import FleetError, Inhibited
from ..model import Instance, Release, RestartPolicy
from .fingerprint import secrets_digests
from .guarding import why_unguarded
from .node import Node, living
from .state import Phase, State, Trial


def known_names(node: Node) -> tuple[str, ...]:
    """Every unikernel that this node has a folder for."""
    try:
        return tuple(sorted(p.name for p in node.layout.unikernels.iterdir() if p.is_dir()))
    except FileNotFoundError:
        return ()


def node_report(
    node: Node, names: Optional[Sequence[str]] = None, history_lines: int = 0, console_lines: int = 0
) -> dict[str, Any]:
    """What ``unikernel_info`` says of a node: all of its unikernels, or those named, and the node itself."""
    wanted: Sequence[str]
    wanted = known_names(node) if names is None else names
    if names is None and node.places is not None:
        # What an albatross may run and nobody has deployed yet has no folder here.
        wanted = sorted({*wanted, *node.places.declared})
    rooms = Rooms(node)
    return {
        "unikernels": {name: rooms.added_to(report(node, name, history_lines, console_lines)) for name in wanted},
        "node": {"inhibited": _inhibited(node), "boot_id": node.clock.boot_id()},
    }


class Rooms:
    """What albatrosses have room for beside what runs: for plans, of those that are declared with a quarantine bridge,
    and each asked once."""

    def __init__(self, node: Node) -> None:
        self._places = node.places.declared if node.places is not None else {}
        self._found: dict[Place, dict[str, Any]] = {}

    def added_to(self, told: dict[str, Any]) -> dict[str, Any]:
        """The report of a unikernel with it; unknown where its albatross does not tell."""
        place = self._places.get(told["name"])
        if place is None or place.quarantine_bridge is None or not told["known"]:
            return told
        if place not in self._found:
            from ..drivers.albatross_rehearsal_room import room_of

            try:
                self._found[place] = encode(room_of(place, place.client()))
            except FleetError as error:
                return {"name": told["name"], "known": False, "error": str(error)}
        return {**told, "rehearsal_room": self._found[place]}


def _inhibited(node: Node) -> Optional[str]:
    try:
        node.refuse_if_inhibited()
    except Inhibited as refusal:
        return str(refusal)
    return None


def report(node: Node, name: str, history_lines: int = 0, console_lines: int = 0) -> dict[str, Any]:
    """All about one unikernel, without its secrets. A state that cannot be read is reported, never raised."""
    try:
        state = node.journal(name).read()
        what_runs = node.inspect(state)
    except FleetError as error:
        return {"name": name, "known": False, "error": str(error)}
    current = state.current
    instance = living(what_runs, current)
    result: dict[str, Any] = {
        "name": name,
        "known": True,
        "error": None,
        "phase": state.phase.value,
        "release": shown_release(state, current),
        "previous": shown_release(state, state.previous),
        "kept": [shown_release(state, release) for release in state.kept],
        "alive": instance is not None,
        "instances": [encode(i) for i in what_runs],
        "trial": shown_trial(state, state.trial),
        "last_trial": encode(state.ended),
        "held": [encode(hold) for hold in state.held],
        "drift": list(drift(node, state, what_runs)),
        "unwatched": why_unwatched(state, what_runs),
        "salt": state.salt,
        "unguarded": why_unguarded(node, name),
    }
    if current is None and state.phase is Phase.STABLE:
        try:
            result["adoptable"] = _adoptable(node, state, what_runs)
        except FleetError as error:
            return {"name": name, "known": False, "error": str(error)}
    if history_lines:
        from . import history

        result["history"] = list(history.tail(node.layout.history(name), history_lines))
    if console_lines:
        result["console"] = _console(node, state, console_lines)
    return result


def shown_release(state: State, release: Optional[Release]) -> Optional[dict[str, Any]]:
    """A release as it may be shown: secrets are hidden, but their digest lets a plan see whether they changed."""
    if release is None:
        return None
    shown: dict[str, Any] = encode(release, redact=True)
    shown["secrets_digests"] = secrets_digests(state.salt, encode(release.configuration))
    return shown


def shown_trial(state: State, trial: Optional[Trial]) -> Optional[dict[str, Any]]:
    if trial is None:
        return None
    return {
        "id": trial.id,
        "candidate": shown_release(state, trial.candidate),
        "holder": encode(trial.holder),
        "begun_at": trial.begun_at,
        "guarded": trial.guarded,
        "rehearsal": encode(trial.rehearsal),
        "verdict": encode(trial.verdict),
        "reason": trial.reason,
    }


def drift(node: Node, state: State, what_runs: Sequence[Instance]) -> tuple[str, ...]:
    """In which ways the machine is not as the recorded release says."""
    current = state.current
    found = []
    if state.phase is Phase.STRANDED:
        found.append("stranded: the release before a failed change could not be brought back")
    if state.phase is not Phase.STABLE:
        return tuple(found)
    if current is not None and current.running:
        found += _drift_of(current, what_runs)
    unwatched = why_unwatched(state, what_runs)
    if unwatched is not None:
        found.append(unwatched)
    expected = current.number if current is not None and current.running else None
    for one in (i for i in what_runs if i.alive and i.release != expected):
        found.append(f"release {one.release} runs and should not" if one.altered is None else one.altered)
    if current is not None and not node.store.holds(current.image.sha256):
        found.append("its image is not in the store any more")
    return tuple(found)


def why_unwatched(state: State, what_runs: Sequence[Instance]) -> Optional[str]:
    """That nobody keeps the current release, which serves as ever: so it is drift that is shown, and no change is made
    for it. A restart would be an outage, and nobody asked for one."""
    instance = living(what_runs, state.current)
    if instance is None or instance.watched or state.current is None or state.phase is not Phase.STABLE:
        return None
    restarted = state.current.configuration.restart is not RestartPolicy.NEVER
    return (
        "it runs, and its waiter was killed: nobody sees how it ends"
        f"{', restarts it at once then,' if restarted else ''} or keeps its console from growing. It was left running; "
        "the next update has it watched again, or a stop and a start (deploy it with unikernel_state=stopped, then as "
        "it is declared)"
    )


def _drift_of(current: Release, what_runs: Sequence[Instance]) -> list[str]:
    instance = living(what_runs, current)
    if instance is not None:
        return [] if instance.serving else ["it runs, but off its bridge"]
    mine = [i for i in what_runs if i.release == current.number]
    unreachable = next((i.unreachable for i in mine if i.alive and i.unreachable), None)
    if unreachable is not None:
        return [f"it cannot be reached: {unreachable}"]
    altered = next((i.altered for i in mine if i.alive and i.altered), None)
    if altered is not None:
        return [altered]
    ended = next((i.exit.meaning for i in mine if i.exit), None)
    return ["it does not run" + (f": {ended}" if ended else "")]


def _adoptable(node: Node, state: State, what_runs: Sequence[Instance]) -> Optional[dict[str, Any]]:
    """What runs and is not ours yet: without a state, or started by others where they start things as well."""
    lost = bool(what_runs) and not node.journal(state.name).exists
    for driver in node.drivers_of(state):
        if lost or driver.capabilities.shared:
            found = driver.discovered(state.name, state.next_number)
            if found is not None:
                return shown_release(state, found)
    return None


def _console(node: Node, state: State, lines: int) -> list[str]:
    release = state.trial.candidate if state.trial is not None and state.trial.candidate else state.current
    if release is None:
        return []
    try:
        text = node.driver_for(release).console(state.name, release.number, lines)
    except FleetError as error:
        return [f"(the console cannot be read: {error})"]
    from . import evidence

    return evidence.redacted(text, release)
