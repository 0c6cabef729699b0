# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names that albatross' driver keeps for itself: the plan says so, before anything is deployed under one."""

from __future__ import annotations

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.declared import declaration_of


@pytest.mark.parametrize(
    ("name", "why"),
    [("web.fleet-2", "kept for the second label of web"), ("web.fleet-rehearsal", "are those of rehearsals")],
)
def test_a_name_that_is_kept_is_a_fault_of_its_declaration_on_albatross_only(name: str, why: str) -> None:
    on_albatross = declaration_of(name, {"unikernel_node": "n", "unikernel_driver": "albatross"}).declared
    assert on_albatross.error is not None and why in on_albatross.error
    assert declaration_of(name, {"unikernel_node": "n", "unikernel_driver": "unix"}).declared.error is None
