# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The drivers there are, by the word in ``unikernel_driver``. A static table: Ansible packs what is imported.

Each guest is imported when it is asked for: Ansible's packing still finds it, and a node that runs one kind need not
compile the others in every single run of a module (of which it keeps no bytecode).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Optional

from ..errors import InvalidDeclaration
from ..images.store import ImageStore
from ..layout import NodeLayout
from ..runtime.choice import choose
from .albatross_place import Places
from .process_driver import ProcessDriver
from .protocol import Driver


def _unix(layout: NodeLayout, store: ImageStore, places: Places) -> Driver:
    from .unix import UnixGuest

    return ProcessDriver(UnixGuest(), layout, store, choose(layout, "unix"))


def _solo5(layout: NodeLayout, store: ImageStore, places: Places) -> Driver:
    from .solo5 import Solo5Guest

    return ProcessDriver(Solo5Guest(layout), layout, store, choose(layout, "solo5"))


def _qemu(layout: NodeLayout, store: ImageStore, places: Places) -> Driver:
    from .qemu import QemuGuest

    return ProcessDriver(QemuGuest(layout, store), layout, store, choose(layout, "qemu"))


def _albatross(layout: NodeLayout, store: ImageStore, places: Places) -> Driver:
    from .albatross import AlbatrossDriver

    return AlbatrossDriver(layout, store, places)


DRIVERS: Mapping[str, Callable[[NodeLayout, ImageStore, Places], Driver]] = {
    "unix": _unix,
    "solo5": _solo5,
    "qemu": _qemu,
    "albatross": _albatross,
}


def open_driver(name: str, layout: NodeLayout, store: ImageStore, places: Optional[Places] = None) -> Driver:
    """The driver of that name on this node; InvalidDeclaration when there is none. ``places``: of what an albatross
    runs; None: as they are written down."""
    try:
        opener = DRIVERS[name]
    except KeyError:
        known = ", ".join(sorted(DRIVERS))
        raise InvalidDeclaration(f"There is no driver {name!r}; known: {known}. Nothing was changed.") from None
    return opener(layout, store, places or Places(layout))
