# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The double as a process of its own, that survives the test which started it:

``python -m ansible_collections.unikernel.fleet.tests.support.albatross --folder DIR [--tls-port 0] [--bridge br0]``

SIGTERM ends it and all that it started. SIGHUP starts albatrossd anew, so that it knows the bridges that
``DIR/double/bridges`` names by then. SIGUSR1 kills albatrossd: its unikernels run on until the double's own end.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
from pathlib import Path

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import Generation
from ansible_collections.unikernel.fleet.tests.support.albatross.double import Albatross


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="a faithful albatross for tests")
    parser.add_argument("--folder", type=Path, required=True, help="of the sockets")
    parser.add_argument("--tls-port", type=int, help="of loopback; 0: any. Without it there is no TLS")
    parser.add_argument("--bridge", action="append", default=[], help="one that exists at the start")
    parser.add_argument("--generation", default="2.7", choices=[one.value for one in Generation])
    parser.add_argument("--memory", type=int, default=24_105, help="of the machine, in MiB")
    parser.add_argument("--tenders", type=Path, help="folder of Solo5's programs, to run real images on real bridges")
    parser.add_argument("--ready", type=Path, help="a file to write once it serves: where, as JSON")
    return parser.parse_args()


def main() -> None:
    told = options()
    # Any thread may be interrupted by a signal; through a pipe the main one hears of it.
    signals, heard = os.pipe()
    os.set_blocking(heard, False)
    signal.set_wakeup_fd(heard)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, lambda _number, _frame: None)
    albatross = Albatross(
        told.folder,
        bridges=told.bridge,
        generation=Generation(told.generation),
        tls_port=told.tls_port,
        memory_mib=told.memory,
        real_tenders=told.tenders,
    )
    with albatross:
        if told.ready:
            where = {"folder": str(told.folder), "tls_port": albatross.tls_port}
            if albatross.tls_port is not None:
                root = albatross.root
                where.update(certificates=str(root.certificates), key=str(root.key))
            new = told.ready.with_suffix(".new")
            new.write_text(json.dumps(where), encoding="utf-8")
            new.replace(told.ready)
        while True:
            (number,) = os.read(signals, 1)
            if number in (signal.SIGTERM, signal.SIGINT):
                return
            if number == signal.SIGHUP:
                albatross.stop_daemon()
                albatross.start_daemon()
            else:
                albatross.kill_daemon()


if __name__ == "__main__":
    main()
