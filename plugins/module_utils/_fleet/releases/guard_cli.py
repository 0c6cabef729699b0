# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Command line of ``guard.pyz``; standard library only.

``watch`` reads the checks of its trial from standard input, tests itself, detaches, prints ``armed`` and guards. With
``--checks`` it reads them from a file and stays where it is, as the main process of a unit of systemd.
``sweep`` settles the named unikernels, or all of them, and guards again an open trial whose guard is gone.
``boot`` does the same when the machine has come up, and waits longer for its turn.
``bridges`` makes the declared bridges before that.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Optional

from ..checks.model import CheckSpec
from ..codec import decode
from ..durable import make_folder
from ..errors import Busy, DriverError, FleetError
from ..file_lock import locks, open_lock
from ..layout import NodeLayout
from .guard import self_test, sweep, test_of_drivers, watch
from .node import Node, local_node
from .state import Phase, State

ARMED = "armed"

SWEEP_WAIT_S = 2.0
"""For a unikernel's lock: whoever holds it settles it, and the next sweep comes in a minute."""
BOOT_WAIT_S = 60.0
REARM_WAIT_S = 5.0


def main(argv: Sequence[str]) -> int:
    """Exit status 0: done; 1: refused or failed, with the reason on standard output."""
    parser = argparse.ArgumentParser(prog="guard.pyz", description="Guards trials of unikernels on this node.")
    parser.add_argument("--root", required=True, type=Path, help="state folder of the node")
    commands = parser.add_subparsers(dest="command", required=True)
    watching = commands.add_parser("watch", help="guard one trial until it has ended")
    watching.add_argument("name")
    watching.add_argument("trial")
    watching.add_argument("--checks", type=Path, help="file with the checks; removed once they are read")
    sweeping = commands.add_parser("sweep", help="settle what was left open")
    sweeping.add_argument("name", nargs="*", help="unikernels; none: all of them")
    sweeping.add_argument("--quiet", action="store_true", help="say only what went wrong")
    commands.add_parser("boot", help="start what should run, in the declared order")
    commands.add_parser("bridges", help="make the declared bridges that are missing")
    options = parser.parse_args(argv)
    node = local_node(NodeLayout(options.root))
    if options.command == "watch":
        if options.checks is not None:
            return _watch_in_unit(node, options.name, options.trial, options.checks)
        return _watch_detached(node, options.name, options.trial)
    if options.command == "bridges":
        return _bridges(node)
    if options.command == "boot":
        return _sweep(node, (), quiet=False, wait_s=BOOT_WAIT_S)
    return _sweep(node, options.name, options.quiet, SWEEP_WAIT_S)


def _watch_detached(node: Node, name: str, trial: str) -> int:
    try:
        self_test([decode(CheckSpec, item) for item in json.load(sys.stdin)])
        test_of_drivers(node, name)
        lock = guard_lock(node.layout, name, trial)
    except (FleetError, OSError, ValueError) as error:
        _say(str(error))
        return 1
    if lock is None:
        _say(f"trial {trial} has a guard already")
        return 1
    _detach()
    _say(ARMED)
    _let_go_of_the_caller()
    return _guard(node, name, trial)


def _watch_in_unit(node: Node, name: str, trial: str, checks: Path) -> int:
    """Started again after it was killed, it finds no checks to test itself with, and needs none: it was tested."""
    try:
        with suppress(FileNotFoundError):
            self_test([decode(CheckSpec, item) for item in json.loads(checks.read_bytes())])
            test_of_drivers(node, name)
        lock = guard_lock(node.layout, name, trial)
        checks.unlink(missing_ok=True)
    except (FleetError, OSError, ValueError) as error:
        _say(str(error))
        return 1
    _notify_systemd("READY=1")
    return 0 if lock is None else _guard(node, name, trial)


def _guard(node: Node, name: str, trial: str) -> int:
    try:
        watch(node, name, trial, on_failure=_complain)
    except Exception:  # the last words go to the log, which is all that a detached process has
        traceback.print_exc()
        return 1
    with suppress(OSError):
        node.layout.guard_lock(name, trial).unlink()
    return 0


def _bridges(node: Node) -> int:
    from ..runtime.declared_bridges import bring_up

    try:
        for step in bring_up(node.layout.bridges):
            _say(f"{step.bridge}: {step.what}")
    except FleetError as error:
        _say(str(error))
        return 1
    return 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _complain(error: Exception) -> None:
    sys.stderr.write(f"{error}\n")
    sys.stderr.flush()


def _sweep(node: Node, names: Sequence[str], quiet: bool, wait_s: float) -> int:
    status = 0
    for name in names or in_start_order(node):
        try:
            state = sweep(node, name, wait_s)
            _guard_again(node, state)
            if not quiet:
                _say(f"{name}: {state.phase.value}")
        except Busy as busy:  # somebody works on it, and settles it by that
            if not quiet:
                _say(f"{name}: {busy}")
        except (FleetError, OSError) as error:  # one broken state must not keep the others from being settled
            _say(f"{name}: {error}")
            status = 1
    return status


def in_start_order(node: Node) -> list[str]:
    """The unikernels of this node; those whose state cannot be read come last, to say so."""
    keys = []
    for folder in node.layout.unikernels.glob("*"):
        if not folder.is_dir():
            continue
        order = 100
        with suppress(FleetError):
            current = node.journal(folder.name).read().current
            order = current.configuration.start_order if current is not None else order
        keys.append((order, folder.name))
    return [name for _order, name in sorted(keys)]


def _guard_again(node: Node, state: State) -> None:
    """An open trial whose guard was killed gets another one, which takes it up from the journal."""
    trial = state.trial
    if trial is None or state.phase is not Phase.ON_TRIAL:
        _forget_locks(node.layout, state.name)
        return
    lock = guard_lock(node.layout, state.name, trial.id)
    if lock is None:
        return
    os.close(lock)
    from .guard_install import arm  # it imports this file, to bring it along

    try:
        arm(node.layout, state.name, trial.id, trial.checks)
    except DriverError:
        if not _guarded_soon(node.layout, state.name, trial.id):  # by another sweep, at the same time
            raise


def _guarded_soon(layout: NodeLayout, name: str, trial: str) -> bool:
    give_up = time.monotonic() + REARM_WAIT_S
    while time.monotonic() < give_up:
        lock = guard_lock(layout, name, trial)
        if lock is None:
            return True
        os.close(lock)
        time.sleep(0.1)
    return False


def _forget_locks(layout: NodeLayout, name: str) -> None:
    """Of guards that were killed. One that is held belongs to a trial that is just being begun."""
    for path in layout.guard_lock(name, "").parent.glob("*.lock"):
        lock = guard_lock(layout, name, path.stem)
        if lock is not None:
            path.unlink(missing_ok=True)
            path.with_suffix(".checks").unlink(missing_ok=True)
            os.close(lock)


def guard_lock(layout: NodeLayout, name: str, trial: str) -> Optional[int]:
    """Be the one guard of a trial for as long as the descriptor is open; None when another one is."""
    path = layout.guard_lock(name, trial)
    make_folder(path.parent)
    descriptor = open_lock(path)
    if locks(descriptor):
        return descriptor
    os.close(descriptor)
    return None


def _notify_systemd(message: str) -> None:
    """As sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.connect("\0" + address[1:] if address.startswith("@") else address)
            sender.send(message.encode("ascii"))


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
