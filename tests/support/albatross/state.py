# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""albatrossd's state file: what runs and which policies there are, as the frames that would bring it about."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross import wire
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.messages import (
    AddPolicy,
    Create,
    Message,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import Policy, UnikernelConfig

Unikernels = list[tuple[Name, UnikernelConfig]]
Policies = dict[tuple[str, ...], Policy]


def save(path: Path, unikernels: Mapping[Name, UnikernelConfig], policies: Mapping[tuple[str, ...], Policy]) -> None:
    """All of it, images included."""
    told = [
        *(Message(Name(where), AddPolicy(policy)) for where, policy in policies.items()),
        *(Message(name, Create(config)) for name, config in sorted(unikernels.items(), key=lambda one: str(one[0]))),
    ]
    new = path.with_suffix(".new")
    new.write_bytes(b"".join(wire.framed(wire.encode(message)) for message in told))
    new.replace(path)


def load(path: Path) -> tuple[Unikernels, Policies]:
    unikernels: Unikernels = []
    policies: Policies = {}
    if not path.exists():
        return unikernels, policies
    file = io.BytesIO(path.read_bytes())
    while True:
        prefix = file.read(wire.LENGTH_OCTETS)
        if not prefix:
            return unikernels, policies
        message = wire.decode(file.read(int.from_bytes(prefix, "big")))
        if isinstance(message.payload, AddPolicy):
            policies[message.name.path] = message.payload.policy
        elif isinstance(message.payload, Create):
            unikernels.append((message.name, message.payload.config))
