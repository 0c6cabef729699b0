# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan of one unikernel: what is declared of it against its build and what its node reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ..codec import decode, encode
from ..errors import InvalidDeclaration
from ..model import Configuration, secret_fields
from .fingerprint import absent, fingerprint_from_parts, public_part, secrets_digests
from .plan_entries import CHANGING, SWAPPING_IN, Declared, FieldChange, NodeReports, PlanAction, PlanEntry
from .plan_rehearsals import foreseen
from .proposal import Wanted, merged

_NOTHING_THERE: Mapping[str, Any] = {"known": True, "release": None, "salt": ""}


def planned(
    one: Declared,
    builds: Mapping[str, Mapping[str, Any]],
    running: NodeReports,
    silent_nodes: Mapping[str, str],
    elsewhere: Sequence[str],
) -> PlanEntry:
    if one.error is not None:
        return unknown(one, one.error)
    if one.node not in running:
        return unknown(one, silent_nodes.get(one.node) or f"its node {one.node} was not asked or did not answer")
    # A node reports every unikernel that it has a folder for, so one that is not reported is not there.
    report = running[one.node].get(one.name) or _NOTHING_THERE
    if not report.get("known"):
        return unknown(one, str(report.get("error") or "its state on the node is not known"))
    release = report.get("release") or report.get("adoptable")
    answer = _answer(one, builds, release)
    if isinstance(answer, str):
        return unknown(one, answer, release)
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
        return unknown(one, str(error), release)
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
    put_right = tuple(found for found in drift if found != report.get("unwatched"))
    action, reason, moved_from = _decided(
        one, report, release, sha256, target == present, changes, put_right, elsewhere, target
    )
    rehearsed = one.rehearse and one.wanted is Wanted.RUNNING and action in SWAPPING_IN
    unseen: Optional[str] = None
    if rehearsed:
        forbidden, unseen = foreseen(one.name, one.path, one.quarantine_bridge, public, report.get("rehearsal_room"))
        if forbidden:
            return unknown(one, f"it cannot be rehearsed on {one.node}: {'; '.join(forbidden)}", release)
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


def unknown(one: Declared, reason: str, release: Optional[Mapping[str, Any]] = None) -> PlanEntry:
    return PlanEntry(
        host=one.host,
        name=one.name,
        node=one.node,
        action=PlanAction.UNKNOWN,
        reason=reason,
        release=dict(release) if release else None,
    )
