# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of modules that make checks, or have them made: what is checked, and when it is enough."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  checks:
    description:
      - The checks of liveliness. Each entry has exactly one of the keys V(http), V(dns), V(tcp), V(process) and
        V(console), whose value holds the options of that kind.
      - Beside it may stand C(name), C(required) (default V(true); only required checks decide), C(wanted) (the
        opposite), C(from) (V(node), the default, or V(controller)) and C(timeout) (seconds per attempt, default V(5)).
      - See the guide to checks in the collection's documentation for the options of each kind.
    type: list
    elements: dict
    default: []
  address:
    description:
      - The address or host name that checks look at unless they name another.
    type: str
  deadline:
    description:
      - Seconds, from the first attempt, within which all required checks must have passed.
    type: float
    default: 30.0
  stable_for:
    description:
      - Seconds for which all required checks must pass without one failing.
    type: float
    default: 3.0
  consecutive:
    description:
      - How often in a row each required check must pass.
    type: int
    default: 2
  interval:
    description:
      - Seconds between two attempts of a check that passes.
    type: float
    default: 1.0
  delays:
    description:
      - Seconds between the attempts of a check that fails; the last entry repeats. The first attempt is made at once.
    type: list
    elements: float
    default: [1.0, 1.0, 1.0, 2.0, 3.0, 3.0, 4.0, 5.0]
"""
