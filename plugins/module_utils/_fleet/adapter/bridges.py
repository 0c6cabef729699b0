# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module ``bridges``: the bridges of a node, made now and at every boot."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..codec import Mismatch, decode
from ..durable import make_folder, write_durably
from ..errors import InvalidDeclaration
from ..layout import NodeLayout
from ..runtime.declared_bridges import (
    OURS,
    DeclaredBridge,
    Step,
    carry_out,
    checked,
    encoded,
    links_of_machine,
    plan,
)
from ..runtime.ip_command import program
from . import options

ARGUMENTS = (
    options.ROOT,
    options.Option(
        "bridges",
        "list",
        elements="dict",
        required=True,
        options=(
            options.Option("name", required=True),
            options.Option("addresses", "list", elements="str", default=[]),
            options.Option("ports", "list", elements="str", default=[]),
            options.Option(
                "vlans",
                "list",
                elements="dict",
                default=[],
                options=(options.Option("interface", required=True), options.Option("id", "int", required=True)),
            ),
            options.Option("mtu", "int"),
            options.Option("stp", "bool", default=False),
        ),
    ),
)


def set_bridges(parameters: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The module's result."""
    layout = NodeLayout(Path(parameters["root"]))
    declared = declared_from(parameters["bridges"])
    # Without iproute2, which role node installs, nobody has made a bridge of ours: there is none to be taken away, and
    # in check mode nothing can be told but that those declared would be made.
    blind = program("ip") is None and (check_mode or not declared)
    links = {} if blind else links_of_machine()
    steps = () if blind else plan(declared, links)
    before = b""
    with suppress(FileNotFoundError):
        before = layout.bridges.read_bytes()
    after = encoded(declared) if declared else b""
    if not check_mode:
        carry_out(steps)
        _keep(layout, before, after)
    left_alone = [b.name for b in declared if b.name in links and links[b.name].alias != OURS]
    return {
        "changed": bool(steps) or before != after,
        "steps": [f"{step.bridge}: {step.what}" for step in steps],
        "left_alone": left_alone,
        "diff": {"before": before.decode("ascii", "replace"), "after": after.decode("ascii") + _told(steps)},
    }


def declared_from(items: list[dict[str, Any]]) -> tuple[DeclaredBridge, ...]:
    try:
        return checked(tuple(decode(DeclaredBridge, item) for item in items))
    except Mismatch as mismatch:
        raise InvalidDeclaration(f"bridges: {mismatch}.") from None


def _keep(layout: NodeLayout, before: bytes, after: bytes) -> None:
    """For the next boot."""
    if before == after:
        return
    if after:
        make_folder(layout.root)
        write_durably(layout.bridges, after, 0o644)
    else:
        layout.bridges.unlink()


def _told(steps: tuple[Step, ...]) -> str:
    return "".join(f"# {step.bridge}: {step.what}\n" for step in steps)
