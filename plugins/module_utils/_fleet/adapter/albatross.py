# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The option ``albatross``: from its words to a place, and when another place may be taken for the same unikernel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from ..drivers.albatross_place import Place, Places, place_from
from ..errors import DriverError, InvalidDeclaration
from ..images.store import ImageStore
from ..layout import NodeLayout
from ..model import checked_name

DRIVER = "albatross"


def place_of(parameters: Mapping[str, Any]) -> Optional[Place]:
    """The declared place; None where nothing is said of albatross, and the one that is written down stays."""
    given = parameters.get("albatross")
    if given is None:
        return Place() if parameters.get("driver") == DRIVER else None
    if not isinstance(given, Mapping):
        raise InvalidDeclaration("albatross has to be a mapping: where it is, and what path.")
    words = {key: value for key, value in given.items() if value is not None and key != "add_name"}
    if "timeout" in words:
        words["timeout_s"] = words.pop("timeout")
    return place_from(words)


def places_of(given: Optional[Mapping[str, Any]]) -> dict[str, Place]:
    """Of several unikernels, by name, in the same words."""
    places = {}
    for name, words in (given or {}).items():
        place = place_of({"driver": DRIVER, "albatross": words or {}})
        if place is not None:
            places[checked_name(name)] = place
    return places


def refuse_another_place(layout: NodeLayout, store: ImageStore, name: str, place: Place) -> None:
    """Under another path or on another server it would be another unikernel, and the one that runs would run on.

    The same server may be reached in another way: then what runs is seen from there as well.
    """
    written = Places(layout).written(name)
    if written is None or (written.path, written.server) == (place.path, place.server):
        return
    from ..drivers.albatross import AlbatrossDriver

    there = AlbatrossDriver(layout, store, Places(layout, {name: place}))
    before = AlbatrossDriver(layout, store, Places(layout, {name: written}))
    try:
        if written.path == place.path and any(i.works for i in there.inspect([name])[name]):
            return
        runs = any(i.alive for i in before.inspect([name])[name])
    except DriverError as error:
        raise DriverError(
            f"{name} is recorded at {written}, and declared at {place}. Whether it runs at the former is not known: "
            f"{error} Nothing was changed. If that albatross is gone for good, remove {layout.albatross(name)}."
        ) from error
    if runs:
        raise InvalidDeclaration(
            f"{name} runs at {written}, and is declared at {place}: it would run twice. Nothing was changed. Make it "
            "absent at the former first (state: absent, with the albatross it is at), then deploy it anew."
        )
