# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What forbids a release on an albatross, found out before anything is stopped.

albatross looks at the image, its manifest and its bridges only after it has killed what ran; its policies it looks at
before. All of it is looked at here, by what it tells. Which tenders it has, it tells nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Optional

from ..albatross.client import Client
from ..albatross.names import LABEL, ROOT
from ..albatross.records import BlockDevice, Generation, NamedInfo, NamedPolicy, Policy
from ..errors import ImageError
from ..images.elf import read_notes
from ..model import Boot, Configuration, Limits, Release
from ..runtime.mac import why_no_mac
from .albatross_interfaces import refusals_of_interfaces
from .albatross_place import Place
from .albatross_running import DEFAULT_STARTUP, Running, memory_mib, wanted
from .solo5 import MOST_ARGUMENT_BYTES, refusals_of_devices

TARGETS = ("hvt", "spt")
"""Of Solo5, those that albatross has tenders for on Linux."""


def refusals_of_image(release: Release, image: Path) -> list[str]:
    """What albatross would find out about the image after the kill."""
    try:
        with open(image, "rb") as file:
            abi, devices = read_notes(file)
    except (ImageError, OSError) as error:
        return [f"its image cannot be run: {error}"]
    if abi is None:
        return ["its image is no Solo5 image (it has no ABI note), and albatross runs nothing else"]
    if abi.target not in TARGETS:
        return [f"its image is for the Solo5 target {abi.target}, and albatross runs {' and '.join(TARGETS)}"]
    reasons = []
    if release.abi is not None and release.abi != abi:
        reasons.append(
            f"its build says {release.abi.target} (ABI {release.abi.version}), its image {abi.target} (ABI "
            f"{abi.version})"
        )
    return reasons + refusals_of_devices(release.configuration, devices or ())


def refusals_of_options(configuration: Configuration, place: Place) -> list[str]:
    """What cannot be said to albatross, or not to one of this generation."""
    reasons = []
    for given, what in (
        (configuration.environment or configuration.secret_environment, "an environment was declared (use arguments)"),
        (configuration.working_directory is not None, "a working directory was declared (leave it out)"),
        (configuration.limits != Limits(), "limits were declared (the policy of its path is what limits it)"),
        (configuration.boot != Boot(), "boot was declared, which is for virtual machines (leave it out)"),
    ):
        if given:
            reasons.append(f"{what}, and a unikernel on albatross has none")
    words = (*configuration.arguments, *configuration.secret_arguments)
    if len(" ".join(words).encode("utf-8", "surrogateescape")) > MOST_ARGUMENT_BYTES:
        reasons.append(f"its arguments are longer than {MOST_ARGUMENT_BYTES} bytes")
    if memory_mib(configuration) < 1:
        reasons.append(f"its memory_mib is {configuration.memory_mib}, and at least 1 is needed")
    if place.generation is not Generation.V2_7 and len(set(configuration.cpus)) > 1:
        reasons.append(f"several CPUs were declared, and albatross {place.generation.value} takes one")
    if place.generation is Generation.V2_5 and configuration.start_order != DEFAULT_STARTUP:
        reasons.append("a start order was declared, and albatross 2.5 knows none")
    for network in configuration.networks:
        if network.mac is not None and why_no_mac(network.mac):
            reasons.append(f"the MAC {network.mac} of its network {network.name} {why_no_mac(network.mac)}")
    for device in configuration.block_devices:
        if device.path is None:
            reasons.append(f"its block device {device.name} needs a path: the label of a block device of albatross")
        elif not LABEL.fullmatch(device.path):
            reasons.append(f"{device.path!r} is no block device of albatross (the label of one is needed)")
    for kind, names in (
        ("networks", [network.name for network in configuration.networks]),
        ("block devices", [device.name for device in configuration.block_devices]),
    ):
        if len(set(names)) != len(names):
            reasons.append(f"two of its {kind} have the same name")
    return reasons


