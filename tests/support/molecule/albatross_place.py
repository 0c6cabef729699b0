# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which albatross the scenario ``albatross`` is played on: ``albatross_place.py FOLDER double|live``

Writes the variable ``albatross`` into ``FOLDER/run.yml``: where its sockets and its endpoint are, with which
certificates it is asked, which bridge it knows, and what of the story is told otherwise there. ``double`` is the one
that was started in the folder; ``live`` is named by ``ALBATROSS_SOCKETS`` and ``ALBATROSS_TLS`` as for tests/live. Its
unikernels are called ``fleet-test-...`` and get the last addresses of ``ALBATROSS_NETWORK``, which this machine reaches
through that bridge.
"""

from __future__ import annotations

import ipaddress
import json
import os
import sys
from pathlib import Path
from typing import Any

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.client import Client
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import ROOT
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import Generation
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.unix_sockets import UnixSockets

VERSIONS = (1, 2, 4, 5, 6)
"""Of the good builds."""


def double(folder: Path, ports: dict[str, int]) -> dict[str, Any]:
    told = json.loads((folder / "albatross.json").read_text(encoding="utf-8"))
    certificates = str(folder / "albatross" / "double" / "certificates" / "root.pem")
    return {
        "sockets": str(folder / "albatross"),
        "address": "127.0.0.1",
        "port": told["tls_port"],
        "certificates": certificates,
        "key": str(folder / "albatross" / "double" / "certificates" / "root.key"),
        "server_ca": certificates,
        "generation": "2.7",
        "bridge": "br-alb",
        "quarantine": "br-quarantine",
        "tenant": "dev",
        "prefix": "",
        "shown": {name: name for name in ports},
        "stable_for": 0.3,
        "deadline": 4,
        "arguments": {name: [f"--http={port}"] for name, port in ports.items()},
        "urls": {name: f"http://127.0.0.1:{port}" for name, port in ports.items()},
        "answers": {name: {str(version): f"{name} {version} hello" for version in VERSIONS} for name in ports},
        "last_words": "it ended; its last words: shop 3 starts",
        "says_up": "starts",
        "says_dying": "no configuration",
    }


def live(_folder: Path, ports: dict[str, int]) -> dict[str, Any]:
    endpoint, server_ca, certificates, key = os.environ["ALBATROSS_TLS"].split(",")
    address, _colon, port = endpoint.rpartition(":")
    network = ipaddress.ip_network(os.environ.get("ALBATROSS_NETWORK", "192.0.2.0/24"))
    addresses = {name: network[-2 - number] for number, name in enumerate(ports)}
    return {
        "sockets": os.environ["ALBATROSS_SOCKETS"],
        "address": address.strip("[]"),
        "port": int(port),
        "certificates": certificates,
        "key": key,
        "server_ca": server_ca,
        "generation": os.environ.get("ALBATROSS_GENERATION", "2.7"),
        "bridge": os.environ.get("ALBATROSS_BRIDGE", ""),
        "quarantine": os.environ.get("ALBATROSS_QUARANTINE", ""),
        "tenant": "fleet-test",
        "prefix": "fleet-test-",
        "shown": {name: f"{name} (fleet-test-{name})" for name in ports},
        # The image that crashes does so after two seconds, and an emulated guest takes its time to answer.
        "stable_for": 2.5,
        "deadline": 15,
        "arguments": {name: [f"--ipv{one.version}={one}/{network.prefixlen}"] for name, one in addresses.items()},
        "urls": {name: f"http://{f'[{one}]' if one.version == 6 else one}" for name, one in addresses.items()},
        # See builds.py: odd versions are made of the image v1, even ones of v2, and each says which it is.
        "answers": {name: {str(version): f"v{2 - version % 2}" for version in VERSIONS} for name in ports},
        "last_words": "solo5_abort() called",
        "says_up": "httpd: ready",
        "says_dying": "solo5_abort() called",
    }


def main() -> None:
    folder, kind = Path(sys.argv[1]), sys.argv[2]
    run = json.loads((folder / "run.yml").read_text(encoding="utf-8"))
    variables = run["all"]["vars"]
    place = (live if kind == "live" else double)(folder, variables["ports"])
    client = Client(UnixSockets(Path(place["sockets"])), Generation(place["generation"]))
    bridges = next(entry.policy.bridges for entry in client.policies(ROOT) if entry.name == ROOT)
    place["bridge"] = place["bridge"] or bridges[0]
    place["bridges"] = sorted(bridges)
    variables["albatross"] = place
    # For look.py.
    pages = {"live": "/version", "double": "/"}
    variables["urls"] = {name: url + pages[kind] for name, url in place["urls"].items()}
    (folder / "run.yml").write_text(json.dumps(run), encoding="utf-8")
    print(json.dumps(place))


if __name__ == "__main__":
    main()
