# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The variables of many hosts at once, templated only where they hold a template.

``hostvars[host]`` templates everything that is read from it, one host after the other; for a plan over a thousand
unikernels that is most of its time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ..errors import InvalidDeclaration

_MARKS = ("{{", "{%", "{#")
_REFERENCE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}", re.ASCII)


def variables_reader(hostvars: Any, templar: Any, names: Collection[str]) -> Callable[[str], dict[str, Any]]:
    """A function from a host to those of the named variables that it has, ready to use.

    ``hostvars`` is Ansible's object of that name, ``templar`` the one of an action plugin. Every template has to be
    compiled anew for every host (half a millisecond each), so none is that need not be.
    """

    def variables_of(host: str) -> dict[str, Any]:
        raw = hostvars.raw_get(host)
        mine = {name: _followed(raw[name], raw) for name in names if name in raw}
        open_ones = [name for name, value in mine.items() if not is_literal(value)]
        if open_ones:
            # Ansible leaves out of a host's raw variables only the way to those of the other hosts.
            scoped = templar.copy_with_new_env(available_variables={**raw, "hostvars": hostvars})
            for name in open_ones:
                mine[name] = _templated(scoped, host, name, mine[name])
        return mine

    return variables_of


def _templated(templar: Any, host: str, name: str, value: Any) -> Any:
    try:
        return templar.template(value)
    except Exception as error:  # an undefined variable, a wrong vault password, an error in a filter: all are theirs
        raise InvalidDeclaration(f"{host}: {name} cannot be templated: {error}") from error


def _followed(value: Any, raw: Mapping[str, Any]) -> Any:
    """What a template that is nothing but a variable's name stands for, when that is a literal."""
    reference = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if reference is None or reference[1] not in raw:
        return value
    target = raw[reference[1]]
    # Text that looks like data may be read as data by older versions of Ansible; they shall decide.
    plain = is_literal(target) and not (isinstance(target, str) and target[:1] in "{[")
    return target if plain else value


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
