# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings of pytest for the whole tree: hypothesis' profiles, and what older Pythons leave out, by name."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

import pytest
from hypothesis import HealthCheck, settings

CONTROLLER = sys.version_info >= (3, 11)
SHORT = os.environ.get("FLEET_FORM") == "short"
CONTROLLER_AREAS = frozenset({"action", "filter", "inventory", "playbooks", "roles"})
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
            item.add_marker(pytest.mark.skip(reason="long, and this is the short form; `make faults` runs it"))
        if not CONTROLLER and item.get_closest_marker("controller"):
            item.add_marker(pytest.mark.skip(reason=NODES_ONLY))
