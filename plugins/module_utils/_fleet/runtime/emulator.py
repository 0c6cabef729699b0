# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which QEMU this machine has, and whether its KVM works: found out by running a guest of two instructions.

That /dev/kvm can be opened says little: under a para-virtual KVM (nested in a machine without nested virtualisation)
QEMU ends with "failed to set MSR 0x10a", and other guests crawl. What works is the same until the next boot, so it is
written down for that long.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Optional

from .. import codec
from ..durable import make_folder, write_durably
from ..errors import DriverError
from .waiter import boot_id

PROGRAM = "qemu-system-x86_64"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
"""QEMU's own seccomp filter: no other program, no other user, whatever a guest does to it."""
PROBE_S = 10.0
"""Both take well under a second where they work; TCG on a busy machine a few."""

TRANSLATED_MIB = 64
"""Of translated code that TCG keeps; left to itself it takes up to 1 GiB."""

_DEBUG_EXIT = "isa-debug-exit,iobase=0xf4,iosize=0x04"
# mov al, 42; out 0xf4, al; hlt -- QEMU then exits with 2 * 42 + 1.
_BOOT_SECTOR = (b"\xb0\x2a\xe6\xf4\xf4").ljust(510, b"\0") + b"\x55\xaa"
_RAN = 85
_DISK_BYTES = 1 << 20
"""The firmware does not boot a disk of one sector."""


@dataclass(frozen=True)
class Emulator:
    """How virtual machines are run here."""

    program: str
    boot_id: str
    modified_ns: int
    """Of the program's file: an upgrade is looked at anew."""
    accelerator: str
    """``kvm`` or ``tcg``."""
    remark: str = ""
    """Why it is not ``kvm``."""

    @property
    def processor(self) -> str:
        """What guests are shown: under KVM this machine's, else the most that can be emulated."""
        return "host" if self.accelerator == "kvm" else "max"


def find_program() -> Optional[str]:
    """Path of QEMU on this machine."""
    return shutil.which(PROGRAM, path=PATH)


def find_emulator(record: Path) -> Emulator:
    """What works here, from the record or tried out now. DriverError when QEMU is missing or runs nothing at all."""
    program = find_program()
    if program is None:
        raise DriverError(f"there is no {PROGRAM} on this node (Debian and Ubuntu: the package qemu-system-x86)")
    modified_ns = os.stat(program).st_mtime_ns
    known = _read(record)
    if known is not None and (known.program, known.boot_id, known.modified_ns) == (program, boot_id(), modified_ns):
        return known
    found = _try_out(program, modified_ns)
    with suppress(OSError):  # not written down, it is found out again the next time
        make_folder(record.parent)
        write_durably(record, json.dumps(asdict(found)).encode("ascii"))
    return found


def _read(record: Path) -> Optional[Emulator]:
    with suppress(OSError, ValueError):
        return codec.decode(Emulator, json.loads(record.read_bytes()))
    return None


def _try_out(program: str, modified_ns: int) -> Emulator:
    if os.path.exists("/dev/kvm"):
        trouble = run_probe(program, "kvm", "host")
        if trouble is None:
            return Emulator(program, boot_id(), modified_ns, "kvm")
        remark = f"KVM does not work here: {trouble}"
    else:
        remark = "there is no /dev/kvm"
    trouble = run_probe(program, "tcg", "max")
    if trouble is not None:
        raise DriverError(f"{program} does not even run a guest of two instructions: {trouble}")
    return Emulator(program, boot_id(), modified_ns, "tcg", remark)


def run_probe(program: str, accelerator: str, processor: str) -> Optional[str]:
    """Run the guest of two instructions; None when it ran, else what QEMU said."""
    with tempfile.NamedTemporaryFile(prefix="unikernel-fleet-probe-") as disk:
        disk.write(_BOOT_SECTOR)
        disk.truncate(_DISK_BYTES)
        disk.flush()
        command = [
            program,
            *basic_words(accelerator, processor),
            *("-m", "16"),
            *("-device", _DEBUG_EXIT),
            *("-drive", f"file={disk.name},format=raw,readonly=on,if=none,id=boot"),
            *("-device", "virtio-blk-pci,drive=boot,bootindex=0"),
        ]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=PROBE_S,
                check=False,
                cwd="/",
                env={"PATH": PATH, "LC_ALL": "C"},
            )
        except subprocess.TimeoutExpired:
            return f"its guest was not done after {PROBE_S:.0f} s"
        except OSError as error:
            return str(error)
    if done.returncode == _RAN:
        return None
    said = (done.stderr + done.stdout).decode("utf-8", "replace").strip().splitlines()
    return said[0][:300] if said else f"QEMU ended with {done.returncode}"


def basic_words(accelerator: str, processor: str) -> list[str]:
    """What every virtual machine of ours begins with: nothing that was not asked for."""
    return [
        *("-no-user-config", "-nodefaults"),
        *("-display", "none", "-vga", "none"),
        *("-machine", "q35,graphics=off"),
        *("-accel", "kvm" if accelerator == "kvm" else f"tcg,tb-size={TRANSLATED_MIB}"),
        *("-cpu", processor),
        *("-sandbox", SANDBOX),
        "-no-reboot",
    ]
