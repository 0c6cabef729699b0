# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What albatrossd knows and checks: unikernels, block devices, policies. Pure; a refusal is a Fault in its words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Optional

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import (
    Generation,
    Policy,
    UnikernelArguments,
)
from ansible_collections.unikernel.fleet.tests.support.albatross.faults import Fault
from ansible_collections.unikernel.fleet.tests.support.albatross.listing import labels_of
from ansible_collections.unikernel.fleet.tests.support.albatross.machine import MOST

if TYPE_CHECKING:
    from ansible_collections.unikernel.fleet.tests.support.albatross.running import Running

Path = tuple[str, ...]


@dataclass
class Block:
    size_mib: int
    active: bool = False


@dataclass
class Resources:
    generation: Generation = Generation.V2_7
    """In whose words is refused."""
    unikernels: dict[Name, Running] = field(default_factory=dict)
    policies: dict[Path, Policy] = field(default_factory=dict)
    blocks: dict[Name, Block] = field(default_factory=dict)

    # --- unikernels

    def check(self, name: Name, arguments: UnikernelArguments, without: Optional[Name] = None) -> None:
        """The policy of the path itself, then block devices. ``without``: as if that one did not run."""
        policy = self.policies.get(name.path)
        if policy is not None:
            others = [one for key, one in self._below(name.path) if key != without]
            _allow(policy, len(others), sum(one.config.memory_mib for one in others), arguments, self.generation)
        freed = self.unikernels[without].block_names if without in self.unikernels else ()
        for block in block_names(name, arguments):
            found = self.blocks.get(block)
            if found is None:
                raise Fault(f"block device {block} not found")
            if found.active and block not in freed:
                raise Fault(f"block device {block} already in use")

    def insert(self, running: Running) -> None:
        self.unikernels[running.name] = running
        for block in running.block_names:
            self.blocks[block].active = True

    def remove(self, name: Name) -> None:
        running = self.unikernels.pop(name, None)
        for block in running.block_names if running else ():
            self.blocks[block].active = False

    def _below(self, path: Path) -> list[tuple[Name, Running]]:
        return [(name, one) for name, one in self.unikernels.items() if labels_of(name)[: len(path)] == path]

    # --- policies

    def most_unikernels(self, name: Name) -> int:
        """What the console daemon is told that the path may have."""
        policy = self.policies.get(name.path)
        return MOST if not name.path else policy.unikernels if policy else 0

    def insert_policy(self, path: Path, policy: Policy) -> None:
        for depth in range(len(path) - 1, 0, -1):
            above = self.policies.get(path[:depth])
            if above is not None:
                _fit(above, policy)
        for below, other in self.policies.items():
            if below != path and below[: len(path)] == path:
                _fit(policy, other)
        self._allow_what_runs(path, policy)
        self.policies[path] = policy

    def _allow_what_runs(self, path: Path, policy: Policy) -> None:
        running = [one.config for _name, one in self._below(path)]
        cpus = {cpu for config in running for cpu in config.cpus} - set(policy.cpus)
        bridges = {bridge for config in running for bridge in bridges_of(config)}
        memory = sum(config.memory_mib for config in running)
        block = self.block_usage(path)
        if cpus:
            if self.generation is Generation.V2_7:
                raise Fault(f"policy does not allow CPUids {_listed(sorted(cpus))}")
            used = {cpu for config in running for cpu in config.cpus}
            allowed, needed = _listed(sorted(policy.cpus)), _listed(sorted(used))
            raise Fault(f"policy allows CPUids {allowed}, which is not a superset of {needed}")
        if not bridges <= set(policy.bridges):
            raise Fault(
                f"policy allows bridges {_listed(sorted(policy.bridges))}, which is not a superset of "
                f"{_listed(sorted(bridges))}"
            )
        if len(running) > policy.unikernels:
            raise Fault(
                f"unikernel would exceed running unikernel limit set by policy to {policy.unikernels}, "
                f"running {len(running)}"
            )
        if memory > policy.memory_mib:
            raise Fault(
                f"unikernel would exceed running memory limit set by policy to {policy.memory_mib} MB, used {memory} MB"
            )
        if block > (policy.block_mib or 0):
            raise Fault(
                f"unikernel would exceed running block storage limit set by policy to {policy.block_mib or 0} MB, "
                f"used {block} MB"
            )

    # --- block devices

    def block_usage(self, path: Path) -> int:
        return sum(one.size_mib for name, one in self.blocks.items() if labels_of(name)[: len(path)] == path)

    def check_block(self, name: Name, size_mib: int) -> None:
        if name in self.blocks:
            raise Fault("block device with same name already exists")
        policy = self.policies.get(name.path)
        if policy is None:
            return
        if policy.block_mib is None:
            raise Fault("no block devices are allowed by policy")
        used = self.block_usage(name.path)
        if size_mib > policy.block_mib - used:
            raise Fault(
                f"block device policy limit of {policy.block_mib} MB (used {used} MB) would be exceeded by the "
                f"request ({size_mib} MB)"
            )


def bridges_of(arguments: UnikernelArguments) -> list[str]:
    return [use.bridge or use.guest_device for use in arguments.networks]


def block_names(name: Name, arguments: UnikernelArguments) -> tuple[Name, ...]:
    return tuple(Name(name.path, use.host_device or use.guest_device) for use in arguments.blocks)


def _allow(policy: Policy, running: int, used_mib: int, arguments: UnikernelArguments, generation: Generation) -> None:
    if running + 1 > policy.unikernels:
        raise Fault(f"maximum amount of unikernels ({policy.unikernels}) reached")
    if arguments.memory_mib > policy.memory_mib - used_mib:
        raise Fault(
            f"maximum allowed memory ({policy.memory_mib}, used {used_mib}) would be exceeded "
            f"(requesting {arguments.memory_mib})"
        )
    cpus = sorted(set(arguments.cpus) - set(policy.cpus))
    if cpus:
        one, several = f"CPUid {_listed(cpus)} is", f"CPUids {_listed(cpus)} are"
        raise Fault(f"{several if generation is Generation.V2_7 else one} not allowed by policy")
    bridges = [bridge for bridge in bridges_of(arguments) if bridge not in policy.bridges]
    if bridges:
        raise Fault(f"bridges {_listed(bridges)} not allowed by policy")


def _fit(above: Policy, below: Policy) -> None:
    if above.unikernels < below.unikernels:
        raise Fault(f"policy above allows {above.unikernels} unikernels, which is fewer than {below.unikernels}")
    if above.memory_mib < below.memory_mib:
        raise Fault(f"policy above allows {above.memory_mib} MB memory, which is fewer than {below.memory_mib} MB")
    cpus = sorted(set(below.cpus) - set(above.cpus))
    if cpus:
        raise Fault(f"policy above does not allow CPUids {_listed(cpus)}")
    if not set(below.bridges) <= set(above.bridges):
        raise Fault(
            f"policy above allows bridge(s) {_listed(sorted(above.bridges))}, which is not a superset of "
            f"{_listed(sorted(below.bridges))}"
        )
    if below.block_mib is not None and (above.block_mib is None or above.block_mib < below.block_mib):
        raise Fault(
            f"policy above allows {above.block_mib or 0} MB block storage, which is fewer than {below.block_mib} MB"
        )


def _listed(items: Iterable[object]) -> str:
    return ", ".join(map(str, items))
