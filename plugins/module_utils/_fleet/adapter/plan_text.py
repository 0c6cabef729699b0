# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A plan as a person reads it in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Optional

from ..releases.plan_entries import UNKNOWN_NODE, Plan, PlanAction, PlanEntry
from .difference import comparison_lines

_SIGNS = {
    PlanAction.UNCHANGED: "=",
    PlanAction.DEPLOY: "+",
    PlanAction.UPDATE: "~",
    PlanAction.RECONFIGURE: "~",
    PlanAction.ADOPT: "@",
    PlanAction.MOVE: ">",
    PlanAction.STOP: "-",
    PlanAction.REMOVE: "-",
    PlanAction.HELD: "!",
    PlanAction.UNKNOWN: "?",
}


def plan_text(plan: Plan, verbose: bool = False) -> str:
    """The plan in lines; unchanged unikernels are only counted unless ``verbose``, or something of them has
    drifted that no deployment puts right."""
    lines = [_headline(plan)]
    lines += [f"! {node}: {why}" for node, why in sorted(plan.frozen.items())]
    for entry in (*plan.entries, *plan.undeclared):
        plain = entry.action is PlanAction.UNCHANGED and not entry.drift
        quiet = plain and entry.host is not None and not verbose
        if not quiet:
            lines += ["", *_entry_lines(entry)]
    return "\n".join(lines) + "\n"


def _headline(plan: Plan) -> str:
    nodes = len({entry.node for entry in plan.entries if entry.node != UNKNOWN_NODE})
    counts = [f"{count} {action}" for action, count in plan.summary.items() if count]
    return (
        f"Plan for {len(plan.entries)} unikernel{_s(len(plan.entries))} on {nodes} node{_s(nodes)}: "
        f"{', '.join(counts) or 'nothing is declared'}"
    )


def _entry_lines(entry: PlanEntry) -> Iterator[str]:
    label = entry.name if entry.host in (None, entry.name) else f"{entry.host} ({entry.name})"
    yield f"{_SIGNS[entry.action]} {label} on {entry.node}: {entry.action.value} ({entry.reason})"
    if entry.action is PlanAction.UNCHANGED:
        yield from _drift_lines(entry)
        return
    before = _build_words(entry.release.get("build") if entry.release else None)
    after = _build_words(entry.build)
    if entry.action in (PlanAction.UPDATE, PlanAction.ADOPT) and after and _another_image(entry):
        yield f"    build: {before or 'unknown'} -> {after}"
    elif entry.action is PlanAction.DEPLOY and after:
        yield f"    build: {after}"
    if entry.comparison:
        for line in comparison_lines(entry.comparison):
            yield f"    {line}"
    elif entry.action is PlanAction.UPDATE and entry.comparison_state in ("unavailable", "unknown"):
        yield f"    no comparison: {entry.comparison_state}"
    for change in entry.configuration:
        yield f"    {change.name}: {_value(change.before)} -> {_value(change.after)}"
    if entry.rehearsed:
        yield "    rehearsed on a network of its own before it is swapped in"
        if entry.unseen:
            yield f"    only whether it lives and what it says is seen there: {entry.unseen}"
    if entry.unguarded:
        yield f"    unguarded: {entry.unguarded}"
    yield from _drift_lines(entry)
    if entry.inherited:
        yield f"    inherited: {', '.join(entry.inherited)}"


def _drift_lines(entry: PlanEntry) -> Iterator[str]:
    for drift in entry.drift:
        yield f"    drift: {drift}"


def _another_image(entry: PlanEntry) -> bool:
    return bool(entry.build and entry.release and entry.build["sha256"] != entry.release["image"]["sha256"])


def _build_words(build: Optional[Mapping[str, Any]]) -> str:
    if not build or not (build.get("id") or build.get("job")):
        return ""
    when = f", {build['finished_at'][:10]}" if build.get("finished_at") else ""
    platform = f" for {build['platform']}" if build.get("platform") else ""
    return f"{build.get('job') or '?'} {(build.get('id') or '?')[:8]}{platform}{when}"


def _value(value: Any) -> str:
    if value in (None, [], {}, ""):
        return "none"
    if isinstance(value, (list, tuple)):
        return " ".join(str(item) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{k}={v}" for k, v in sorted(value.items()) if v is not None) or "none"
    return str(value)


def _s(count: int) -> str:
    return "" if count == 1 else "s"
