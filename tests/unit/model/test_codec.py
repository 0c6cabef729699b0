# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.model import CheckSpec, Verdict
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.codec import REDACTED, Mismatch, decode, encode
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import (
    Build,
    Configuration,
    Image,
    Instance,
    Limits,
    Release,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import Event, State
from ansible_collections.unikernel.fleet.tests.support.values import values_of

EVERY_TYPE = (State, Event, Release, Configuration, Build, Instance, Verdict, CheckSpec)


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(encode(value)))


@settings(max_examples=max(12, settings.default.max_examples // 8))
@given(st.data())
@pytest.mark.parametrize("cls", EVERY_TYPE, ids=lambda cls: cls.__name__)
def test_what_is_written_is_read_back_the_same(cls: type, data: st.DataObject) -> None:
    value = data.draw(values_of(cls))
    assert decode(cls, through_json(value)) == value


@pytest.mark.parametrize(
    ("cls", "data", "place"),
    [
        (Image, [], "Image: a mapping"),
        (Image, {"sha256": "x"}, "'size' is missing"),
        (Image, {"sha256": "x", "size": "1"}, "Image.size: int is needed, not str"),
        (Image, {"sha256": "x", "size": True}, "Image.size: int is needed, not bool"),
        (Image, {"sha256": "x", "size": 1, "colour": "red"}, "unknown 'colour'"),
        (Configuration, {"cpus": 1}, "Configuration.cpus: a list is needed, not int"),
        (Configuration, {"cpus": [0, "1"]}, "Configuration.cpus[1]: int is needed"),
        (Configuration, {"environment": {"A": 1}}, "Configuration.environment.A: str is needed"),
        (Configuration, {"environment": ["A=1"]}, "Configuration.environment: a mapping is needed"),
        (Configuration, {"restart": "sometimes"}, "'sometimes' is none of never, on_failure, always"),
        (Configuration, {"restart": ["never"]}, "is none of"),
        (Configuration, {"limits": None}, "Configuration.limits: a mapping is needed, not nothing"),
        (Configuration, {"stop_grace_s": float("nan")}, "a finite number"),
        (Configuration, {"stop_grace_s": float("inf")}, "a finite number"),
        (Configuration, {"stop_grace_s": 10**400}, "a finite number"),
        (Configuration, {"stop_grace_s": "10"}, "float is needed, not str"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(cls: type, data: Any, place: str) -> None:
    with pytest.raises(Mismatch) as refused:
        decode(cls, data)
    assert place in str(refused.value)


def test_a_whole_number_serves_as_a_fraction_and_becomes_one() -> None:
    assert encode(decode(Configuration, {"stop_grace_s": 10})) == encode(Configuration(stop_grace_s=10.0))
    assert json.dumps(encode(decode(Configuration, {"stop_grace_s": 10}))["stop_grace_s"]) == "10.0"


def test_secrets_are_hidden_wherever_they_are_nested() -> None:
    configuration = Configuration(
        arguments=("--port=80",),
        secret_arguments=("--key=hunter2", "--other=hunter3"),
        environment={"A": "open"},
        secret_environment={"TOKEN": "hunter4"},
        limits=Limits(open_files=5),
    )
    release = Release(1, Image("0" * 64, 1), configuration)
    shown = encode(replace(State("www", "salt"), current=release, kept=(release,)), redact=True)
    assert "hunter" not in json.dumps(shown)
    assert shown["current"]["configuration"]["secret_environment"] == {"TOKEN": REDACTED}
    assert shown["current"]["configuration"]["secret_arguments"] == [REDACTED, REDACTED]
    assert shown["current"]["configuration"]["arguments"] == ["--port=80"]


def test_the_options_of_checks_count_as_secret() -> None:
    spec = CheckSpec("http", "web", options={"password": "hunter2", "url": "http://a"})
    assert encode(spec, redact=True)["options"] == {"password": REDACTED, "url": REDACTED}
