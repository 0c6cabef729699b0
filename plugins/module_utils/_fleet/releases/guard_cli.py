# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Command line of ``guard.pyz``; standard library only.

``watch`` reads the checks of its trial from standard input, tests itself, detaches, prints ``armed`` and guards.
``sweep`` settles the named unikernels, or all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from ..checks.model import CheckSpec
from ..codec import decode
from ..errors import FleetError
from ..layout import NodeLayout
from .guard import self_test, sweep, watch
from .node import Node, local_node

ARMED = "armed"


def main(argv: Sequence[str]) -> int:
    """Exit status 0: done; 1: refused or failed, with the reason on standard output."""
    parser = argparse.ArgumentParser(prog="guard.pyz", description="Guards trials of unikernels on this node.")
    parser.add_argument("--root", required=True, type=Path, help="state folder of the node")
    commands = parser.add_subparsers(dest="command", required=True)
    watching = commands.add_parser("watch", help="guard one trial until it has ended")
    watching.add_argument("name")
    watching.add_argument("trial")
    sweeping = commands.add_parser("sweep", help="settle what was left open")
    sweeping.add_argument("name", nargs="*", help="unikernels; none: all of them")
    options = parser.parse_args(argv)
    node = local_node(NodeLayout(options.root))
    if options.command == "watch":
        return _watch(node, options.name, options.trial)
    return _sweep(node, options.name)


def _watch(node: Node, name: str, trial: str) -> int:
    try:
        self_test([decode(CheckSpec, item) for item in json.load(sys.stdin)])
        node.journal(name).read()
    except (FleetError, ValueError) as error:
        _say(str(error))
        return 1
    _detach()
    _say(ARMED)
    _let_go_of_the_caller()
    try:
        watch(node, name, trial, on_failure=_complain)
    except Exception:  # the last words go to the log, which is all that a detached process has
        traceback.print_exc()
        return 1
    return 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _complain(error: Exception) -> None:
    sys.stderr.write(f"{error}\n")
    sys.stderr.flush()


def _sweep(node: Node, names: Sequence[str]) -> int:
    status = 0
    for name in names or sorted(p.name for p in node.layout.unikernels.glob("*") if p.is_dir()):
        try:
            _say(f"{name}: {sweep(node, name).phase.value}")
        except FleetError as error:  # one broken state must not keep the others from being settled
            _say(f"{name}: {error}")
            status = 1
    return status


def _detach() -> None:
    """Belong to nobody: no terminal, no session and no parent whose end could end us."""
    if os.fork() > 0:
        os._exit(0)
    os.setsid()
    os.chdir("/")


def _let_go_of_the_caller() -> None:
    """The caller reads our standard output until ``armed``; from here on everything goes to the log."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
