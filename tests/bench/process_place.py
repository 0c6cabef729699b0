# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where benches run releases of the process drivers: a state folder, and images of programs and of Solo5's guests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.process_driver import ProcessDriver
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.registry import open_driver
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.unix import UnixGuest
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.images.store import ImageStore
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import Image
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.detached import DetachedSupervisor
from ansible_collections.unikernel.fleet.tests.support.network_lab import network_lab
from ansible_collections.unikernel.fleet.tests.support.programs import end_all_instances
from ansible_collections.unikernel.fleet.tests.support.solo5_named import named_image
from ansible_collections.unikernel.fleet.tests.support.web_program import web_program

NAME = "hello"


class Place:
    def __init__(self, root: Path, driver: str) -> None:
        self.layout = NodeLayout(root / "state")
        self.store = ImageStore(self.layout)
        if driver == "unix":
            self.driver: Any = ProcessDriver(UnixGuest(), self.layout, self.store, DetachedSupervisor())
        else:
            self.driver = open_driver(driver, self.layout, self.store)

    def program(self, version: str, behaviour: str = "well") -> Image:
        return self.store.add_stream([web_program(version, behaviour).encode("utf-8")])

    def guest(self, variant: str) -> Image:
        return self.store.add_file(named_image(variant, "spt"))


@contextmanager
def process_place(driver: str) -> Iterator[Place]:
    """In a network of its own; nothing of it is left afterwards."""
    with network_lab() as lab, TemporaryDirectory(prefix="fleet-bench-") as folder:
        try:
            place = Place(Path(folder), driver)
            lab.watch_over(place.layout.root, NAME)
            yield place
        finally:
            end_all_instances(Path(folder))
