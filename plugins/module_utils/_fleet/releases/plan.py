# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan: what is declared against what builds there are and what runs, decided in one pure pass.

It works on what the other machines reported (encoded releases without secrets), so it needs no lock and no node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Optional

from ..codec import decode, encode
from ..errors import InvalidDeclaration
from ..model import Configuration, secret_fields
from ..runtime.mac import derived_mac
from ..sources.protocol import Lookup
from .fingerprint import absent, fingerprint_from_parts, public_part, secrets_digests
from .plan_rehearsals import foreseen
from .proposal import Wanted, merged

UNKNOWN_NODE = "?"
"""Where a unikernel is declared whose declaration does not say it."""


class PlanAction(str, Enum):
    UNCHANGED = "unchanged"
    DEPLOY = "deploy"
    UPDATE = "update"
    RECONFIGURE = "reconfigure"
    ADOPT = "adopt"
    MOVE = "move"
    STOP = "stop"
    REMOVE = "remove"
    HELD = "held"
    UNKNOWN = "unknown"


CHANGING = (
    PlanAction.DEPLOY,
    PlanAction.UPDATE,
    PlanAction.RECONFIGURE,
    PlanAction.ADOPT,
    PlanAction.MOVE,
    PlanAction.STOP,
)
"""Actions that the deployment play carries out."""

SWAPPING_IN = (PlanAction.DEPLOY, PlanAction.UPDATE, PlanAction.RECONFIGURE, PlanAction.MOVE)
"""Actions by which a release comes to run that did not."""

UNSATISFIED = (PlanAction.HELD, PlanAction.UNKNOWN)
"""Actions after which what is declared is not so, and nothing was done about it."""


@dataclass(frozen=True)
class Declared:
    """One unikernel as the inventory declares it."""

    host: str
    """Its name in the inventory."""
    name: str
    """Its name on its node."""
    node: str
    wanted: Wanted = Wanted.RUNNING
    lookup: Lookup = field(default_factory=Lookup)
    lookup_key: Optional[str] = None
    """Its entry among the builds that were looked up; None when no source is needed."""
    configuration: dict[str, Any] = field(default_factory=dict, metadata={"secret": True})
    """The given fields, encoded."""
    retry_failed: bool = False
    rehearse: bool = False
    """Whatever is swapped in is rehearsed first."""
    path: str = ""
    """On albatross. It is part of the name from which MACs are derived."""
    quarantine_bridge: Optional[str] = None
    """On albatross, for rehearsals."""
    error: Optional[str] = None
    """Why its declaration cannot be read."""


@dataclass(frozen=True)
class FieldChange:
    """One option of the configuration that changes."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True)
class PlanEntry:
    """What is to be done about one unikernel."""

    host: Optional[str]
    """None for what is not declared (any more)."""
    name: str
    node: str
    action: PlanAction
    reason: str
    release: Optional[dict[str, Any]] = None
    """What is confirmed on the node."""
    build: Optional[dict[str, Any]] = None
    """What is declared, as the source knows it."""
    comparison: Optional[dict[str, Any]] = None
    comparison_state: str = "not_asked"
    configuration: tuple[FieldChange, ...] = ()
    inherited: tuple[str, ...] = ()
    drift: tuple[str, ...] = ()
    moved_from: Optional[str] = None
    rehearsed: bool = False
    """It is rehearsed before it is swapped in."""
    unseen: Optional[str] = None
    """Why no check that needs the network can be made in its rehearsal; None: all can, as far as is known."""
    unguarded: Optional[str] = None
    """Why nobody is sure to end its trial; None: its guard is."""


@dataclass(frozen=True)
class Plan:
    """All entries, in the order of the inventory."""

    entries: tuple[PlanEntry, ...]
    undeclared: tuple[PlanEntry, ...] = ()
    """What we run on a node that was asked and nobody declares; acted upon only on request."""
    frozen: Mapping[str, str] = field(default_factory=dict)
    """Nodes that refuse all changes at present, and what they say about it."""

    @property
    def changing(self) -> tuple[str, ...]:
        """Inventory names for the deployment play."""
        return tuple(e.host for e in self.entries if e.action in CHANGING and e.host is not None)

    @property
    def unsatisfied(self) -> tuple[PlanEntry, ...]:
        return tuple(e for e in self.entries if e.action in UNSATISFIED)

    @property
    def summary(self) -> dict[str, int]:
        """How many declared unikernels there are of each action, and how many others are to be removed."""
        counts = Counter(entry.action for entry in self.entries)
        counts[PlanAction.REMOVE] += sum(entry.action is PlanAction.REMOVE for entry in self.undeclared)
        return {action.value: counts[action] for action in PlanAction}


NodeReports = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Node to name to what ``report.report`` says; a node that did not answer is missing."""


