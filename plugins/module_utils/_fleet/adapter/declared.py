# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the inventory declares of each unikernel, read from its variables as they are.

Templating the variables of a thousand hosts costs far more than everything else in a plan, so the caller templates
only the values that hold a template, and everything here works on plain data.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional

from ..drivers.albatross_labels import why_reserved
from ..errors import FleetError, InvalidDeclaration
from ..layout import DEFAULT_ROOT, NodeLayout
from ..model import checked_name, checked_sha256
from ..releases.plan_entries import UNKNOWN_NODE, Declared
from ..releases.proposal import Wanted, merged
from ..sources.protocol import Lookup
from .albatross import place_of
from .options import CONFIGURATION, PREFIX, configuration_given, specs

LATEST = "latest"


@dataclass(frozen=True)
class Declaration:
    """One host's declaration, and what is needed to look its build up and to ask its node."""

    declared: Declared
    root: str = DEFAULT_ROOT
    source: Optional[str] = None
    sources: Optional[Mapping[str, Any]] = None
    albatross: Optional[dict[str, Any]] = None
    """Where that is, of one that albatross runs."""
    root_given: bool = False
    """The state folder is declared, and not the usual one for want of that."""


def read_declarations(
    hosts: Sequence[str], variables_of: Callable[[str], Mapping[str, Any]]
) -> tuple[Declaration, ...]:
    """The declaration of each host; what cannot be read is an entry with an error, never an exception."""
    return tuple(_read(host, variables_of) for host in hosts)


def _read(host: str, variables_of: Callable[[str], Mapping[str, Any]]) -> Declaration:
    try:
        return declaration_of(host, variables_of(host))
    except FleetError as error:
        return Declaration(Declared(host=host, name=host, node=UNKNOWN_NODE, error=str(error)))


def declaration_of(host: str, variables: Mapping[str, Any]) -> Declaration:
    """One declaration from its templated variables; InvalidDeclaration names the variable that does not fit."""
    given = variables.get(PREFIX + "name")
    name = checked_name(host if given is None else given)
    node = variables.get(PREFIX + "node")
    if not isinstance(node, str) or not node:
        raise InvalidDeclaration(f"{host}: unikernel_node does not name the node that runs it.")
    declared = Declared(host=host, name=name, node=node)
    given_root = variables.get(PREFIX + "root")
    root = given_root or DEFAULT_ROOT
    try:
        place = place_of({"driver": variables.get(PREFIX + "driver"), "albatross": variables.get(PREFIX + "albatross")})
        NodeLayout(Path(str(root)))
        reserved = why_reserved(name) if place is not None else None
        if reserved is not None:
            raise InvalidDeclaration(f"{host}: {reserved}.")
        declared = replace(
            declared,
            wanted=_wanted(variables),
            lookup=lookup_of(variables, name),
            configuration=configuration_of(variables),
            retry_failed=_flag(variables, "retry_failed"),
            rehearse=_flag(variables, "rehearse"),
            path=place.path if place is not None else "",
            quarantine_bridge=place.quarantine_bridge if place is not None else None,
        )
    except InvalidDeclaration as error:
        return Declaration(replace(declared, error=str(error)), root, root_given=bool(given_root))
    return Declaration(
        declared,
        root,
        variables.get(PREFIX + "source"),
        variables.get(PREFIX + "sources"),
        dict(variables.get(PREFIX + "albatross") or {}) if place is not None else None,
        bool(given_root),
    )


