# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan: what is declared against what builds there are and what runs, decided in one pure pass.

It works on what the other machines reported (encoded releases without secrets), so it needs no lock and no node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Optional

from ..runtime.mac import derived_mac
from .plan_entries import CHANGING, Declared, NodeReports, Plan, PlanAction, PlanEntry
from .plan_of_one import planned, unknown
from .proposal import Wanted


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
            entry = unknown(one, f"the inventory declares {one.name} more than once for {one.node}")
        elif clash is not None:
            entry = unknown(one, clash)
        else:
            entry = planned(one, builds, running, silent_nodes, elsewhere)
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
    return unknown(one, f"it is not on {one.node}, and {', '.join(silent)}, where it may run, did not answer")
