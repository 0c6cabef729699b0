# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What somebody does at an albatross without the fleet: ``albatross_by_hand.py FOLDER COMMAND ...``

``create NAME BUILD_ID`` starts a unikernel of the fleet with the image of a published build, by force; ``info NAME``
prints what albatross tells of it as JSON (null: nothing runs); ``tenant LABEL`` issues the certificate of a tenant with
room for one small unikernel, into ``FOLDER/tenant``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.client import Client
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import (
    NetworkUse,
    Policy,
    UnikernelConfig,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.unix_sockets import UnixSockets
from ansible_collections.unikernel.fleet.tests.support import albatross_certificates

BRIDGE = "br-alb"
TENANT = Policy(cpus=(0,), unikernels=1, memory_mib=64, bridges=(BRIDGE,))


def create(folder: Path, client: Client, name: str, build: str) -> None:
    image = next(folder.glob(f"repository/builds/{build}/**/*.py"))
    port = json.loads((folder / "run.yml").read_text(encoding="utf-8"))["all"]["vars"]["ports"][name]
    config = UnikernelConfig(
        networks=(NetworkUse("service", BRIDGE),),
        arguments=(f"--http={port}",),
        image=image.read_bytes(),
        add_name=False,
    )
    client.force_create(Name.parse(name), config)


def info(client: Client, name: str) -> None:
    told = client.unikernel(Name.parse(name))
    shown = None
    if told is not None:
        shown = {"started": told.started, "memory_mib": told.memory_mib, "arguments": told.arguments}
    print(json.dumps(shown))


def tenant(folder: Path, label: str) -> None:
    made = folder / "tenant"
    made.mkdir(exist_ok=True)
    root = folder / "albatross" / "double" / "certificates"
    issuer = albatross_certificates.Files(root / "root.pem", root / "root.key")
    albatross_certificates.tenant_of(made, issuer, label, TENANT)


def main() -> None:
    folder, what, *words = Path(sys.argv[1]), *sys.argv[2:]
    client = Client(UnixSockets(folder / "albatross"))
    if what == "create":
        create(folder, client, *words)
    elif what == "info":
        info(client, *words)
    else:
        tenant(folder, *words)


if __name__ == "__main__":
    main()
