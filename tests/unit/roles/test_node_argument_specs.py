# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The roles' argument specs say what their defaults say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROLES = Path(__file__).resolve().parents[3] / "roles"


def read(role: str, path: str) -> Any:
    return yaml.safe_load((ROLES / role / path).read_text(encoding="utf-8"))


@pytest.mark.parametrize("role", ["node"])
def test_each_default_is_described_as_it_is(role: str) -> None:
    described = read(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    assert {name: option["default"] for name, option in described.items()} == read(role, "defaults/main.yml")


@pytest.mark.parametrize("role", ["node"])
def test_each_variable_begins_with_the_name_of_its_role(role: str) -> None:
    for path in ("defaults/main.yml", "vars/main.yml"):
        assert [name for name in read(role, path) if not name.startswith(f"{role}_")] == []
