# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Numbers for users: one for each unikernel, its own for good, never two for one or one for two."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import DriverError, InvalidDeclaration
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.user_ids import (
    UserIds,
    claim_user_id,
    user_id_of,
)

IDS = UserIds()


@pytest.fixture
def layout(tmp_path: Path) -> NodeLayout:
    return NodeLayout(tmp_path)


def test_a_number_stays_with_its_unikernel_and_is_what_was_foretold(layout: NodeLayout) -> None:
    foretold = user_id_of(layout, "www", IDS)
    assert not layout.users.exists(), "looking changes nothing"
    assert claim_user_id(layout, "www", IDS) == foretold == claim_user_id(layout, "www", IDS)
    assert user_id_of(layout, "www", IDS) == foretold
    assert IDS.first <= foretold < IDS.first + IDS.count
    assert {entry.name: os.readlink(entry) for entry in layout.users.iterdir()} == {str(foretold): "www"}


@given(st.lists(st.from_regex(r"[a-z0-9]{1,4}", fullmatch=True), unique=True, min_size=1, max_size=12))
def test_no_two_have_the_same_even_where_numbers_are_scarce(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    layout = NodeLayout(tmp_path_factory.mktemp("node"))
    ids = UserIds(first=100_000, count=len(names))
    numbers = {name: claim_user_id(layout, name, ids) for name in names}
    assert sorted(numbers.values()) == list(range(100_000, 100_000 + len(names)))
    assert {name: claim_user_id(layout, name, ids) for name in reversed(names)} == numbers
    assert {name: user_id_of(layout, name, ids) for name in names} == numbers
    for call in (claim_user_id, user_id_of):
        with pytest.raises(DriverError, match=r"used up.*node_user_ids"):
            call(layout, "one-too-many", ids)


def test_a_number_stays_where_the_range_or_the_name_of_the_folder_changes(tmp_path: Path) -> None:
    layout = NodeLayout(tmp_path / "state")
    number = claim_user_id(layout, "www", UserIds(first=100_000, count=40))
    (tmp_path / "link").symlink_to(layout.root)
    for here in (layout, NodeLayout(tmp_path / "link")):
        for ids in (IDS, UserIds(first=100_000, count=41)):
            assert claim_user_id(here, "www", ids) == user_id_of(here, "www", ids) == number
    assert len(list(layout.users.iterdir())) == 1


def test_two_who_claim_at_once_are_given_different_ones(layout: NodeLayout) -> None:
    ids = UserIds(first=100_000, count=40)
    names = [f"u{number % 20}" for number in range(80)]
    with ThreadPoolExecutor(8) as threads:
        numbers = list(threads.map(lambda name: claim_user_id(layout, name, ids), names))
    assert len(set(zip(names, numbers))) == len(set(numbers)) == 20


def test_another_state_folder_has_its_own(tmp_path: Path) -> None:
    one, other = NodeLayout(tmp_path / "one"), NodeLayout(tmp_path / "other")
    assert user_id_of(one, "www", IDS) != user_id_of(other, "www", IDS)


@pytest.mark.parametrize(
    "first, count", [(65_535, 1), (0, 100_000), (100_000, 0), (100_000, -1), (2**31 - 2, 2), (2**31, 1)]
)
def test_a_range_that_accounts_have_or_that_no_users_can_have_is_none(first: int, count: int) -> None:
    with pytest.raises(ValueError, match="no range for users"):
        UserIds(first, count)
    UserIds(65_536, 1), UserIds(2**31 - 2, 1)


def test_a_name_that_would_leave_the_folder_is_none(layout: NodeLayout) -> None:
    for call in (claim_user_id, user_id_of):
        with pytest.raises(InvalidDeclaration):
            call(layout, "../www", IDS)


def test_what_cannot_be_put_on_record_is_said(layout: NodeLayout) -> None:
    layout.users.write_text("a file where the folder belongs", encoding="ascii")
    with pytest.raises(DriverError, match=r"www: no user can be put on record .* Nothing was started"):
        claim_user_id(layout, "www", IDS)
