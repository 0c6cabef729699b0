# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a user writes below ``checks`` in the inventory, as checks that can be made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ..errors import InvalidDeclaration
from .bounded import bounded
from .model import CheckSpec, Vantage
from .options import as_flag, as_number, shape
from .registry import CHECKS

MAX_CHECKS = 100
LONGEST_TIMEOUT_S = 300.0
_FROM = {Vantage.NODE: "", Vantage.CONTROLLER: " from the controller"}
"""Part of the default name, so that one target can be looked at from both."""
_COMMON = ("name", "required", "wanted", "from", "timeout")


def checks_from(
    declared: Sequence[Mapping[str, Any]], address: Optional[str], seen_from: Optional[Vantage] = None
) -> tuple[CheckSpec, ...]:
    """The checks of a unikernel; ``address`` is the default target of those that need one.

    With ``seen_from`` only those that look from there. The others are not even read: they may need a library that
    only the other side has. InvalidDeclaration names the check and what is wrong with it; MissingLibrary where a kind
    cannot be read here.
    """
    if isinstance(declared, (str, bytes, Mapping)) or not isinstance(declared, Sequence):
        raise InvalidDeclaration(f"Checks have to be a list, not {shape(declared)}. Nothing was changed.")
    if len(declared) > MAX_CHECKS:
        raise InvalidDeclaration(f"{len(declared)} checks are too many, at most {MAX_CHECKS}. Nothing was changed.")
    specs: dict[str, CheckSpec] = {}
    for position, item in enumerate(declared, start=1):
        label = _label(position, item)
        try:
            if seen_from is not None and isinstance(item, Mapping) and _vantage(item.get("from")) is not seen_from:
                continue
            spec = _check_from(item, address)
            if spec.name in specs:
                raise InvalidDeclaration(f"another check has the name {spec.name!r}; give it a name of its own.")
        except InvalidDeclaration as error:
            raise InvalidDeclaration(f"{label}: {error} Nothing was changed.") from None
        specs[spec.name] = spec
    return tuple(specs.values())


def _check_from(item: Any, address: Optional[str]) -> CheckSpec:
    if not isinstance(item, Mapping):
        raise InvalidDeclaration(f"a mapping is needed, not {shape(item)}.")
    keys = [str(key) for key in item]
    kinds = [key for key in keys if key in CHECKS]
    unknown = sorted(repr(key) for key in keys if key not in CHECKS and key not in _COMMON)
    if unknown:
        raise InvalidDeclaration(
            f"unknown {', '.join(unknown)}; there are the kinds {', '.join(sorted(CHECKS))} "
            f"and beside them {', '.join(_COMMON)}."
        )
    if len(kinds) != 1:
        stated = "none is" if not kinds else f"{' and '.join(kinds)} are"
        raise InvalidDeclaration(f"exactly one kind of {', '.join(sorted(CHECKS))} is needed, {stated} given.")
    kind = CHECKS[kinds[0]]
    vantage = _vantage(item.get("from"))
    if kind.node_only and vantage is not Vantage.NODE:
        raise InvalidDeclaration(f"a {kind.kind} check looks at the instance itself: only from: node is possible.")
    options = kind.validated(kind.spelled_out(item[kinds[0]]), address)
    timeout = item.get("timeout")
    return CheckSpec(
        kind=kind.kind,
        name=_name(item.get("name"), f"{kind.kind} {kind.described(options)}{_FROM[vantage]}"),
        required=_required(item),
        vantage=vantage,
        timeout_s=CheckSpec.timeout_s if timeout is None else as_number("timeout", timeout, LONGEST_TIMEOUT_S),
        options=options,
    )


def _label(position: int, item: Any) -> str:
    """What the user can find again: the place in the list, the name or the kind."""
    if not isinstance(item, Mapping):
        return f"Check {position}"
    named = item.get("name") or next((key for key in item if key in CHECKS), None)
    return f"Check {position}" + (f" ({bounded(str(named), 80)})" if named else "")


def _name(given: Any, default: str) -> str:
    if given is None:
        return bounded(default, 150)
    name = "".join(str(given))
    if not name.strip() or name != bounded(name, 150):
        raise InvalidDeclaration("name: up to 150 printable characters are needed.")
    return name


def _required(item: Mapping[str, Any]) -> bool:
    if item.get("required") is not None and item.get("wanted") is not None:
        raise InvalidDeclaration("required and wanted exclude each other; give one of them.")
    if item.get("wanted") is not None:
        return not as_flag("wanted", item["wanted"], False)
    return as_flag("required", item.get("required"), True)


def _vantage(given: Any) -> Vantage:
    if given is None:
        return Vantage.NODE
    try:
        return Vantage(str(given))
    except ValueError:
        raise InvalidDeclaration(f"from: node or controller is needed, not {given!r}.") from None
