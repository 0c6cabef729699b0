# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of interfaces and namespaces: short, stable, and apart from each other."""

from __future__ import annotations

from hypothesis import given, strategies as st

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.interface_names import (
    interface_name,
    label_of,
    port_mac,
)


@given(st.text(max_size=63), st.integers(0, 10**9))
def test_they_fit_and_can_be_words_of_a_command(name: str, release: int) -> None:
    made = interface_name("p", "/var/lib/unikernel-fleet", name, release, "service")
    assert len(made) == 15 and made.isalnum() and made.startswith("ukp")


def test_they_do_not_change() -> None:
    assert interface_name("p", "/r", "hello", 1, "service") == interface_name("p", "/r", "hello", 1, "service")
    assert port_mac("ukpabc") == port_mac("ukpabc") and port_mac("ukpabc").startswith("fe:")


def test_another_release_folder_device_or_use_is_another_name() -> None:
    names = {
        interface_name(use, root, name, release, device)
        for use in "pn"
        for root in ("/a", "/b")
        for name in ("x", "y")
        for release in (1, 11)
        for device in ("service", "1service")
    }
    assert len(names) == 32


def test_labels_begin_with_those_of_the_instance_and_of_no_other() -> None:
    assert label_of("/r", "hello", 1, "service").startswith(label_of("/r", "hello", 1))
    assert not label_of("/r", "hello", 11, "service").startswith(label_of("/r", "hello", 1))
    assert not label_of("/r", "hello2", 1, "service").startswith(label_of("/r", "hello", 1))
