# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Process 1 of the guest: it loads the modules, runs ``program.py``, says what came of it, and switches off."""

from __future__ import annotations

import ctypes
import json
import os
import runpy
import sys
import traceback

FINIT_MODULE = 313
POWER_OFF = 0x4321FEDC
LIBC = ctypes.CDLL(None, use_errno=True)


def checked(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def prepare() -> None:
    for kind, place in ((b"proc", b"/proc"), (b"sysfs", b"/sys"), (b"tmpfs", b"/run"), (b"devtmpfs", b"/dev")):
        checked(LIBC.mount(kind, place, kind, 0, None), f"mount {place.decode()}")
    for name in sorted(os.listdir("/modules")):
        descriptor = os.open(f"/modules/{name}", os.O_RDONLY)
        checked(LIBC.syscall(FINIT_MODULE, descriptor, b"", 0), name)
        os.close(descriptor)


def main() -> None:
    try:
        prepare()
        sys.path.insert(0, "/")
        result = runpy.run_path("/program.py")["main"]()
    except BaseException:
        result = {"failed": traceback.format_exc()}
    print("RESULT:" + json.dumps(result), flush=True)
    os.sync()
    LIBC.reboot(POWER_OFF)


main()
