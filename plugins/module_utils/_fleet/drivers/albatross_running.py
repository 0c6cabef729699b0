# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a unikernel runs on albatross: what a release wants, what the server tells, and in what they differ. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from ..albatross.records import (
    BlockUse,
    FailBehaviour,
    Generation,
    NetworkUse,
    UnikernelConfig,
    UnikernelInfo,
    UnikernelType,
)
from ..errors import DriverError
from ..model import AlbatrossOptions, BlockDevice, Configuration, Network, Release, RestartPolicy
from ..runtime.mac import derived_mac
from .albatross_place import Place

DEFAULT_MEMORY_MIB = 32
DEFAULT_CPUS = (0,)
"""Both as albatross-client."""
DEFAULT_STARTUP = 50
DEFAULT_SECTOR_SIZE = 512
RESTARTED_AFTER = (*range(2, 60), *range(65, 256))
"""Exit statuses that are failures. After 1 and 60 to 64, which say that it was started wrongly, albatross restarts
nothing, nor after a death by signal."""


@dataclass(frozen=True)
class WiredNetwork:
    device: str
    bridge: str
    mac: str


@dataclass(frozen=True)
class WiredBlock:
    device: str
    volume: str


@dataclass(frozen=True)
class Running:
    """All that albatross has of a unikernel, and tells of it: two that are equal here run alike."""

    digest: str
    memory_mib: int
    cpus: tuple[int, ...]
    networks: tuple[WiredNetwork, ...]
    blocks: tuple[WiredBlock, ...]
    arguments: tuple[str, ...]
    restart: bool
    restart_codes: tuple[int, ...]
    startup: int
    add_name: Optional[bool] = None
    """None: not known. albatross does not tell it."""


def wanted(name: str, place: Place, release: Release, label: Optional[str] = None) -> Running:
    """What the release is to run as, under its name or another label: of which it is told nothing."""
    configuration = release.configuration
    told_its_name = configuration.albatross.add_name and place.generation is not Generation.V2_5
    says_its_name = told_its_name and label not in (None, name)
    behaviour = _behaviour(configuration.restart)
    return Running(
        digest=release.image.sha256,
        memory_mib=memory_mib(configuration),
        cpus=tuple(sorted(set(configuration.cpus))) or DEFAULT_CPUS,
        networks=tuple(
            sorted(
                (
                    WiredNetwork(network.name, network.bridge, (network.mac or _mac(place, network.name, name)).lower())
                    for network in configuration.networks
                ),
                key=lambda one: one.device,
            )
        ),
        blocks=tuple(
            sorted(
                (WiredBlock(b.name, b.path or b.name) for b in configuration.block_devices), key=lambda one: one.device
            )
        ),
        arguments=(
            *((_naming(name),) if says_its_name else ()),
            *configuration.arguments,
            *configuration.secret_arguments,
        ),
        restart=behaviour.restart,
        restart_codes=tuple(sorted(behaviour.codes)),
        startup=configuration.start_order,
        add_name=configuration.albatross.add_name and not says_its_name,
    )


def _naming(name: str) -> str:
    """As albatross puts it before the arguments."""
    return f"--name={name}"


def memory_mib(configuration: Configuration) -> int:
    return configuration.memory_mib if configuration.memory_mib is not None else DEFAULT_MEMORY_MIB


def told(info: UnikernelInfo) -> Running:
    """What the server tells of one."""
    return Running(
        digest=info.digest.hex(),
        memory_mib=info.memory_mib,
        cpus=tuple(sorted(set(info.cpus))),
        networks=tuple(
            sorted((WiredNetwork(n.guest_device, n.bridge, n.mac.lower()) for n in info.networks), key=_device)
        ),
        blocks=tuple(sorted((WiredBlock(b.guest_device, b.host_device) for b in info.blocks), key=lambda b: b.device)),
        arguments=info.arguments,
        restart=info.fail_behaviour.restart,
        restart_codes=tuple(sorted(info.fail_behaviour.codes)),
        startup=DEFAULT_STARTUP if info.startup is None else info.startup,
    )


def _device(one: WiredNetwork) -> str:
    return one.device


