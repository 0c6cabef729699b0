# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The cases of a fault matrix: something that is interrupted at each of its steps, and what came of each time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ansible_collections.unikernel.fleet.tests.support.interruption import Fault

MOST_STEPS = 80


@dataclass(frozen=True)
class Case:
    """One interruption and what came of it."""

    what: str
    fault: Fault
    number: int
    lost: tuple[str, ...]
    """What was wrong with the unikernel afterwards; nothing, as a rule."""
    leftovers: tuple[str, ...]
    """What nobody should find any more."""

    def __str__(self) -> str:
        where = f"{self.what}, {self.fault.value} at step {self.number}"
        return f"{where}: {'; '.join((*self.lost, *self.leftovers)) or 'survived'}"


def cases_of(at: Callable[[int], tuple[bool, Case]], every: int = 1) -> Iterator[Case]:
    """Interrupt it at each step (or each ``every``-th one) until it is not interrupted any more.

    ``at``: interrupts it at the step of that number; whether there was one, and what came of it.
    """
    for number in range(0, MOST_STEPS, every):
        hit, case = at(number)
        if not hit:
            assert not case.lost and not case.leftovers, case
            return
        yield case
    raise AssertionError(f"it has more than {MOST_STEPS} steps")


def all_survived(cases: Iterable[Case], at_least: int, record_property: Callable[[str, object], None]) -> None:
    """Count them for the report, and fail with those of which something was lost or left."""
    made = list(cases)
    record_property("cases", len(made))
    record_property("lost", sum(bool(case.lost) for case in made))
    record_property("leftovers", sum(bool(case.leftovers) for case in made))
    assert len(made) >= at_least
    assert not [str(case) for case in made if case.lost or case.leftovers]
