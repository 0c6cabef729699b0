# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real virtual machine for tests: Debian's cloud kernel, and an initrd with its virtio modules and one program.

Both are made once and kept in a cache outside of the checkout, like the nodes' root file system.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ansible_collections.unikernel.fleet.tests.support.machines_required import unless_required

from . import cpio

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
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(cache) / "unikernel-fleet" / "virtual-machine"
    folder.mkdir(parents=True, exist_ok=True)
    made_of = PROGRAM.read_bytes() + Path(__file__).read_bytes()
    initrd = folder / f"initrd-{hashlib.sha256(made_of).hexdigest()[:12]}"
    with open(folder / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        package = folder / "package"
        if not package.is_dir():
            _unpack(package)
        if not initrd.exists():
            _make_initrd(initrd, package)
    return GuestFiles(next(package.glob("boot/vmlinuz-*")), initrd)


def _unpack(package: Path) -> None:
    depends = _output("apt-cache", "depends", META_PACKAGE)
    names = [line.split()[-1] for line in depends.splitlines() if "Depends: linux-image-" in line]
    if not names:
        raise RuntimeError(f"apt knows no package {META_PACKAGE} (apt-get update)")
    with tempfile.TemporaryDirectory(dir=package.parent) as temporary:
        _output("apt-get", "download", "-q", names[0], folder=temporary)
        begun = Path(temporary) / "package"
        _output("dpkg-deb", "-x", str(next(Path(temporary).glob("*.deb"))), str(begun))
        begun.rename(package)


def _make_initrd(initrd: Path, package: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        program = Path(temporary) / "init"
        _output("gcc", "-static", "-O1", "-o", str(program), str(PROGRAM))
        entries = [cpio.entry("init", cpio.PROGRAM, program.read_bytes()), cpio.entry("modules", cpio.FOLDER, b"")]
        for number, name in enumerate(MODULES):
            module = next(package.rglob(f"{name}.ko")).read_bytes()
            entries.append(cpio.entry(f"modules/{number:02d}-{name}.ko", cpio.FILE, module))
    begun = initrd.with_suffix(".begun")
    begun.write_bytes(b"".join(entries) + cpio.END)
    begun.rename(initrd)


def _output(*words: str, folder: Optional[str] = None) -> str:
    done = subprocess.run(words, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{words[0]} failed: {done.stderr.strip()[-500:]}")
    return done.stdout
