# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""MAC addresses: those that albatross gives, as seen on a real one."""

from __future__ import annotations

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.mac import derived_mac, why_no_mac


@pytest.mark.parametrize(
    ("device", "path", "name", "mac"),
    [("service", "", "hello", "00:80:41:cd:8a:eb"), ("service", "dev", "svc", "00:80:41:d1:33:e8")],
)
def test_they_are_those_of_albatross(device: str, path: str, name: str, mac: str) -> None:
    assert derived_mac(device, name, path) == mac


@pytest.mark.parametrize("text", ["00:80:41:cd:8a:eb", "FE:00:00:00:00:01"])
def test_a_good_one_is_taken(text: str) -> None:
    assert why_no_mac(text) == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("00:80:41:cd:8a", "is no MAC"),
        ("00-80-41-cd-8a-eb", "is no MAC"),
        ("01:00:5e:00:00:01", "multicast"),
        ("00:00:00:00:00:00", "zero"),
        ("00:80:41:cd:8a:eb\n", "is no MAC"),
    ],
)
def test_a_bad_one_is_told(text: str, reason: str) -> None:
    assert reason in why_no_mac(text)