def plan(
    declared: Sequence[Declared],
    builds: Mapping[str, Mapping[str, Any]],
    running: NodeReports,
    silent_nodes: Mapping[str, str],
    remove: bool = False,
    ignore_silent: bool = False,
) -> Plan:
    """Compare everything.

    ``builds``: answers of ``build_info`` by look-up key. ``silent_nodes``: why a node did not answer.
    ``remove``: what nobody declares is to be removed. ``ignore_silent``: what is not where it is declared is deployed
    there even if it may run on a node that did not answer.
    """
    wanted_at = {(d.node, d.name) for d in declared}
    leftover = {
        (node, name): report
        for node, reports in running.items()
        for name, report in reports.items()
        if (node, name) not in wanted_at and report.get("known") and report.get("release") is not None
    }
    places: dict[str, list[str]] = {}
    for node, name in leftover:
        places.setdefault(name, []).append(node)
    twice = {key for key, count in Counter((d.node, d.name) for d in declared).items() if count > 1}
    clashes = _clashes_of_macs(declared, running)
    entries = []
    for one in declared:
        elsewhere = places.get(one.name, [])
        clash = clashes.get((one.node, one.name))
        if (one.node, one.name) in twice:
            entry = _unknown(one, f"the inventory declares {one.name} more than once for {one.node}")
        elif clash is not None:
            entry = _unknown(one, clash)
        else:
            entry = _planned(one, builds, running, silent_nodes, elsewhere)
            if entry.action is PlanAction.DEPLOY and entry.release is None and not ignore_silent:
                entry = _unknown_if_it_may_run_elsewhere(one, entry, silent_nodes)
        if entry.moved_from is not None:
            leftover.pop((entry.moved_from, one.name), None)
        entries.append(entry)
    undeclared = tuple(
        PlanEntry(
            host=None,
            name=name,
            node=node,
            action=PlanAction.REMOVE if remove else PlanAction.UNCHANGED,
            reason="it runs and is not declared" + ("" if remove else "; it is removed only on request"),
            release=report.get("release"),
        )
        for (node, name), report in sorted(leftover.items())
    )
    return Plan(tuple(entries), undeclared)


def with_faults(plan: Plan, faults: Mapping[str, str]) -> Plan:
    """The same without the changes of these hosts, which cannot be made: host to the reason."""
    entries = tuple(
        entry if fault is None else replace(entry, action=PlanAction.UNKNOWN, reason=fault)
        for entry in plan.entries
        for fault in (faults.get(entry.host or ""),)
    )
    return replace(plan, entries=entries)


def with_frozen(plan: Plan, frozen: Mapping[str, str]) -> Plan:
    """The same, told of the nodes that refuse all changes. What changes stays in it: the node has the last word."""
    entries = tuple(
        replace(entry, reason=f"{entry.reason}; but changes on {at} are frozen") if at else entry
        for entry in plan.entries
        for at in (_frozen_place(entry, frozen),)
    )
    return replace(plan, entries=entries, frozen=dict(frozen))


def _frozen_place(entry: PlanEntry, frozen: Mapping[str, str]) -> Optional[str]:
    if entry.action not in CHANGING:
        return None
    return next((node for node in (entry.node, entry.moved_from) if node in frozen), None)


def _clashes_of_macs(declared: Sequence[Declared], running: NodeReports) -> dict[tuple[str, str], str]:
    """What forbids the unikernels that would have one MAC on one bridge with another: neither would be reached well."""
    holders: dict[tuple[str, str, str], list[str]] = {}
    for one in declared:
        if one.wanted is Wanted.ABSENT:
            continue
        release = (running.get(one.node, {}).get(one.name) or {}).get("release") or {}
        networks = one.configuration.get("networks", release.get("configuration", {}).get("networks")) or ()
        for network in networks:
            if isinstance(network, Mapping) and "name" in network and "bridge" in network:
                mac = str(network.get("mac") or derived_mac(str(network["name"]), one.name, one.path)).lower()
                holders.setdefault((one.node, str(network["bridge"]), mac), []).append(one.name)
    return {
        (node, name): f"on the bridge {bridge} of {node} the MAC {mac} is declared for {' and '.join(sorted(names))}; "
        "give one of them another (mac)"
        for (node, bridge, mac), names in holders.items()
        if len(names) > 1
        for name in names
    }