def refusals_of_server(name: str, place: Place, release: Release, client: Client, label: str) -> list[str]:
    """What its policies, block devices and bridges forbid; ``label`` is replaced by it, so it does not count."""
    running = wanted(name, place, release)
    path = place.name(None)
    # Over TLS only what lies below the certificate's path may be asked for.
    policies = client.policies(path if place.address is not None else ROOT)
    # With a path as name, a server tells those below it as well.
    neighbours = client.unikernels(path)
    reasons = refusals_of_policies(running, place.labels, policies, neighbours, label)
    if running.blocks:
        users = [one for one in neighbours if one.name.path == place.labels and one.name.label != label]
        reasons += _refusals_of_blocks(running, client.blocks(path), users, place)
    return reasons + refusals_of_interfaces(place, [network.bridge for network in running.networks])


def refusals_of_policies(
    running: Running,
    path: tuple[str, ...],
    policies: Sequence[NamedPolicy],
    neighbours: Iterable[NamedInfo],
    label: str,
) -> list[str]:
    """Only the policy of the very path is applied, to all that runs in it and below it. The root's says what the
    machine has, as it was when albatross was started."""
    by_path = {policy.name.path: policy.policy for policy in policies}
    own = by_path.get(path)
    machine = by_path.get(())
    others = [one for one in neighbours if (one.name.path, one.name.label) != (path, label)]
    used = sum(one.info.memory_mib for one in others)
    return refusals_of_two_policies(running, path, own, machine, len(others), used)


def refusals_of_two_policies(
    running: Running, path: tuple[str, ...], own: Optional[Policy], machine: Optional[Policy], others: int, used: int
) -> list[str]:
    """The same from the two policies themselves; ``used``: MiB of memory of the ``others`` that run."""
    reasons = []
    if own is not None:
        reasons += _refusals_of_room(running, own, others, used, "the policy of its path" if path else "albatross")
    if own is not None and path:
        reasons += _refusals_of_kinds(running, own, "the policy of its path")
    if machine is not None:
        since = "those that existed when albatrossd was started"
        reasons += _refusals_of_kinds(running, machine, "this albatross", f" ({since})")
    return reasons


def _refusals_of_room(running: Running, policy: Policy, others: int, used: int, whose: str) -> list[str]:
    reasons = []
    if others + 1 > policy.unikernels:
        reasons.append(f"{whose} allows {policy.unikernels} unikernels, and {others} others run")
    if used + running.memory_mib > policy.memory_mib:
        reasons.append(
            f"{whose} allows {policy.memory_mib} MiB of memory, {used} MiB are used by others, and it needs "
            f"{running.memory_mib} MiB"
        )
    return reasons


def _refusals_of_kinds(running: Running, policy: Policy, whose: str, why: str = "") -> list[str]:
    reasons = []
    cpus = [str(cpu) for cpu in running.cpus if cpu not in policy.cpus]
    if cpus:
        offered = ", ".join(map(str, sorted(policy.cpus))) or "none"
        reasons.append(f"{whose} does not offer the CPUs {', '.join(cpus)} (it offers {offered}; see cpus)")
    for network in running.networks:
        if network.bridge not in policy.bridges:
            known = ", ".join(sorted(policy.bridges)) or "none"
            reasons.append(f"{whose} does not know the bridge {network.bridge}; it knows {known}{why}")
    return reasons


def _refusals_of_blocks(
    running: Running, blocks: Sequence[BlockDevice], users: Sequence[NamedInfo], place: Place
) -> list[str]:
    there = {block.name.label for block in blocks if block.name.path == place.labels}
    used = {block.host_device: one.name for one in users for block in one.info.blocks}
    reasons = []
    for block in running.blocks:
        if block.volume not in there:
            reasons.append(f"there is no block device {place.name(block.volume)} on albatross")
        elif block.volume in used:
            reasons.append(f"its block device {place.name(block.volume)} is used by {used[block.volume]}")
    return reasons
