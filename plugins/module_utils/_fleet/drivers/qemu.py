# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Driver ``qemu``: an image is a kernel, with an initrd or without, or a disk, run as a virtual machine for x86-64.

KVM is used where a probe showed that it works (``runtime/emulator.py``), else the guest is emulated. An end of the
guest is an end of the process: a reset does not start it again behind everybody's back, and a panic that the guest
reports (pvpanic) ends it with a failure. A guest that stands still although its QEMU lives is found by asking that
(QMP).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Optional, Protocol

from ..errors import DriverError, ImageMissing
from ..images.bootable import disk_format, why_no_disk, why_no_kernel
from ..layout import NodeLayout
from ..model import BootedFrom, Configuration, Exit, Image, Limits, Release
from ..runtime import qmp
from ..runtime.emulator import PATH, Emulator, basic_words, find_emulator
from ..runtime.ports import Port, PortKind
from ..runtime.supervisor import ProcessSpec
from .last_words import explained
from .qemu_exits import CONSOLE_LINES, LAST_WORDS, STATE_TRACED, TRACED, meaning
from .unix import CONSOLE_BYTES

DEFAULT_MEMORY_MIB = 256
OVERHEAD_MIB = 128
"""What QEMU itself takes beside its guest's memory, translated code of TCG included (measured: 92 MiB)."""
MOST_MEMORY_MIB = 1 << 20
MOST_CPUS = 64
MOST_ARGUMENT_BYTES = 2047
"""Linux cuts a longer command line on x86 (COMMAND_LINE_SIZE), silently."""
STANDING_STILL = {
    "guest-panicked": "its guest panicked",
    "internal-error": "its guest was stopped by an error of the virtual machine (KVM internal error)",
    "io-error": "its guest was stopped because a disk could not be written",
    "shutdown": "its guest has shut down",
}
"""States of QEMU in which its process lives and its guest does not. ``paused`` is somebody's wish."""


class Files(Protocol):
    """What is needed of the node's image store."""

    def verify(self, image: Image) -> Path: ...


class QemuGuest:
    """A virtual machine."""

    driver = "qemu"
    port_kind = PortKind.TAP

    def __init__(self, layout: NodeLayout, files: Files) -> None:
        self._layout = layout
        self._record = layout.probe(self.driver)
        self._files = files

    def memory_mib(self, release: Release) -> Optional[int]:
        return _memory_mib(release.configuration) + OVERHEAD_MIB

    def is_its_own_program(self) -> bool:
        return False

    def refusals(self, release: Release, image: Path) -> list[str]:
        return [
            *self._refusals_of_node(),
            *_refusals_of_image(release, image),
            *self._refusals_of_initrd(release.configuration),
            *_refusals_of_options(release.configuration),
        ]

    def _refusals_of_node(self) -> list[str]:
        try:
            find_emulator(self._record)
        except DriverError as error:
            return [str(error)]
        return []

    def _refusals_of_initrd(self, configuration: Configuration) -> list[str]:
        initrd = configuration.boot.initrd
        if initrd is None:
            return []
        if configuration.boot.image is BootedFrom.DISK:
            return ["an initrd was declared, and only a kernel takes one (boot.image is disk)"]
        try:
            self._files.verify(initrd)
        except ImageMissing as error:
            return [f"its initrd is not here: {error}"]
        return []

    def process_spec(
        self, name: str, release: Release, image: Path, folder: Path, ports: Sequence[Port]
    ) -> ProcessSpec:
        initrd = release.configuration.boot.initrd
        emulator = find_emulator(self._record)
        scratch = str(self._layout.scratch_of(folder))
        return ProcessSpec(
            program=emulator.program,
            argv=command_line(
                emulator, name, release.configuration, image, self._files.verify(initrd) if initrd else None, ports
            ),
            # QEMU keeps what a guest writes to the disk that it boots from in a file without a name, there.
            environment={"PATH": PATH, "TMPDIR": scratch, "LC_ALL": "C"},
            # The socket's path is relative, since its whole one may be too long for a socket.
            directory=scratch,
            scratch=scratch,
            umask=0o077,
            cpus=release.configuration.cpus,
            forks=False,
            last_words=LAST_WORDS,
            restart=release.configuration.restart,
            console_bytes=CONSOLE_BYTES,
            stop_grace_s=release.configuration.stop_grace_s,
            writable=tuple(d.path for d in release.configuration.block_devices if d.path is not None),
        )

    def explained(self, release: Optional[Release], exit: Exit, console: Callable[[int], tuple[str, ...]]) -> Exit:
        own_words = exit.meaning.partition(";")[0]
        return explained(exit, console, CONSOLE_LINES, lambda said: meaning(exit.status, own_words, said))

    def trouble(self, folder: Path) -> Optional[str]:
        status = qmp.status(self._layout.scratch_of(folder))
        found = STANDING_STILL.get(status) if status is not None else None
        return None if found is None else f"{found}, though its QEMU lives ({status}); it has to be started anew"

    def ask_to_end(self, release: Release, folder: Path) -> bool:
        return release.configuration.boot.power_button and qmp.press_power_button(self._layout.scratch_of(folder))