def _unknown_if_it_may_run_elsewhere(one: Declared, entry: PlanEntry, silent_nodes: Mapping[str, str]) -> PlanEntry:
    """Two copies of one service are worse than none of a new one: both would answer for the same address."""
    silent = sorted(node for node in silent_nodes if node != one.node)
    if not silent:
        return entry
    return _unknown(one, f"it is not on {one.node}, and {', '.join(silent)}, where it may run, did not answer")


_NOTHING_THERE: Mapping[str, Any] = {"known": True, "release": None, "salt": ""}


def _planned(
    one: Declared,
    builds: Mapping[str, Mapping[str, Any]],
    running: NodeReports,
    silent_nodes: Mapping[str, str],
    elsewhere: Sequence[str],
) -> PlanEntry:
    if one.error is not None:
        return _unknown(one, one.error)
    if one.node not in running:
        return _unknown(one, silent_nodes.get(one.node) or f"its node {one.node} was not asked or did not answer")
    # A node reports every unikernel that it has a folder for, so one that is not reported is not there.
    report = running[one.node].get(one.name) or _NOTHING_THERE
    if not report.get("known"):
        return _unknown(one, str(report.get("error") or "its state on the node is not known"))
    release = report.get("release") or report.get("adoptable")
    answer = _answer(one, builds, release)
    if isinstance(answer, str):
        return _unknown(one, answer, release)
    return _compared(one, report, release, answer, elsewhere)


def _answer(one: Declared, builds: Mapping[str, Mapping[str, Any]], release: Any) -> Any:
    """The build that is declared (None: the one that runs, or none is needed), or in words why it is not known."""
    if one.wanted is Wanted.ABSENT or (one.wanted is Wanted.STOPPED and release is not None):
        return None
    if one.lookup_key is None:
        return None if release is not None else "no source of builds is declared for it"
    answer = builds.get(one.lookup_key)
    if answer is not None and answer["verdict"] == "found":
        return answer
    if one.lookup.sha256 is not None and release is not None and release["image"]["sha256"] == one.lookup.sha256:
        return None  # It runs already: whether the source is reachable does not matter.
    if answer is None:
        return "its build was not looked up"
    return str(answer.get("error") or f"the source says: {answer['verdict']}")


def _compared(
    one: Declared,
    report: Mapping[str, Any],
    release: Optional[Mapping[str, Any]],
    answer: Optional[Mapping[str, Any]],
    elsewhere: Sequence[str],
) -> PlanEntry:
    salt = str(report["salt"])
    build = answer["build"] if answer else None
    before = release["configuration"] if release else encode(Configuration())
    try:
        public = _public_after(before, one.configuration)
    except InvalidDeclaration as error:
        return _unknown(one, str(error), release)
    digests = dict(release["secrets_digests"]) if release else secrets_digests(salt, encode(Configuration()))
    digests.update(secrets_digests(salt, one.configuration))
    sha256 = build["sha256"] if build else (release["image"]["sha256"] if release else "")
    running = one.wanted is Wanted.RUNNING
    target = absent(salt)
    if one.wanted is not Wanted.ABSENT:
        target = fingerprint_from_parts(salt, sha256, public, digests, running)
    present = absent(salt)
    if release is not None:
        present = fingerprint_from_parts(
            salt,
            release["image"]["sha256"],
            public_part(release["configuration"]),
            release["secrets_digests"],
            release["running"],
        )
    changes = _field_changes(before, public, release, digests) if one.wanted is not Wanted.ABSENT else ()
    drift = tuple(report.get("drift") or ())
    # It serves as ever, and a deployment would not touch it.
    put_right = tuple(one for one in drift if one != report.get("unwatched"))
    action, reason, moved_from = _decided(
        one, report, release, sha256, target == present, changes, put_right, elsewhere, target
    )
    rehearsed = one.rehearse and one.wanted is Wanted.RUNNING and action in SWAPPING_IN
    unseen: Optional[str] = None
    if rehearsed:
        forbidden, unseen = foreseen(one.name, one.path, one.quarantine_bridge, public, report.get("rehearsal_room"))
        if forbidden:
            return _unknown(one, f"it cannot be rehearsed on {one.node}: {'; '.join(forbidden)}", release)
    trial = report.get("trial")
    if trial is not None and action in CHANGING:
        reason += f"; a trial is open there, held by {trial['holder']['who']} since {trial['begun_at']}"
    return PlanEntry(
        host=one.host,
        name=one.name,
        node=one.node,
        action=action,
        reason=reason,
        release=dict(release) if release else None,
        build=dict(build) if build else None,
        comparison=answer.get("comparison") if answer and action is not PlanAction.UNCHANGED else None,
        comparison_state=str(answer.get("comparison_state")) if answer else "not_asked",
        configuration=changes,
        inherited=_inherited(one, public, digests, salt) if release else (),
        drift=drift,
        moved_from=moved_from,
        rehearsed=rehearsed,
        unseen=unseen,
        unguarded=report.get("unguarded") if action in CHANGING else None,
    )


