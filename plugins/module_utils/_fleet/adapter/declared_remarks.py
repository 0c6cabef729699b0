# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is odd about an inventory and forbids nothing: said once, before anything is asked or done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional

from ..releases.plan_entries import UNKNOWN_NODE
from .declared import Declaration
from .options import PREFIX

NODE_ROOT = "node_root"
"""The variable of role node."""
ROOT_VARIABLES = (PREFIX + "root", NODE_ROOT)
_MOST_NAMES = 5


def why_nothing_is_declared(groups: Mapping[str, Sequence[str]], group: str) -> Optional[str]:
    """None where something is."""
    if groups.get(group):
        return None
    what = "is empty" if group in groups else "does not exist"
    return (
        f"No unikernel is declared: the group {group} {what} in this inventory. So nothing is deployed, updated or "
        "rolled back; what nodes run all the same is looked at, and removed only on request. Put your unikernels into "
        "that group, or see whether this is the inventory that you mean (-i)."
    )


def ignored_roots(declarations: Sequence[Declaration], root_of: Callable[[str], Optional[str]]) -> list[str]:
    """Of each node that names a state folder which its unikernels do not take over, in a sentence or two.

    ``root_of``: the state folder that a node's own variables name, if any. A unikernel is a host of its own, and has
    only what is declared for itself; one that names a folder, be it another one, is meant so.
    """
    silent: dict[str, list[Declaration]] = {}
    for one in declarations:
        if not one.root_given and one.declared.node != UNKNOWN_NODE:
            silent.setdefault(one.declared.node, []).append(one)
    said = []
    for node, there in silent.items():
        root = root_of(node)
        ignoring = [one for one in there if root and one.root != root]
        if ignoring:
            said.append(_ignored(node, str(root), ignoring))
    return said


def _ignored(node: str, root: str, ignoring: Sequence[Declaration]) -> str:
    names = [one.declared.host for one in ignoring]
    listed = ", ".join(names[:_MOST_NAMES])
    if len(names) > _MOST_NAMES:
        listed += f" and {len(names) - _MOST_NAMES} more"
    return (
        f"The node {node} names {root} as its state folder, and that does not count for the unikernels on it that name "
        f"none of their own ({listed}): theirs is {ignoring[0].root}. Declare it for them, for instance in "
        f'group_vars/unikernels.yml as unikernel_root: "{{{{ hostvars[unikernel_node].unikernel_root }}}}".'
    )


def root_named_by(variables: Mapping[str, Any]) -> Optional[str]:
    """By the templated variables of a node."""
    return next((str(variables[name]) for name in ROOT_VARIABLES if variables.get(name)), None)
