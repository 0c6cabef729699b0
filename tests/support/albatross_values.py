# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hypothesis strategies for everything that can be said in albatross' protocol, in each generation's words."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any, Union

from hypothesis import strategies as st

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross import messages, records
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import Generation

INTEGERS = st.integers(-(2**62), 2**62 - 1)
UNSIGNED = st.integers(0, 2**64 - 1)
LABELS = st.from_regex(r"[A-Za-z0-9.][A-Za-z0-9.-]{0,62}", fullmatch=True)
NAMES = st.builds(Name, st.lists(LABELS, max_size=3).map(tuple), st.none() | LABELS)
OCTETS = st.binary(max_size=600)
TEXTS = st.text(max_size=20) | st.binary(max_size=20).map(lambda octets: octets.decode("utf-8", "surrogateescape"))
TIMES = st.from_regex(r"[0-9]{14}(\.[0-9]{1,3})?(Z|[+-][0-9]{4})", fullmatch=True)
MACS = st.binary(min_size=6, max_size=6).map(lambda octets: octets.hex(":"))

_OF_THE_WIRE = {
    "mac": MACS,
    "started": TIMES,
    "time": TIMES,
    "image": OCTETS,
    "digest": OCTETS,
    "level": st.integers(0, 9),
}
_RAW = frozenset(
    {
        *(f.name for cls in (records.ResourceUsage, records.KernelMemory) for f in dataclasses.fields(cls)),
        *(f.name for f in dataclasses.fields(records.InterfaceData) if "_" in f.name or f.name in ("baudrate",)),
        "collisions",
        "seconds",
        "value",
    }
) - {"send_length", "max_send_length", "send_drops", "cow"}
"""Counters that travel as eight octets."""

_UNSAID: dict[Generation, tuple[str, ...]] = {
    Generation.V2_5: ("startup", "add_name", "vcpus", "linux_boot"),
    Generation.V2_6: ("vcpus", "linux_boot"),
    Generation.V2_7: (),
}
"""What older forms have no words for; it is left at its default."""


def sets_of(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(items, max_size=3, unique=True).map(tuple)


def values_of(cls: type[Any], form: Generation = Generation.V2_7) -> st.SearchStrategy[Any]:
    """Values of a dataclass of ``records`` or ``messages`` that can be said in the words of a generation."""
    if cls is Name:
        return NAMES
    if cls is messages.SubscribeConsole:
        return st.builds(cls, count=INTEGERS) | st.builds(cls, since=TIMES)
    if cls is records.FailBehaviour:
        return st.just(cls()) | st.builds(cls, st.just(True), sets_of(INTEGERS))
    hints = typing.get_type_hints(cls)
    chosen = {}
    for f in dataclasses.fields(cls):
        if f.name == "relayed" or (f.name in _UNSAID[form] and cls is not records.Policy):
            continue
        if f.name == "form":
            chosen[f.name] = st.just(form)
        elif form is not Generation.V2_7 and f.name == "cpus" and cls is not records.Policy:
            chosen[f.name] = INTEGERS.map(lambda cpu: (cpu,))
        else:
            chosen[f.name] = _field(f.name, hints[f.name], form)
    made = st.builds(cls, **chosen)
    return made | made.map(relayed) if cls is messages.Unikernels and form is Generation.V2_5 else made


def relayed(told: messages.Unikernels) -> messages.Unikernels:
    """As the TLS endpoint of 2.5 passes it on."""
    entries = []
    for entry in told.entries:
        blocks = tuple(dataclasses.replace(block, size_mib=0) for block in entry.info.blocks)
        entries.append(dataclasses.replace(entry, info=dataclasses.replace(entry.info, blocks=blocks)))
    return dataclasses.replace(told, entries=tuple(entries), relayed=True)


def _field(name: str, kind: Any, form: Generation) -> st.SearchStrategy[Any]:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Union:
        return st.none() | _field(name, next(arm for arm in arguments if arm is not type(None)), form)
    if origin is tuple:
        return sets_of(_field(name, arguments[0], form))
    if name in _OF_THE_WIRE:
        return _OF_THE_WIRE[name]
    if kind is int:
        return UNSIGNED if name in _RAW else INTEGERS
    plain: dict[Any, st.SearchStrategy[Any]] = {str: TEXTS, bool: st.booleans(), bytes: OCTETS}
    if kind in plain:
        return plain[kind]
    if kind is records.UnikernelType:
        return st.sampled_from(records.UnikernelType)
    return values_of(kind, form)


GENERATIONS = st.sampled_from(Generation)
COMMANDS = st.sampled_from(messages.COMMANDS).flatmap(
    lambda cls: GENERATIONS.flatmap(lambda form: values_of(cls, form))
)
PAYLOADS = COMMANDS | st.sampled_from((*messages.SUCCESSES, messages.Failure, *messages.DATA)).flatmap(
    lambda cls: GENERATIONS.flatmap(lambda form: values_of(cls, form))
)
MESSAGES = st.builds(messages.Message, NAMES, PAYLOADS, UNSIGNED)