def _decided(
    one: Declared,
    report: Mapping[str, Any],
    release: Optional[Mapping[str, Any]],
    sha256: str,
    equal: bool,
    changes: tuple[FieldChange, ...],
    drift: tuple[str, ...],
    elsewhere: Sequence[str],
    target: str,
) -> tuple[PlanAction, str, Optional[str]]:
    runs = one.wanted is Wanted.RUNNING
    hold = next(
        (h for h in report.get("held") or () if h["fingerprint"] == target or (runs and h.get("sha256") == sha256)),
        None,
    )
    if hold is not None and not one.retry_failed and not (equal and not drift):
        return PlanAction.HELD, f"held since {hold['at']}: {hold['reason']}", None
    if release is None:
        if one.wanted is Wanted.ABSENT:
            return PlanAction.UNCHANGED, "absent, as declared", None
        if len(elsewhere) == 1:
            return PlanAction.MOVE, f"it runs on {elsewhere[0]}", elsewhere[0]
        if elsewhere:
            return PlanAction.UNKNOWN, f"it runs on several other nodes: {', '.join(sorted(elsewhere))}", None
        return PlanAction.DEPLOY, "it is not there yet", None
    if report.get("release") is None:
        return PlanAction.ADOPT, "it runs, and there is no record of it", None
    if equal and not drift:
        return PlanAction.UNCHANGED, "as declared", None
    if one.wanted is not Wanted.RUNNING:
        return PlanAction.STOP, f"declared {one.wanted.value}", None
    if release["image"]["sha256"] != sha256:
        return PlanAction.UPDATE, "another build is declared", None
    if not release["running"]:
        return PlanAction.DEPLOY, "it is stopped", None
    if drift:
        return PlanAction.DEPLOY, "; ".join(drift), None
    return PlanAction.RECONFIGURE, ", ".join(change.name for change in changes), None


def _public_after(before: Mapping[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The encoded configuration after the change, as the node will have it, without its secrets."""
    running = decode(Configuration, public_part(before))
    return public_part(encode(merged(running, given)))


def _field_changes(
    before: Mapping[str, Any],
    public: Mapping[str, Any],
    release: Optional[Mapping[str, Any]],
    digests: Mapping[str, str],
) -> tuple[FieldChange, ...]:
    if release is None:
        return ()
    changes = [FieldChange(k, before.get(k), v) for k, v in sorted(public.items()) if before.get(k) != v]
    changes += [
        FieldChange(name, "hidden", "hidden, changed")
        for name, digest in sorted(digests.items())
        if release["secrets_digests"].get(name) != digest
    ]
    return tuple(changes)


def _inherited(one: Declared, public: Mapping[str, Any], digests: Mapping[str, str], salt: str) -> tuple[str, ...]:
    default = encode(Configuration())
    default_digests = secrets_digests(salt, default)
    names = [k for k, v in public.items() if k not in one.configuration and v != default[k]]
    names += [k for k in secret_fields() if k not in one.configuration and digests.get(k) != default_digests[k]]
    return tuple(sorted(names))


def _unknown(one: Declared, reason: str, release: Optional[Mapping[str, Any]] = None) -> PlanEntry:
    return PlanEntry(
        host=one.host,
        name=one.name,
        node=one.node,
        action=PlanAction.UNKNOWN,
        reason=reason,
        release=dict(release) if release else None,
    )
