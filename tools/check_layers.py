# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks that the library's layers depend downwards only, and that nothing below the adapter knows Ansible.

The library also runs on a node from a zip, without Ansible; and a layer that reaches upwards cannot be understood, or
tested, by itself. The imports are read from the syntax tree, those inside functions and ``if TYPE_CHECKING`` included.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

LIBRARY = Path(__file__).resolve().parent.parent / "plugins" / "module_utils" / "_fleet"
NAME = "ansible_collections.unikernel.fleet.plugins.module_utils._fleet"

# A layer may import from itself and from those of a lower height; files directly in the library are the lowest.
# Beside each other: no imports between them, apart from those named in BESIDE.
HEIGHT = {
    "": 0,
    **dict.fromkeys(("albatross", "checks", "images", "runtime", "sources"), 1),
    "drivers": 2,
    "releases": 3,
    "adapter": 4,
}
# Connections that end in time are made in one place, whoever needs them.
BESIDE: frozenset[tuple[str, str]] = frozenset({("albatross", "checks")})
STANDS_ON_ANSIBLE = frozenset({"adapter"})


def layer_of(parts: tuple[str, ...]) -> str:
    """The layer of a module given by its path inside the library: its first folder, or "" for the base."""
    if not parts:
        return ""
    if (LIBRARY / parts[0]).is_dir():
        return parts[0]
    return ""


def imported(path: Path, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The line and absolute name of each import; those of the library begin with ``_fleet``."""
    package = ("_fleet", *path.relative_to(LIBRARY).parent.parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name.replace(NAME, "_fleet")
        elif isinstance(node, ast.ImportFrom):
            base = node.module.replace(NAME, "_fleet") if node.module else ""
            if node.level:
                base = ".".join((*package[: len(package) - node.level + 1], *([base] if base else [])))
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def faults(path: Path) -> Iterator[str]:
    layer = layer_of(path.relative_to(LIBRARY).parts[:-1])
    if layer not in HEIGHT:
        yield f"{path}:1: the layer {layer!r} is unknown; give it a height in tools/check_layers.py"
        return
    for line, name in imported(path, ast.parse(path.read_text(encoding="utf-8"), str(path))):
        root, *inner = name.split(".")
        if root in ("ansible", "ansible_collections") and layer not in STANDS_ON_ANSIBLE:
            yield f"{path}:{line}: imports {name}; only {', '.join(sorted(STANDS_ON_ANSIBLE))} may know Ansible"
        if root == "_fleet":
            target = layer_of(tuple(inner))
            beside = target != layer and HEIGHT.get(target, 99) == HEIGHT[layer] and (layer, target) not in BESIDE
            if beside or HEIGHT.get(target, 99) > HEIGHT[layer]:
                yield f"{path}:{line}: {layer or 'the base'} imports {name}; dependencies point downwards only"


def main() -> int:
    found = [fault for path in sorted(LIBRARY.rglob("*.py")) for fault in faults(path)]
    for fault in found:
        print(fault)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
