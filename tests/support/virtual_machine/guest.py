# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real virtual machine for tests: Debian's cloud kernel, and an initrd with its virtio modules and one program.

Both are made once and kept in a cache outside of the checkout, like the nodes' root file system.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ansible_collections.unikernel.fleet.tests.support.machines_required import unless_required

from . import cpio
from .packages import cache, output, unpack

QEMU = "qemu-system-x86_64"
PROGRAM = Path(__file__).with_name("guest.c")
META_PACKAGE = "linux-image-cloud-amd64"
MODULES = (
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "failover",
    "net_failover",
    "virtio_net",
    "button",
    "evdev",
    "pvpanic",
    "pvpanic-pci",
)
"""In the order in which they can be loaded."""
CONSOLE = ("console=ttyS0", "quiet", "rdinit=/init")
"""What its kernel is told in any case."""


@dataclass(frozen=True)
class GuestFiles:
    """What a virtual machine boots."""

    kernel: Path
    initrd: Path

    @property
    def modules(self) -> Path:
        """The folder below which the kernel's modules lie."""
        return self.kernel.parents[1] / "lib" / "modules"


def why_not() -> Optional[str]:
    """Why there is no test guest on this machine; None when there is one, or one can be made."""
    return unless_required(_what_is_missing())


def _what_is_missing() -> Optional[str]:
    tools = {QEMU: "qemu-system-x86", "gcc": "gcc", "apt-get": "apt", "dpkg-deb": "dpkg"}
    missing = [package for program, package in tools.items() if shutil.which(program) is None]
    if missing:
        return f"a real virtual machine needs {', '.join(missing)}"
    try:
        guest_files()
    except (OSError, RuntimeError) as error:
        return f"no kernel for a virtual machine: {error}"
    return None


def guest_files() -> GuestFiles:
    """Kernel and initrd, made now if they are not in the cache."""
    made_of = PROGRAM.read_bytes() + Path(__file__).read_bytes()
    with cache() as folder:
        initrd = folder / f"initrd-{hashlib.sha256(made_of).hexdigest()[:12]}"
        package = folder / "package"
        if not package.is_dir():
            unpack([_kernel_package()], package)
        if not initrd.exists():
            _make_initrd(initrd, package)
    return GuestFiles(next(package.glob("boot/vmlinuz-*")), initrd)


def _kernel_package() -> str:
    depends = output("apt-cache", "depends", META_PACKAGE)
    names = [line.split()[-1] for line in depends.splitlines() if "Depends: linux-image-" in line]
    if not names:
        raise RuntimeError(f"apt knows no package {META_PACKAGE} (apt-get update)")
    return names[0]


def _make_initrd(initrd: Path, package: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        program = Path(temporary) / "init"
        output("gcc", "-static", "-O1", "-o", str(program), str(PROGRAM))
        entries = [cpio.entry("init", cpio.PROGRAM, program.read_bytes()), cpio.entry("modules", cpio.FOLDER, b"")]
        for number, name in enumerate(MODULES):
            module = next(package.rglob(f"{name}.ko")).read_bytes()
            entries.append(cpio.entry(f"modules/{number:02d}-{name}.ko", cpio.FILE, module))
    begun = initrd.with_suffix(".begun")
    begun.write_bytes(b"".join(entries) + cpio.END)
    begun.rename(initrd)
