# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Comparisons computed from the inputs of builds (that they equal builder-web's own: test_builder_web.py)."""

from __future__ import annotations

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.sources.comparison import (
    Inputs,
    NotComparable,
    compare,
    environment,
    packages,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.sources.protocol import Comparison, OpamChange

URL = 'url {\n  src: "https://a.example/x.tbz"\n  checksum: ["sha256=aa" "sha512=bb"]\n}\n'


def compared(old: str, new: str) -> Comparison:
    """Two builds of a switch whose only package has these definitions."""
    switches = [f'installed: ["p.1"]\nroots: ["p.1"]\npackage "p" {{\n{text}\n}}\n' for text in (old, new)]
    return compare("1", Inputs(switches[0], "", ""), "2", Inputs(switches[1], "", ""), (1, 2))


def only_change(old: str, new: str) -> OpamChange:
    (change,) = compared(old, new).opam_files
    return change


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('synopsis: "a"', 'synopsis: "b"'),
        ('maintainer: "a"', 'maintainer: ["b" "c"]'),
        ("x-anything: 1", "x-anything: 2"),
        ("flags: deprecated", "flags: []"),
        ('depexts: ["a"]', 'depexts: ["b"]'),
        ("", 'homepage: "h"'),
        (URL, URL.replace("a.example", "mirror.example").replace("bb", "cc")),
        ('build: ["make" "all"]', 'build: [["make" "all"]]'),
        ('depends: "a"', 'depends: ["a"]'),
    ],
)
def test_what_does_not_change_the_result_is_effectively_equal(old: str, new: str) -> None:
    assert only_change(old, new).effectively_equal


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('depends: ["a"]', 'depends: ["a" {>= "2"}]'),
        ('build: ["make"]', 'build: [["make"] ["make" "install"]]'),
        ("flags: plugin", "flags: []"),
        (URL, URL.replace("sha256=aa", "sha256=ab")),
        ('x-env-path-rewrite: "a"', 'x-env-path-rewrite: "b"'),
        ('patches: "a"', ""),
    ],
)
def test_what_changes_the_result_is_not(old: str, new: str) -> None:
    assert not only_change(old, new).effectively_equal


def test_layout_comments_and_order_of_fields_are_no_change() -> None:
    assert compared('name: "p"\nversion: "1"', '# hello\nversion:   "1" (* x *) name: "p"').opam_files == ()


def test_a_package_of_another_version_is_a_version_change_only() -> None:
    old = 'installed: ["p.1"]\npackage "p" { build: "a" }'
    new = 'installed: ["p.2"]\npackage "p" { build: "b" }'
    found = compare("1", Inputs(old, "", ""), "2", Inputs(new, "", ""), (1, 1))
    assert [(c.name, c.before, c.after) for c in found.packages.changed] == [("p", "1", "2")]
    assert found.opam_files == ()


def test_a_package_without_a_definition_is_still_compared_by_version() -> None:
    found = compare("1", Inputs('installed: ["p.1"]', "", ""), "2", Inputs('installed: ["p.2"]', "", ""), (1, 1))
    assert len(found.packages.changed) == 1


def test_lines_are_read_as_builder_web_reads_them() -> None:
    assert environment("A=1\nB=x=y\nC\n\n") == {"A": "1", "B": "x=y", "C": ""}
    assert packages("gcc=12\nlib-foo-1.2\nplain") == {"gcc": "12", "lib": "foo-1.2", "plain": ""}


def trees(*entries: str) -> str:
    return f"x-opam-monorepo-duniverse-dirs: [{' '.join(entries)}]"


HASH = "sha256=" + "a" * 64


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        (f'["u1" "d" ["{HASH}"]]', f'["u2" "d" ["{HASH}"]]', ()),
        (f'["u1" "d" ["{HASH}"]]', f'["u1" "d" ["{HASH[:-1]}b"]]', ("d",)),
        ('["u1" "d"]', '["u1" "d" []]', ()),
        ('["u1" "d"]', '["u2" "d"]', ("d",)),
        (f'["u1" "d" ["{HASH}"]]', '["u1" "d"]', ("d",)),
    ],
)
def test_source_trees_are_compared_by_hash_and_without_one_by_url(old: str, new: str, changed: tuple[str, ...]) -> None:
    assert compared(trees(old), trees(new)).source_trees.changed == changed


@pytest.mark.parametrize(
    "entry", ['"flat"', '["u"]', '["u" "d" "h"]', '["u" "d" ["nohash"]]', '["u" "d" [] []]', "[1 2]"]
)
def test_source_trees_of_another_form_are_an_error_within_the_comparison(entry: str) -> None:
    found = compared(trees(entry), trees())
    assert found.source_trees.error and found.packages.changed == ()


def test_an_opam_switch_that_does_not_parse_cannot_be_compared() -> None:
    with pytest.raises(NotComparable, match="of the build 2 cannot be read: line 1"):
        compare("1", Inputs("", "", ""), "2", Inputs("installed: [", "", ""), (1, 1))


def test_a_diff_is_bounded() -> None:
    change = only_change("", f"depends: [{' '.join(str(n) + 'x' for n in range(50_000))}]")
    assert len(change.diff) <= 64 * 1024
