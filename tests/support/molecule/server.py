# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starts a program of the scenario that outlives its task: ``server.py FOLDER NAME READY_FILE COMMAND...``

Who it is, is noted in ``FOLDER/NAME.server``, so that the scenario's end finds it. Returns once READY_FILE is there and
prints what it holds; fails when the program ends before, or takes longer than that should take.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.process import identify

PATIENCE_S = 20.0


def main() -> int:
    folder, name, ready, *command = sys.argv[1:]
    log = (Path(folder) / f"{name}.log").open("ab")
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    (Path(folder) / f"{name}.server").write_text(str(identify(process.pid)), encoding="ascii")
    give_up = time.monotonic() + PATIENCE_S
    while not Path(ready).exists():
        if process.poll() is not None or time.monotonic() > give_up:
            print((Path(folder) / f"{name}.log").read_text(encoding="utf-8", errors="replace"), file=sys.stderr)
            return 1
        time.sleep(0.02)
    print(Path(ready).read_text(encoding="utf-8").strip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
