# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What users write below ``checks``."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet import codec
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.declaration import checks_from
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.model import CheckSpec, Vantage
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.protocol import Surroundings
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.registry import CHECKS
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import InvalidDeclaration

EVERYTHING = [
    {"http": "http://192.0.2.1/health?token=x"},
    {"http": {"path": "/ready", "status": "2xx"}, "from": "controller", "timeout": "2.5"},
    {"tcp": 53},
    {"dns": {"name": "web.example", "answers": ["192.0.2.1"]}, "wanted": True},
    {"process": {}, "required": "yes"},
    {"console": {"must_not_match": "panic"}, "name": "no panic"},
]


def test_each_kind_is_read_with_its_defaults() -> None:
    specs = checks_from(EVERYTHING, "192.0.2.1")
    assert [spec.name for spec in specs] == [
        "http http://192.0.2.1/health",
        "http http://192.0.2.1/ready from the controller",
        "tcp 192.0.2.1 port 53",
        "dns web.example. A at 192.0.2.1",
        "process lives",
        "no panic",
    ]
    assert [spec.required for spec in specs] == [True, True, True, False, True, True]
    assert [spec.timeout_s for spec in specs] == [5.0, 2.5, 5.0, 5.0, 5.0, 5.0]


def test_checks_of_the_other_side_are_not_even_read() -> None:
    here = checks_from(EVERYTHING, "192.0.2.1", Vantage.CONTROLLER)
    assert [spec.name for spec in here] == ["http http://192.0.2.1/ready from the controller"]
    assert len(checks_from(EVERYTHING, "192.0.2.1", Vantage.NODE)) == 5
    unreadable_here = [{"http": {"no such option": 1}, "from": "controller"}, {"tcp": 53}]
    assert [spec.kind for spec in checks_from(unreadable_here, "192.0.2.1", Vantage.NODE)] == ["tcp"]


def test_what_was_read_survives_being_persisted() -> None:
    for spec in checks_from(EVERYTHING, "192.0.2.1"):
        persisted = codec.decode(CheckSpec, json.loads(json.dumps(codec.encode(spec))))
        assert persisted == spec
        CHECKS[spec.kind].bind(persisted, Surroundings())


def test_a_kind_without_options_may_be_left_bare() -> None:
    (spec,) = checks_from([{"process": None}], None)
    assert spec.options == {"max_restarts": 0, "max_cpu_percent": None}


def test_no_checks_are_no_checks() -> None:
    assert checks_from([], None) == ()


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"tcp": 80}, "have to be a list"),
        ("tcp", "have to be a list"),
        (["process"], "Check 1: a mapping"),
        ([{"name": "n"}], "Check 1 .n.: exactly one kind"),
        ([{"tcp": 80, "http": "/"}], "exactly one kind"),
        ([{"tcp": 80}, {"htpp": "/"}], "Check 2: unknown 'htpp'"),
        ([{"tcp": 80}, {"tcp": 80}], "Check 2 .tcp.: another check has the name 'tcp 192.0.2.1 port 80'"),
        ([{"tcp": 80, "name": "a"}, {"process": {}, "name": "a"}], "another check has the name 'a'"),
        ([{"http": {"path": "/", "body_regex": "("}, "name": "page"}], "Check 1 .page.: body_regex"),
        ([{"tcp": 80, "timeout": -1}], "timeout"),
        ([{"tcp": 80, "timeout": "soon"}], "timeout"),
        ([{"tcp": 80, "timeout": float("nan")}], "timeout"),
        ([{"tcp": 80, "from": "moon"}], "from: node or controller"),
        ([{"process": {}, "from": "controller"}], "only from: node"),
        ([{"console": "x", "from": "controller"}], "only from: node"),
        ([{"tcp": 80, "required": True, "wanted": True}], "exclude each other"),
        ([{"tcp": 80, "required": "perhaps"}], "true or false"),
        ([{"tcp": 80, "name": " "}], "name"),
        ([{"tcp": 80, "name": "a\nb"}], "name"),
        ([{"tcp": {"host": "a b", "port": 1}}], "host"),
        ([{"tcp": 1 + i} for i in range(101)], "too many"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(declared: Any, message: str) -> None:
    with pytest.raises(InvalidDeclaration, match=message) as refusal:
        checks_from(declared, "192.0.2.1")
    assert str(refusal.value).endswith("Nothing was changed.")


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_OPTIONS = """
url host port path scheme method status headers body json json_equals follow_redirects server_hostname expect send
server name type answers rcode lines must_match must_not_match max_restarts max_cpu_percent
"""
_OPTION = st.sampled_from(_OPTIONS.split())


@given(
    kind=st.sampled_from(sorted(CHECKS)),
    options=_ANYTHING | st.dictionaries(_OPTION, _ANYTHING, max_size=5),
    around=st.dictionaries(st.sampled_from(["name", "from", "timeout", "required"]), _ANYTHING, max_size=2),
)
def test_nothing_that_is_written_ends_in_anything_but_checks_or_a_refusal(
    kind: str, options: Any, around: dict[str, Any]
) -> None:
    try:
        (spec,) = checks_from([{kind: options, **around}], "192.0.2.1")
    except InvalidDeclaration:
        return
    persisted = codec.decode(CheckSpec, json.loads(json.dumps(codec.encode(spec))))
    CHECKS[kind].bind(persisted, Surroundings())
