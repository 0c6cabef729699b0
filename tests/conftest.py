# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings of pytest for the whole tree: hypothesis' profiles, and what older Pythons leave out, by name."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

import pytest
from hypothesis import HealthCheck, settings

CONTROLLER = sys.version_info >= (3, 11)
SHORT = os.environ.get("FLEET_FORM") == "short"
CONTROLLER_AREAS = frozenset({"action", "filter", "inventory", "playbooks", "roles"})
LONG = "long, and this is the short form; `make faults` or `make machines` runs it"
NODES_ONLY = f"Python {sys.version_info[0]}.{sys.version_info[1]} is for nodes only; this tests the controller's side"

# Times vary on shared machines, so no example has a deadline. "tests" is the same on every run; "fuzz" never is.
settings.register_profile("tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "fuzz", deadline=None, max_examples=2_000, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "tests"))


class OfTheController(pytest.Module):
    """A file of tests of what only a controller has; it is not even imported where its imports cannot work."""

    def collect(self) -> Iterator[pytest.Item]:
        pytest.skip(NODES_ONLY, allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> Optional[pytest.Module]:
    if CONTROLLER or not CONTROLLER_AREAS.intersection(module_path.parent.parts):
        return None
    return OfTheController.from_parent(parent, path=module_path)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if SHORT and item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason=LONG))
        if not CONTROLLER and item.get_closest_marker("controller"):
            item.add_marker(pytest.mark.skip(reason=NODES_ONLY))


# --- the cases of all fault matrices, also when several processes run them

_TOTAL = pytest.StashKey[str]()


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    counts: Counter[str] = Counter()
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, value in report.user_properties:
                if name in ("cases", "lost", "leftovers"):
                    counts[name] += int(str(value))
    if not counts["cases"]:
        return
    survived = counts["cases"] - counts["lost"]
    terminalreporter.config.stash[_TOTAL] = (
        f"{counts['cases']} cases, {survived} survived, {counts['lost']} lost, {counts['leftovers']} leftovers"
    )


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """The last line of all."""
    if _TOTAL in config.stash:
        print(config.stash[_TOTAL])
