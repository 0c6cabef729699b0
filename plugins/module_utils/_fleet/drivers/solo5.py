# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Driver ``solo5``: an image is a Solo5 unikernel, run by the tender for the target that it was built for."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Optional

from ..errors import DriverError, ImageError
from ..images.elf import read_notes
from ..layout import NodeLayout
from ..model import Abi, Configuration, Device, Exit, Release
from ..runtime.limits import rlimits
from ..runtime.ports import Port, PortKind
from ..runtime.supervisor import ProcessSpec
from .last_words import explained
from .solo5_cores import refusals_of_core
from .solo5_exits import CONSOLE_LINES, meaning
from .solo5_tenders import DUMPS, TARGETS, abi_version, dumping_tender, tender, why_no_tender
from .unix import PATH, console_bytes

DEFAULT_MEMORY_MIB = 32
"""As albatross; the tenders' own default is 512."""
MOST_ARGUMENT_BYTES = 8191
"""Solo5's guests take no longer command line."""
NET, BLOCK = "NET_BASIC", "BLOCK_BASIC"
KVM = "/dev/kvm"


class Solo5Guest:
    """A unikernel under ``solo5-hvt`` or ``solo5-spt``."""

    driver = "solo5"
    port_kind = PortKind.TAP

    def __init__(self, layout: NodeLayout) -> None:
        self._layout = layout

    def memory_mib(self, release: Release) -> Optional[int]:
        return _memory_mib(release.configuration)

    def trouble(self, folder: Path) -> Optional[str]:
        return None

    def ask_to_end(self, release: Release, folder: Path) -> bool:
        return False

    def is_its_own_program(self) -> bool:
        return False

    def refusals(self, release: Release, image: Path) -> list[str]:
        try:
            abi, devices = _notes(image)
        except (ImageError, OSError) as error:
            return [f"its image cannot be run: {error}"]
        if abi is None:
            return ["its image is no Solo5 image (it has no ABI note); a program of the node needs driver unix"]
        return [
            *self._refusals_of_target(release, abi),
            *refusals_of_devices(release.configuration, devices or ()),
            *_refusals_of_options(release.configuration),
        ]

    def _refusals_of_target(self, release: Release, abi: Abi) -> list[str]:
        if release.abi is not None and release.abi != abi:
            return [f"its build says {release.abi.target} (ABI {release.abi.version}), its image {_shown(abi)}"]
        if abi.target not in TARGETS:
            return [f"its image is for the Solo5 target {abi.target}, and this driver runs {' and '.join(TARGETS)}"]
        configuration = release.configuration
        limit_mib = configuration.limits.file_size_mib
        reasons = refusals_of_core(self._layout, configuration, abi.target, _memory_mib(configuration), limit_mib)
        path, _unused = self._tender(configuration, abi.target)
        if path is None:
            reasons.append(why_no_tender(self._layout, abi.target))
        else:
            version = abi_version(path)
            if version is not None and version != abi.version:
                reasons.append(f"its image is for {_shown(abi)}, and {path} speaks ABI {version}")
        if abi.target == "hvt" and not os.access(KVM, os.R_OK | os.W_OK):
            missing = "may not be used" if os.path.exists(KVM) else "is not on this node"
            reasons.append(f"its image is for hvt, which needs {KVM}, and that {missing} (a build for spt needs none)")
        return reasons

    def _tender(self, configuration: Configuration, target: str) -> tuple[Optional[str], bool]:
        """Its path, and whether it shall leave a core. Where the one that could is gone by now, a release that is to
        come back does so without."""
        wanted = configuration.core_dump.enabled and target == DUMPS
        dumping = dumping_tender(self._layout) if wanted else None
        return (dumping, True) if dumping is not None else (tender(self._layout, target), False)

    def process_spec(
        self, name: str, release: Release, image: Path, folder: Path, ports: Sequence[Port]
    ) -> ProcessSpec:
        try:
            abi, _unused = _notes(image)
        except (ImageError, OSError) as error:
            raise DriverError(f"its image cannot be run: {error}") from error
        configuration = release.configuration
        if abi is None:
            raise DriverError("its image is no Solo5 image")
        path, dumps = self._tender(configuration, abi.target)
        if path is None:
            raise DriverError(why_no_tender(self._layout, abi.target))
        scratch = str(self._layout.scratch_of(folder)) if dumps else None
        limits = rlimits(configuration)
        limits.pop("RLIMIT_DATA", None)  # the guest's memory is fixed by its tender, and is memory of the process
        return ProcessSpec(
            program=path,
            argv=tender_arguments(os.path.basename(path), configuration, str(image), ports, scratch),
            environment={"PATH": PATH, "UNIKERNEL_NAME": name},
            scratch=scratch,
            cpus=configuration.cpus,
            limits=limits,
            forks=False,
            restart=configuration.restart,
            console_bytes=console_bytes(limits),
            stop_grace_s=configuration.stop_grace_s,
            writable=tuple(device.path for device in configuration.block_devices if device.path is not None),
        )

    def explained(self, release: Optional[Release], exit: Exit, console: Callable[[int], tuple[str, ...]]) -> Exit:
        return explained(exit, console, CONSOLE_LINES, lambda said: meaning(exit.status, exit.signal, said))


def tender_arguments(
    name: str, configuration: Configuration, image: str, ports: Sequence[Port], cores: Optional[str] = None
) -> tuple[str, ...]:
    """The tender's command line. What is in it, secret arguments too, can be read by whoever may look at processes."""
    return (
        name,
        f"--mem={_memory_mib(configuration)}",
        *(f"--net:{port.device}={port.interface}" for port in ports),
        *(f"--net-mac:{port.device}={port.mac}" for port in ports),
        *(f"--block:{device.name}={device.path}" for device in configuration.block_devices),
        *(() if cores is None else (f"--dumpcore={cores}",)),
        "--",
        image,
        *configuration.arguments,
        *configuration.secret_arguments,
    )


def refusals_of_devices(configuration: Configuration, devices: Sequence[Device]) -> list[str]:
    """What is missing or too much against the image's manifest, which has to be matched exactly."""
    reasons = []
    for kind, word, given in (
        (NET, "network", {network.name for network in configuration.networks}),
        (BLOCK, "block device", {device.name for device in configuration.block_devices}),
    ):
        wanted = {device.name for device in devices if device.type == kind}
        reasons += [f"its image wants the {word} {name!r}, and none is declared" for name in sorted(wanted - given)]
        reasons += [f"its image has no {word} {name!r}, and one is declared" for name in sorted(given - wanted)]
    return reasons


def _refusals_of_options(configuration: Configuration) -> list[str]:
    reasons = []
    if configuration.environment or configuration.secret_environment:
        reasons.append("an environment was declared, and a unikernel has none (use arguments)")
    if configuration.working_directory is not None:
        reasons.append("a working directory was declared, and a unikernel has none (leave it out)")
    line = " ".join((*configuration.arguments, *configuration.secret_arguments))
    if len(line.encode("utf-8", "surrogateescape")) > MOST_ARGUMENT_BYTES:
        reasons.append(f"its arguments are longer than {MOST_ARGUMENT_BYTES} bytes")
    return reasons


def _notes(image: Path) -> tuple[Optional[Abi], Optional[tuple[Device, ...]]]:
    with open(image, "rb") as file:
        return read_notes(file)


def _memory_mib(configuration: Configuration) -> int:
    return configuration.memory_mib if configuration.memory_mib is not None else DEFAULT_MEMORY_MIB


def _shown(abi: Abi) -> str:
    return f"{abi.target} (ABI {abi.version})"