def configuration_of(variables: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration fields that are declared, checked and in their encoded form."""
    declared = {option.name: variables.get(option.variable) for option in CONFIGURATION}
    try:
        given = configuration_given(declared)
        merged(None, given)
    except (InvalidDeclaration, TypeError, ValueError, AttributeError):
        # Templates leave texts behind. Read as the module reads them, which takes its time, they may fit.
        given = configuration_given(_as_the_module_reads(declared))
        merged(None, given)
    return given


def _as_the_module_reads(declared: Mapping[str, Any]) -> dict[str, Any]:
    from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

    read = ArgumentSpecValidator(specs(CONFIGURATION)).validate(
        {name: value for name, value in declared.items() if value is not None}
    )
    if read.error_messages:
        raise InvalidDeclaration("; ".join(read.error_messages))
    validated: dict[str, Any] = read.validated_parameters
    return validated


def lookup_of(variables: Mapping[str, Any], name: str) -> Lookup:
    """Which build is declared: the latest one, or one by its id or its sha256."""
    build = variables.get(PREFIX + "build", LATEST)
    if build in (None, ""):
        raise InvalidDeclaration("unikernel_build is empty: name a build, or say latest.")
    sha256 = variables.get(PREFIX + "sha256")
    return Lookup(
        job=variables.get(PREFIX + "job") or name,
        platform=variables.get(PREFIX + "platform"),
        id=None if build == LATEST or sha256 else str(build),
        sha256=checked_sha256(sha256) if sha256 else None,
        channel=variables.get(PREFIX + "channel"),
    )


def representatives(declarations: Sequence[Declaration]) -> dict[str, tuple[str, str]]:
    """The inventory hosts through which nodes are asked, one per node and state folder: host to these two."""
    return {host: place for place, host in _askers(declarations).items()}


def names_asked_for(declarations: Sequence[Declaration]) -> dict[str, list[str]]:
    """Per host through which a node is asked, the names of what is to be there."""
    askers = _askers(declarations)
    names: dict[str, list[str]] = {host: [] for host in askers.values()}
    for one in declarations:
        if (
            one.declared.node != UNKNOWN_NODE
            and one.declared.error is None
            and one.declared.wanted is not Wanted.ABSENT
        ):
            names[askers[one.declared.node, one.root]].append(one.declared.name)
    return names


def places_to_ask(declarations: Sequence[Declaration]) -> dict[str, dict[str, Any]]:
    """Per host through which a node is asked, where albatross is of those that are declared to run on one: what nobody
    deployed yet is found by that alone. In the option's own words; the node reads them."""
    askers = _askers(declarations)
    places: dict[str, dict[str, Any]] = {}
    for one in declarations:
        if one.albatross is not None and one.declared.node != UNKNOWN_NODE and one.declared.error is None:
            places.setdefault(askers[one.declared.node, one.root], {})[one.declared.name] = one.albatross
    return places


def names_by_node(declarations: Sequence[Declaration]) -> dict[str, list[str]]:
    """What is declared for each node."""
    names: dict[str, list[str]] = {}
    for one in declarations:
        names.setdefault(one.declared.node, []).append(one.declared.name)
    return names


def the_usual_root(declarations: Sequence[Declaration]) -> str:
    """The state folder of a node that says nothing of its own: the one that all unikernels have, if it is one."""
    roots = {one.root for one in declarations}
    return roots.pop() if len(roots) == 1 else DEFAULT_ROOT


def _askers(declarations: Sequence[Declaration]) -> dict[tuple[str, str], str]:
    askers: dict[tuple[str, str], str] = {}
    for one in declarations:
        if one.declared.node != UNKNOWN_NODE:
            askers.setdefault((one.declared.node, one.root), one.declared.host)
    return askers


@dataclass(frozen=True)
class Lookups:
    """All look-ups of a plan in the form of ``build_info``'s options."""

    sources: tuple[dict[str, Any], ...]
    builds: tuple[dict[str, Any], ...]
    declared: tuple[Declared, ...]
    """The declarations, each with the key of its look-up."""


def lookups_of(declarations: Sequence[Declaration], running_sha256: Mapping[tuple[str, str], str]) -> Lookups:
    """Equal look-ups are made once. ``running_sha256``: by node and name, what a build is compared with."""
    sources: dict[str, dict[str, Any]] = {}
    builds: dict[str, dict[str, Any]] = {}
    declared = []
    for one in declarations:
        entry = one.declared
        if entry.error is None and entry.wanted is not Wanted.ABSENT and one.source is not None:
            error = _use_source(one, sources)
            if error is not None:
                entry = replace(entry, error=error)
            else:
                build = _build_options(one, running_sha256.get((entry.node, entry.name)))
                key = json.dumps(build, sort_keys=True)
                builds.setdefault(key, {"key": key, **build})
                entry = replace(entry, lookup_key=key)
        declared.append(entry)
    return Lookups(tuple(sources.values()), tuple(builds.values()), tuple(declared))


def _use_source(one: Declaration, sources: dict[str, dict[str, Any]]) -> Optional[str]:
    options = (one.sources or {}).get(one.source or "")
    if not isinstance(options, Mapping):
        known = ", ".join(sorted(one.sources or {})) or "none"
        return f"unikernel_source is {one.source!r}, and unikernel_sources declares: {known}"
    complete = {"name": one.source, **options}
    first = sources.setdefault(str(one.source), complete)
    if first != complete:
        return f"the source {one.source!r} is declared differently for different unikernels"
    return None


def _build_options(one: Declaration, running: Optional[str]) -> dict[str, Any]:
    lookup = one.declared.lookup
    options = {
        "source": one.source,
        "job": lookup.job,
        "platform": lookup.platform,
        "id": lookup.id,
        "sha256": lookup.sha256,
        "channel": lookup.channel,
        "running_sha256": running,
    }
    return {key: value for key, value in options.items() if value is not None}


def _flag(variables: Mapping[str, Any], name: str) -> bool:
    """``-e unikernel_retry_failed=false`` is text."""
    value = variables.get(PREFIX + name)
    return value.strip().lower() in ("true", "yes", "on", "1", "y", "t") if isinstance(value, str) else bool(value)


def _wanted(variables: Mapping[str, Any]) -> Wanted:
    state = variables.get(PREFIX + "state") or Wanted.RUNNING.value
    try:
        return Wanted(state)
    except ValueError:
        raise InvalidDeclaration(
            f"unikernel_state is {state!r}; it must be one of {', '.join(w.value for w in Wanted)}."
        ) from None
