# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The variables of many hosts at once, templated only where they hold a template.

``hostvars[host]`` templates everything that is read from it, one host after the other; for a plan over a thousand
unikernels that is most of its time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .options import PREFIX

_MARKS = ("{{", "{%", "{#")


def variables_reader(hostvars: Any, templar: Any, prefix: str = PREFIX) -> Callable[[str], dict[str, Any]]:
    """A function from a host's name to its variables with the prefix, ready to use.

    ``hostvars`` is Ansible's object of that name, ``templar`` the one of an action plugin.
    """

    def variables_of(host: str) -> dict[str, Any]:
        raw = hostvars.raw_get(host)
        mine = {key: raw[key] for key in raw if key.startswith(prefix)}
        open_ones = [key for key, value in mine.items() if not is_literal(value)]
        if open_ones:
            scoped = templar.copy_with_new_env(available_variables=raw)
            for key in open_ones:
                mine[key] = scoped.template(mine[key])
        return mine

    return variables_of


def is_literal(value: Any) -> bool:
    """No template in it, and nothing that is decrypted or computed when it is templated."""
    if value is None or isinstance(value, (bool, int, float)):
        return True
    if isinstance(value, str):
        # Vaulted strings have classes of their own; text with the tags of Ansible 2.19 is still a str.
        return type(value).__name__ != "AnsibleVaultEncryptedUnicode" and not any(mark in value for mark in _MARKS)
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and is_literal(key) and is_literal(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(is_literal(item) for item in value)
    return False
