# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is odd about an inventory: a group without unikernels, a state folder that is only its node's."""

from __future__ import annotations

from typing import Any, Optional

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.declared import (
    Declaration,
    declaration_of,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.declared_remarks import (
    ignored_roots,
    root_named_by,
    why_nothing_is_declared,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import DEFAULT_ROOT


def test_a_group_that_is_empty_or_missing_is_told_and_one_with_members_is_not() -> None:
    assert "the group unikernels is empty" in str(why_nothing_is_declared({"unikernels": []}, "unikernels"))
    assert "the group ours does not exist" in str(why_nothing_is_declared({"unikernels": ["www"]}, "ours"))
    assert why_nothing_is_declared({"unikernels": ["www"]}, "unikernels") is None


def declared(host: str, node: str = "dom0", **variables: Any) -> Declaration:
    return declaration_of(host, {"unikernel_node": node, **variables})


def roots(**of: str) -> Any:
    def root_of(node: str) -> Optional[str]:
        return of.get(node)

    return root_of


def test_a_state_folder_that_only_the_node_names_is_told_with_those_whom_it_does_not_count_for() -> None:
    there = [declared("www"), declared("dns"), declared("own", unikernel_root="/srv/own"), declared("other", "dom1")]
    (said,) = ignored_roots(there, roots(dom0="/srv/fleet"))
    assert said.startswith("The node dom0 names /srv/fleet") and "(www, dns)" in said and DEFAULT_ROOT in said
    assert 'unikernel_root: "{{ hostvars[unikernel_node].unikernel_root }}"' in said


def test_a_declaration_with_an_error_of_another_kind_is_among_them() -> None:
    (said,) = ignored_roots([declared("www", unikernel_state="walking")], roots(dom0="/srv/fleet"))
    assert "(www)" in said


def test_of_many_only_some_are_named() -> None:
    (said,) = ignored_roots([declared(f"u{number}") for number in range(9)], roots(dom0="/srv/fleet"))
    assert "(u0, u1, u2, u3, u4 and 4 more)" in said


@pytest.mark.parametrize("root", [None, DEFAULT_ROOT])
def test_where_nothing_differs_nothing_is_told(root: Optional[str]) -> None:
    assert ignored_roots([declared("www")], roots(**({"dom0": root} if root else {}))) == []


def test_a_folder_that_the_unikernel_names_itself_is_meant_so() -> None:
    assert ignored_roots([declared("www", unikernel_root=DEFAULT_ROOT)], roots(dom0="/srv/fleet")) == []


def test_a_node_names_its_folder_by_either_variable() -> None:
    assert root_named_by({"unikernel_root": "/a", "node_root": "/b"}) == "/a"
    assert root_named_by({"node_root": "/b"}) == "/b"
    assert root_named_by({"unikernel_root": ""}) is None
