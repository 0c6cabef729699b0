# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What runs, per unikernel: one block of lines for a person, one mapping for a program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Optional

from ..releases.plan_entries import Declared
from ..releases.proposal import Wanted
from .node_answers import NodeAnswers


@dataclass(frozen=True)
class Status:
    """One unikernel as its node reports it."""

    name: str
    node: str
    trouble: Optional[str]
    """What is not as it should be; None when all is well."""
    report: Optional[Mapping[str, Any]] = None

    def as_data(self) -> dict[str, Any]:
        return asdict(self)


def status_of(declared: Sequence[Declared], answers: NodeAnswers) -> list[Status]:
    """In the order of the inventory, then what runs undeclared."""
    found = []
    seen = set()
    for one in declared:
        report = answers.reports.get(one.node, {}).get(one.name)
        seen.add((one.node, one.name))
        found.append(Status(one.name, one.node, _trouble(one, report, answers), report))
    declared_at = {one.name: one.node for one in declared}
    for node, reports in sorted(answers.reports.items()):
        for name, report in sorted(reports.items()):
            if (node, name) not in seen and report.get("release") is not None:
                home = declared_at.get(name)
                trouble = f"it is declared on {home}, and is here as well" if home and report.get("alive") else None
                found.append(Status(name, node, trouble, report))
    return found


def status_text(status: Sequence[Status], frozen: Mapping[str, str]) -> str:
    """``frozen``: nodes that refuse all changes, and what they say about it."""
    lines = [f"! {node}: {why}" for node, why in sorted(frozen.items())]
    lines += [line for one in status for line in _lines(one)]
    if not status:
        lines.append("No unikernel is declared, and none is known on the nodes that were asked.")
    return "\n".join(lines) + "\n"


def _trouble(one: Declared, report: Optional[Mapping[str, Any]], answers: NodeAnswers) -> Optional[str]:
    if one.error is not None:
        return one.error
    if one.node not in answers.reports:
        return answers.silent.get(one.node) or f"its node {one.node} was not asked"
    if report is not None and not report.get("known"):
        return str(report.get("error"))
    release = report.get("release") if report else None
    if release is None:
        return None if one.wanted is Wanted.ABSENT else "it is not there"
    return "; ".join(report["drift"]) if report and report["drift"] else None


def _lines(one: Status) -> Iterator[str]:
    report = one.report or {}
    release = report.get("release")
    mark = "!" if one.trouble else "="
    if release is None:
        yield f"{mark} {one.name} on {one.node}: {one.trouble or 'absent'}"
    else:
        build = release["build"]
        what = f"{build.get('job') or '?'} {(build.get('id') or '?')[:8]}, sha256 {release['image']['sha256'][:12]}"
        state = "runs" if report.get("alive") else "does not run" if release["running"] else "is stopped"
        yield f"{mark} {one.name} on {one.node}: release {release['number']} {state} ({what})"
        if one.trouble:
            yield f"    trouble: {one.trouble}"
    trial = report.get("trial")
    if trial is not None:
        guarded = "" if trial["guarded"] else ", unguarded"
        stage = "in rehearsal" if report.get("phase") == "rehearsing" else "on trial"
        yield f"    {stage}{guarded}: {trial['id']} by {trial['holder']['who']} since {trial['begun_at']}"
    for hold in report.get("held") or ():
        yield f"    held: {hold['build']}: {hold['reason']}"
    for event in report.get("history") or ():
        yield f"    {event['at']}  {event['what']}: {_event(event)}"
    for line in report.get("console") or ():
        yield f"    | {line}"


def _event(event: Mapping[str, Any]) -> str:
    target, origin = _number(event.get("target")), _number(event.get("origin"))
    reason = f" because {event['reason']}" if event.get("reason") else ""
    return f"{origin} to {target}, by {event['who']}{reason}"


def _number(release: Optional[Mapping[str, Any]]) -> str:
    return f"release {release['number']}" if release else "absent"
