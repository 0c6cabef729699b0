# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Driver ``unix``: an image is a program of the node's operating system, run as a process under a supervisor.

Without networks it uses the node's own. With networks it lives in a network namespace, whose ports swap as those of
any other guest do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Optional

from ..model import Configuration, Exit, Release
from ..runtime.executable import why_not_executable
from ..runtime.limits import MIB, rlimits
from ..runtime.namespace import path_of
from ..runtime.ports import Port, PortKind
from ..runtime.supervisor import ProcessSpec

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CONSOLE_BYTES = 4 * MIB


class UnixGuest:
    """A program."""

    driver = "unix"
    port_kind = PortKind.VETH

    def refusals(self, release: Release, image: Path) -> list[str]:
        return [*_refusals_of_devices(release), *_refusals_of_image(image)]

    def memory_mib(self, release: Release) -> Optional[int]:
        return release.configuration.memory_mib

    def trouble(self, folder: Path) -> Optional[str]:
        return None

    def ask_to_end(self, release: Release, folder: Path) -> bool:
        return False

    def is_its_own_program(self) -> bool:
        return True

    def process_spec(
        self, name: str, release: Release, image: Path, folder: Path, ports: Sequence[Port]
    ) -> ProcessSpec:
        return process_spec(name, release.configuration, image, ports[0].namespace if ports else None)

    def explained(self, release: Optional[Release], exit: Exit, console: Callable[[int], tuple[str, ...]]) -> Exit:
        return exit


def process_spec(
    name: str, configuration: Configuration, program: Path, namespace: Optional[str] = None
) -> ProcessSpec:
    """How a configuration is run: all that its process gets, nothing of Ansible's environment."""
    limits = rlimits(configuration)
    return ProcessSpec(
        program=str(program),
        argv=(name, *configuration.arguments, *configuration.secret_arguments),
        environment={
            "PATH": PATH,
            "UNIKERNEL_NAME": name,
            **configuration.environment,
            **configuration.secret_environment,
        },
        directory=configuration.working_directory or "/",
        cpus=configuration.cpus,
        limits=limits,
        network_namespace=None if namespace is None else str(path_of(namespace)),
        restart=configuration.restart,
        console_bytes=console_bytes(limits),
        stop_grace_s=configuration.stop_grace_s,
    )


def console_bytes(limits: dict[str, tuple[int, int]]) -> int:
    """The bound of the console: it is a file as well, and reaching the limit in it would end the instance."""
    if "RLIMIT_FSIZE" in limits:
        return min(CONSOLE_BYTES, limits["RLIMIT_FSIZE"][0] // 4)
    return CONSOLE_BYTES


def _refusals_of_devices(release: Release) -> list[str]:
    reasons = []
    if release.abi is not None:
        reasons.append(f"its image is a Solo5 image for {release.abi.target}, which needs a tender and its own driver")
    if release.configuration.core_dump.enabled:
        reasons.append("a core was asked for, and only guests of driver solo5 leave one (leave core_dump out)")
    if release.configuration.block_devices:
        reasons.append("block devices were declared, and a process has none (leave them out)")
    return reasons


def _refusals_of_image(path: Path) -> list[str]:
    try:
        reason = why_not_executable(path)
    except OSError as error:
        reason = f"cannot be read: {error}"
    return [f"its image {reason}"] if reason else []
