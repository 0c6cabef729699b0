# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import InvalidDeclaration
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import checked_name, checked_sha256

BAD_NAMES = [
    "",
    "../x",
    "..",
    ".",
    ".x",
    "-rf",
    "a/b",
    "a" * 300,
    "a" * 64,
    "Web",
    "wéb",
    "web\n",
    "a b",
    "a\0b",
    "\uff12",
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_could_leave_its_folder_or_mean_an_option_is_refused(name: str) -> None:
    with pytest.raises(InvalidDeclaration, match="is no name for a unikernel") as refused:
        NodeLayout(Path("/state")).state(name)
    assert len(str(refused.value)) < 300
    assert "Nothing was changed" in str(refused.value)


@pytest.mark.parametrize("name", ["a", "0", "www.example.org", "a-b.c-1", "a" * 63])
def test_labels_and_host_names_are_names(name: str) -> None:
    assert checked_name(name) == name


@given(st.text(max_size=100))
def test_whatever_the_name_no_path_leaves_the_state_folder(name: str) -> None:
    layout = NodeLayout(Path("/state"))
    try:
        path = layout.evidence(name)
    except InvalidDeclaration:
        return
    assert path.parent.parent == layout.unikernels
    assert ".." not in path.parts


@pytest.mark.parametrize("digest", ["", "abc", "g" * 64, "a" * 63, "a" * 65, "../" + "a" * 61, "a" * 63 + "\n"])
def test_what_is_no_sha256_never_becomes_a_path(digest: str) -> None:
    with pytest.raises(InvalidDeclaration, match="is no SHA-256"):
        NodeLayout(Path("/state")).image(digest)


def test_a_digest_in_capitals_is_the_same_digest() -> None:
    assert checked_sha256("AB" * 32) == "ab" * 32