def command_line(
    emulator: Emulator,
    name: str,
    configuration: Configuration,
    image: Path,
    initrd: Optional[Path],
    ports: Sequence[Port],
) -> tuple[str, ...]:
    """QEMU's. What is in it, secret arguments too, can be read by whoever may look at processes."""
    words = [
        os.path.basename(emulator.program),
        *basic_words(emulator.accelerator, emulator.processor),
        *("-name", _escaped(name)),
        *("-m", str(_memory_mib(configuration))),
        *("-smp", str(max(1, len(configuration.cpus)))),
        *("-action", "panic=exit-failure", "-device", "pvpanic-pci"),
        *("-trace", f"enable={TRACED}"),
        *("-trace", f"enable={STATE_TRACED}"),
        *("-qmp", f"unix:{qmp.SOCKET},server=on,wait=off"),
        # signal=off: the console is no terminal, and what comes from the guest is no signal for QEMU.
        *("-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"),
    ]
    if configuration.boot.image is BootedFrom.KERNEL:
        words += ["-kernel", str(image.absolute())]
        words += ["-initrd", str(initrd.absolute())] if initrd is not None else []
        arguments = (*configuration.arguments, *configuration.secret_arguments)
        words += ["-append", " ".join(arguments)] if arguments else []
    else:
        words += _disk("boot", image.absolute(), disk_format(image), "snapshot=on,", "bootindex=0")
    for number, device in enumerate(configuration.block_devices):
        words += _disk(f"block{number}", Path(str(device.path)), "raw", "", f"serial={_escaped(device.name[:20])}")
    for number, port in enumerate(ports):
        words += ["-netdev", f"tap,id=net{number},ifname={port.interface},script=no,downscript=no"]
        # Without its ROM, which is for booting over the network, and in a package of its own.
        words += ["-device", f"virtio-net-pci,netdev=net{number},mac={port.mac},romfile="]
    return tuple(words)


def _disk(identifier: str, path: Path, form: str, more: str, properties: str) -> list[str]:
    drive = f"file={_escaped(str(path))},format={form},{more}if=none,id={identifier}"
    return ["-drive", drive, "-device", f"virtio-blk-pci,drive={identifier},{properties}"]


def _escaped(text: str) -> str:
    """As a value within an option of QEMU."""
    return text.replace(",", ",,")


def _memory_mib(configuration: Configuration) -> int:
    return configuration.memory_mib if configuration.memory_mib is not None else DEFAULT_MEMORY_MIB


def _refusals_of_image(release: Release, image: Path) -> list[str]:
    if release.abi is not None and release.abi.target != "virtio":
        return [f"its image is a Solo5 image for {release.abi.target}, which needs a tender (driver solo5)"]
    boots_kernel = release.configuration.boot.image is BootedFrom.KERNEL
    try:
        reason = why_no_kernel(image) if boots_kernel else why_no_disk(image)
        if reason is not None and boots_kernel and why_no_disk(image) is None:
            reason += "; it could be a disk (boot: {image: disk})"
    except OSError as error:
        reason = f"cannot be read: {error}"
    return [f"its image {reason}"] if reason is not None else []


def _refusals_of_options(configuration: Configuration) -> list[str]:
    reasons = []
    if configuration.environment or configuration.secret_environment:
        reasons.append("an environment was declared, and a virtual machine has none (use arguments)")
    if configuration.working_directory is not None:
        reasons.append("a working directory was declared, and a virtual machine has none (leave it out)")
    if configuration.core_dump.enabled:
        reasons.append("a core was asked for, and only guests of driver solo5 leave one (leave core_dump out)")
    if configuration.limits != Limits():
        reasons.append("limits were declared, and they would bind QEMU instead of its guest (leave them out)")
    words = (*configuration.arguments, *configuration.secret_arguments)
    if configuration.boot.image is BootedFrom.DISK and words:
        reasons.append("arguments were declared, and a disk boots with its own (boot.image is disk)")
    if len(" ".join(words).encode("utf-8", "surrogateescape")) > MOST_ARGUMENT_BYTES:
        reasons.append(f"its arguments are longer than {MOST_ARGUMENT_BYTES} bytes")
    if _memory_mib(configuration) > MOST_MEMORY_MIB:
        reasons.append(f"its memory_mib is {configuration.memory_mib}, and at most {MOST_MEMORY_MIB} are possible")
    if len(configuration.cpus) > MOST_CPUS:
        reasons.append(f"it has {len(configuration.cpus)} CPUs, and at most {MOST_CPUS} are possible")
    return reasons
