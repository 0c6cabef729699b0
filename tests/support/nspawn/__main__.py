# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The test bed from a shell, or from a molecule scenario: ``python -m …tests.support.nspawn ACTION FOLDER``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from .base import why_not
from .bed import Bed, make


def main() -> int:
    parser = argparse.ArgumentParser(prog="nspawn", description="Nodes as containers, on a network of their own.")
    actions = parser.add_subparsers(dest="action", required=True)
    creating = _action(actions, "create", "make the nodes, boot them, and print the path of their inventory")
    creating.add_argument("--nodes", type=int, default=3)
    for name, explanation in POWER.items():
        _action(actions, name, explanation).add_argument("node", nargs="+")
    actions.add_parser("possible", help="say why no nodes can be made here; exit status 77 then")
    _action(actions, "ssh", "run a command on a node").add_argument("words", nargs=argparse.REMAINDER)
    _action(actions, "destroy", "end all of it and remove every trace")
    options = parser.parse_args()
    begun = time.monotonic()
    if options.action == "possible":
        reason = why_not()
        print(reason or "nodes can be made here")
        return 77 if reason is not None else 0
    if options.action == "create":
        reason = why_not()
        if reason is not None:
            print(f"No nodes were made: {reason}.", file=sys.stderr)
            return 77
        bed = make(options.folder, options.nodes)
        try:
            bed.boot()
        except BaseException:
            bed.destroy()
            raise
        print(bed.inventory)
    elif options.action == "destroy":
        if (options.folder / "bed.json").exists():
            Bed(options.folder).destroy()
    elif options.action == "ssh":
        answer = Bed(options.folder).ssh(*options.words)
        sys.stdout.write(answer.stdout)
        sys.stderr.write(answer.stderr)
        return answer.returncode
    else:
        bed = Bed(options.folder)
        for node in options.node:
            getattr(bed, options.action.replace("-", "_"))(node)
    print(f"{options.action}: {time.monotonic() - begun:.1f} s", file=sys.stderr)
    return 0


POWER = {
    "cut-power": "end all that runs on a node, at once (SIGKILL)",
    "power-off": "shut a node down in an orderly way",
    "boot": "switch a node on and wait until it lets users in",
    "reboot": "shut down and boot",
}


def _action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, explanation: str
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=explanation)
    parser.add_argument("folder", type=lambda text: Path(text).absolute())
    return parser


if __name__ == "__main__":
    sys.exit(main())
