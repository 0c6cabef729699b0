# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Brings the guard onto a prepared node, for good, and takes it away again."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..durable import sync_folder
from ..errors import DriverError, FleetError
from ..layout import NodeLayout
from ..runtime.systemd import CGROUPS
from ..runtime.unit_files import INSTALLED, TRANSIENT, install_waiter, reload_systemd, waiter_path, write_units
from ..runtime.units import LINKS, prefix, slice_name
from ..version import VERSION, ordered
from .guard_install import current, install, library_digest, version_of
from .guard_units import boot_service, bridges_service, node_units, sweep_timer
from .node import Node
from .state import Phase

STAMPS = Path("/var/lib/systemd/timers")
"""Where systemd keeps when persistent timers ran last."""
ENABLED: Mapping[str, str] = {"boot": "multi-user.target", "bridges": "multi-user.target", "sweep": "timers.target"}


@dataclass(frozen=True)
class Setup:
    """What is there of the guard, or should be."""

    version: str
    """Of the guard that the units run; empty: none."""
    units: Mapping[str, str]
    """File name to text."""
    enabled: tuple[str, ...]


def enabled_units(layout: NodeLayout) -> dict[str, str]:
    """The units that start by themselves, and what wants them. None of an instance is among them."""
    root = layout.root
    return {
        boot_service(root): ENABLED["boot"],
        bridges_service(root): ENABLED["bridges"],
        sweep_timer(root): ENABLED["sweep"],
    }


def found(layout: NodeLayout) -> Setup:
    """What is on this machine."""
    guard = current(layout)
    units = {}
    for name in node_units(layout):
        with suppress(FileNotFoundError):
            units[name] = (INSTALLED / name).read_text(encoding="utf-8")
    wanted = enabled_units(layout)
    enabled = tuple(sorted(name for name in wanted if (INSTALLED / f"{wanted[name]}.wants" / name).is_symlink()))
    return Setup((version_of(guard) or "") if guard is not None else "", units, enabled)


def wanted(layout: NodeLayout) -> Setup:
    """What this version would bring, unless a newer one is there: that is left as it is."""
    there = found(layout)
    if there.version and ordered(there.version) > ordered(VERSION) and there.units:
        return there
    return Setup(VERSION, node_units(layout), tuple(sorted(enabled_units(layout))))


def is_current(layout: NodeLayout) -> bool:
    """Whether the guard that the units run is of this very library (or a newer version)."""
    guard = current(layout)
    if guard is None or not guard.exists():
        return False
    installed = version_of(guard)
    newer = installed is not None and ordered(installed) > ordered(VERSION)
    return newer or guard.stem == library_digest()


def set_up(layout: NodeLayout) -> None:
    """Install, enable and start it. May be repeated; interrupted, the next time completes it."""
    target = wanted(layout)
    install(layout)
    install_waiter(layout)
    write_units(target.units, INSTALLED)
    for name in target.units:
        # What a module made before this node was prepared would go at the next boot, and hides nothing until then.
        with suppress(FileNotFoundError):
            (TRANSIENT / name).unlink()
    reload_systemd()
    _systemctl("enable", *target.enabled)
    # The boot unit only notes that it has run: it settles, and starts what should run, which is all right at any time.
    _systemctl("start", *target.enabled)


def take_away(layout: NodeLayout) -> None:
    """Stop and remove all of it but the states, images and histories."""
    names = [name for name in enabled_units(layout) if (INSTALLED / name).exists() or (TRANSIENT / name).exists()]
    if names:
        _systemctl("stop", *names)
    if any((INSTALLED / name).exists() for name in names):
        _systemctl("disable", *(name for name in names if (INSTALLED / name).exists()))
    for name in node_units(layout):
        for folder in (INSTALLED, TRANSIENT):
            with suppress(FileNotFoundError):
                (folder / name).unlink()
            shutil.rmtree(folder / f"{name}.d", ignore_errors=True)
    for name in names:
        with suppress(OSError):
            (STAMPS / f"stamp-{name}").unlink()
    reload_systemd()
    if _is_empty(slice_name(layout.root)):
        with suppress(DriverError):  # it goes with the machine, at the latest
            _systemctl("stop", slice_name(layout.root))
    for path in (layout.guard, waiter_path(layout)):
        with suppress(FileNotFoundError):
            path.unlink()
    shutil.rmtree(layout.guards, ignore_errors=True)
    shutil.rmtree(Path(LINKS) / prefix(layout.root), ignore_errors=True)
    with suppress(OSError):
        Path(LINKS).rmdir()  # unless another state folder has links there
    if layout.root.is_dir():
        sync_folder(layout.root)


def _is_empty(slice_: str) -> bool:
    """Nothing runs in it; what is not there is not empty."""
    for mounted in CGROUPS:
        with suppress(OSError):
            return "populated 0" in (mounted / slice_ / "cgroup.events").read_text(encoding="ascii")
    return False


def remains(node: Node) -> list[str]:
    """The unikernels that this node still has, each with what speaks against taking the guard away from it."""
    said = []
    for folder in sorted(node.layout.unikernels.glob("*")):
        if not folder.is_dir():
            continue
        try:
            state = node.journal(folder.name).read()
            alive = any(instance.alive for instance in node.inspect(state))
        except FleetError as error:
            said.append(f"{folder.name} (unknown: {error})")
            continue
        if state.trial is not None and state.phase is not Phase.STRANDED:
            said.append(f"{folder.name} (on trial)")
        elif alive:
            said.append(f"{folder.name} (running)")
        elif state.current is not None:
            said.append(f"{folder.name} (stopped)")
    return said


def stop_everything(node: Node) -> None:
    """End all instances there are, whatever their states say. DriverError when one would not end."""
    for folder in sorted(node.layout.unikernels.glob("*")):
        if folder.is_dir():
            state = node.journal(folder.name).read()
            for driver in node.drivers_of(state):
                for instance in driver.inspect([folder.name]).get(folder.name, ()):
                    driver.stop(folder.name, instance.release)
                    driver.discard(folder.name, instance.release)


def _systemctl(verb: str, *units: str) -> None:
    done = subprocess.run(
        ["systemctl", "--no-ask-password", verb, "--", *units],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()[-800:]
        raise DriverError(f"systemctl {verb} {' '.join(units)} failed: {said}")
