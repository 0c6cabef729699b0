# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What counts as a secret among parameters: as AnsibleModule has it, and the credentials of checks."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter import image, unikernel
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.hiding import secrets_of
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.options import Option


@pytest.mark.parametrize(
    "given, secrets",
    [
        ({"arguments": ["plain"], "secret_arguments": ["--key=s3cret", "other"]}, {"--key=s3cret", "other"}),
        ({"secret_environment": {"TOKEN": "t0ken"}, "environment": {"TOKEN": "plain"}}, {"t0ken"}),
        ({"secret_environment": {"PIN": 84723911, "ON": True, "NONE": None}}, {"84723911"}),
        ({"secret_arguments": None, "secret_environment": {}}, set()),
        ({"checks": [{"http": {"url": "http://x/", "headers": {"Authorization": "Basic b"}}}]}, {"Basic b"}),
    ],
)
def test_of_a_unikernel(given: dict[str, Any], secrets: set[str]) -> None:
    assert secrets_of(given, unikernel.ARGUMENTS) == secrets


def test_of_an_image() -> None:
    given = {"url": "http://x/", "url_username": "me", "url_password": "s3cret"}
    assert secrets_of(given, image.ARGUMENTS) == {"s3cret"}


def test_of_options_within_options() -> None:
    options = (Option("many", "list", elements="dict", options=(Option("key", secret=True), Option("name"))),)
    given = {"many": [{"key": "one", "name": "a"}, {"key": "two"}, {"name": "b"}]}
    assert secrets_of(given, options) == {"one", "two"}
    one = (Option("one", "dict", options=(Option("key", secret=True),)),)
    assert secrets_of({"one": {"key": "three"}}, one) == {"three"}
