# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The order and the names in which albatross lists what it has: those of its trie of labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import Name

V = TypeVar("V")


def labels_of(name: Name) -> tuple[str, ...]:
    return name.path if name.label is None else (*name.path, name.label)


def listed(asked: Name, everything: Mapping[Name, V]) -> list[tuple[Name, V]]:
    """What a request about this name is told: one thing under its full name, or all below a path, under names relative
    to it. A thing comes before those below it, and those beside each other from the last to the first."""
    if asked.label is not None:
        return [(asked, everything[asked])] if asked in everything else []
    found = [
        (labels_of(name)[len(asked.path) :], name, value)
        for name, value in everything.items()
        if labels_of(name)[: len(asked.path)] == asked.path
    ]
    # From the last to the first, but the shorter before the longer one that it begins: each label upside down.
    found.sort(key=lambda one: tuple(_descending(label) for label in one[0]))
    return [(_relative(labels, name), value) for labels, name, value in found]


def _descending(label: str) -> tuple[int, ...]:
    return (*(-ord(character) for character in label), 1)


def _relative(labels: tuple[str, ...], name: Name) -> Name:
    if not labels:
        # A unikernel that is named as the path is told as if it were the path itself.
        return Name()
    return Name(labels) if name.label is None else Name(labels[:-1], labels[-1])