def differences(expected: Running, found: Running) -> list[str]:
    """In which ways something runs otherwise than expected, in clauses. Arguments are not repeated: some are secret."""
    said = []
    if expected.digest != found.digest:
        said.append(f"its image is {found.digest[:12]} instead of {expected.digest[:12]}")
    for word, one, other in (
        ("memory", f"{expected.memory_mib} MiB", f"{found.memory_mib} MiB"),
        ("CPUs", _listed(expected.cpus), _listed(found.cpus)),
        ("networks", _networks(expected), _networks(found)),
        ("block devices", _blocks(expected), _blocks(found)),
        ("start order", str(expected.startup), str(found.startup)),
        ("restart behaviour", _restart(expected), _restart(found)),
    ):
        if one != other:
            said.append(f"its {word}: {other} instead of {one}")
    if expected.arguments != found.arguments:
        said.append("its arguments are others")
    if None not in (expected.add_name, found.add_name) and expected.add_name != found.add_name:
        said.append("its label is" + (" not" if expected.add_name else "") + " put before its arguments")
    return said


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers)) or "none"


def _networks(running: Running) -> str:
    return ", ".join(f"{n.device} on {n.bridge} ({n.mac})" for n in running.networks) or "none"


def _blocks(running: Running) -> str:
    return ", ".join(f"{b.device} from {b.volume}" for b in running.blocks) or "none"


def _restart(running: Running) -> str:
    if not running.restart:
        return "never"
    if running.restart_codes == RESTARTED_AFTER:
        return "on failure"
    return f"after the exit statuses {_listed(running.restart_codes)}" if running.restart_codes else "always"


def config_of(running: Running, image: bytes) -> UnikernelConfig:
    """What is sent. A MAC is always said: derived by the server it would depend on the label."""
    return UnikernelConfig(
        memory_mib=running.memory_mib,
        cpus=running.cpus,
        fail_behaviour=FailBehaviour(running.restart, running.restart_codes),
        startup=None if running.startup == DEFAULT_STARTUP else running.startup,
        add_name=bool(running.add_name),
        blocks=tuple(BlockUse(block.device, block.volume) for block in running.blocks),
        networks=tuple(NetworkUse(n.device, n.bridge, n.mac) for n in running.networks),
        arguments=running.arguments,
        image=image,
    )


def found_configuration(name: str, place: Place, info: UnikernelInfo, label: str) -> Configuration:
    """The configuration of what runs under that label and is not on record. DriverError for what could not be started
    again as it is."""
    if info.type is not UnikernelType.SOLO5:
        raise DriverError(f"{name} runs on {place} under {info.type.value}, and this driver runs Solo5 only.")
    sized = [block.guest_device for block in info.blocks if block.sector_size not in (0, DEFAULT_SECTOR_SIZE)]
    if sized:
        raise DriverError(
            f"{name} runs on {place}, and its block device {sized[0]} has sectors of a size of its own, which this "
            "driver could not give it again. It was left as it is."
        )
    named_by_us = label != name and info.arguments[:1] == (_naming(name),)
    behaviour = info.fail_behaviour
    restart = RestartPolicy.NEVER
    if behaviour.restart:
        restart = RestartPolicy.ON_FAILURE if behaviour.codes else RestartPolicy.ALWAYS
    return Configuration(
        driver="albatross",
        memory_mib=info.memory_mib,
        cpus=tuple(sorted(set(info.cpus))),
        networks=tuple(
            Network(n.guest_device, n.bridge, None if n.mac.lower() == _mac(place, n.guest_device, name) else n.mac)
            for n in sorted(info.networks, key=lambda n: n.guest_device)
        ),
        block_devices=tuple(
            BlockDevice(b.guest_device, b.host_device) for b in sorted(info.blocks, key=lambda b: b.guest_device)
        ),
        arguments=info.arguments[1:] if named_by_us else info.arguments,
        # As albatross-client does unless it is told otherwise.
        albatross=AlbatrossOptions(add_name=named_by_us or (label == name and place.generation is not Generation.V2_5)),
        restart=restart,
        start_order=DEFAULT_STARTUP if info.startup is None else min(max(info.startup, 0), 100),
    )


def _behaviour(policy: RestartPolicy) -> FailBehaviour:
    if policy is RestartPolicy.NEVER:
        return FailBehaviour()
    return FailBehaviour(True, RESTARTED_AFTER if policy is RestartPolicy.ON_FAILURE else ())


def _mac(place: Place, device: str, name: str) -> str:
    # Before release 2.6.1 of the server a path was taken as it was written.
    path = place.path if place.generation is Generation.V2_5 else place.path.lower()
    return derived_mac(device, name, path)
