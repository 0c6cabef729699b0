# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Variables of many hosts: read as they are, templated only where they have to be, blamed on whom they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.declared import read_declarations
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.host_variables import variables_reader
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.plan_entries import UNKNOWN_NODE

NAMES = ("unikernel_node", "unikernel_name", "unikernel_root", "unikernel_memory_mib")


class HostVars:
    """As much of Ansible's object as is read."""

    def __init__(self, hosts: Mapping[str, Mapping[str, Any]]) -> None:
        self._hosts = hosts

    def raw_get(self, host: str) -> Mapping[str, Any]:
        return self._hosts[host]


class Templar:
    """Counts what it is asked for; knows no variable that is not there."""

    def __init__(self, variables: Mapping[str, Any] | None = None) -> None:
        self.variables = variables or {}
        self.asked: list[str] = []

    def copy_with_new_env(self, available_variables: Mapping[str, Any]) -> Templar:
        copy = Templar(available_variables)
        copy.asked = self.asked
        return copy

    def template(self, value: str) -> Any:
        self.asked.append(value)
        name = value.strip("{} ").removesuffix(" | upper")
        if name not in self.variables:
            raise KeyError(f"'{name}' is undefined")
        return str(self.variables[name]).upper()


def read(templar: Templar, **hosts: Mapping[str, Any]) -> list[Any]:
    return list(read_declarations(list(hosts), variables_reader(HostVars(hosts), templar, NAMES)))


def test_literals_and_plain_references_need_no_template() -> None:
    templar = Templar()
    (one,) = read(templar, www={"unikernel_node": "{{ place }}", "place": "dom0", "unikernel_memory_mib": 32})
    assert (one.declared.node, one.declared.error) == ("dom0", None)
    assert templar.asked == []


def test_what_cannot_be_templated_is_an_error_of_its_host_alone() -> None:
    good = {"unikernel_node": "dom0"}
    bad = {"unikernel_node": "dom0", "unikernel_root": "{{ nowhere | upper }}"}
    www, dns = read(Templar(), www=good, dns=bad)
    assert (www.declared.node, www.declared.error) == ("dom0", None)
    assert dns.declared.node == UNKNOWN_NODE
    assert "dns: unikernel_root cannot be templated" in dns.declared.error and "nowhere" in dns.declared.error


@pytest.mark.parametrize("root", ["relative/folder", "", "~/fleet"])
def test_a_state_folder_that_is_not_absolute_is_refused(root: str) -> None:
    (one,) = read(Templar(), www={"unikernel_node": "dom0", "unikernel_root": root})
    if root:
        assert "has to be an absolute path" in one.declared.error
    else:
        assert one.declared.error is None  # left out, as an empty variable is
