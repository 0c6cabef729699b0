# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What somebody does at an albatross without the fleet: ``albatross_by_hand.py FOLDER COMMAND ...``

``create NAME BUILD_ID`` starts a unikernel of the fleet with the image of a published build, by force; ``info NAME``
prints what albatross tells of it as JSON (null: nothing runs), also of one of the tenant's, ``tenant:NAME``; ``tenant``
issues the certificate of a tenant with room for one small unikernel, into ``FOLDER/tenant``. Which albatross that is,
albatross_place.py has written down.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.client import Client
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import (
    Generation,
    NetworkUse,
    Policy,
    UnikernelConfig,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.unix_sockets import UnixSockets
from ansible_collections.unikernel.fleet.tests.support import albatross_certificates


def create(folder: Path, place: dict[str, Any], client: Client, name: str, build: str) -> None:
    image = next(folder.glob(f"repository/builds/{build}/**/{name}.*"))
    config = UnikernelConfig(
        networks=(NetworkUse("service", place["bridge"]),),
        arguments=tuple(place["arguments"][name]),
        image=image.read_bytes(),
        add_name=False,
    )
    client.force_create(full_name(place, name), config)


def info(place: dict[str, Any], client: Client, name: str) -> None:
    told = client.unikernel(full_name(place, name))
    shown = None
    if told is not None:
        shown = {"started": told.started, "memory_mib": told.memory_mib, "arguments": told.arguments}
    print(json.dumps(shown))


def full_name(place: dict[str, Any], name: str) -> Name:
    owner, _colon, label = name.rpartition(":")
    return Name((place["tenant"],) if owner else (), place["prefix"] + label)


def tenant(folder: Path, place: dict[str, Any]) -> None:
    made = folder / "tenant"
    made.mkdir(exist_ok=True)
    issuer = albatross_certificates.Files(Path(place["certificates"]), Path(place["key"]))
    policy = Policy(cpus=(0,), unikernels=1, memory_mib=64, bridges=(place["bridge"],))
    albatross_certificates.tenant_of(made, issuer, place["tenant"], policy)


def main() -> None:
    folder, what, *words = Path(sys.argv[1]), *sys.argv[2:]
    place = json.loads((folder / "run.yml").read_text(encoding="utf-8"))["all"]["vars"]["albatross"]
    client = Client(UnixSockets(Path(place["sockets"])), Generation(place["generation"]))
    if what == "create":
        create(folder, place, client, *words)
    elif what == "info":
        info(place, client, *words)
    else:
        tenant(folder, place)


if __name__ == "__main__":
    main()
