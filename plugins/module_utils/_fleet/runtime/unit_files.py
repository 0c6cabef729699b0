# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Brings the units of instances, and the waiter that they run, onto a machine; does nothing when they are there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ..durable import make_folder, write_durably
from ..errors import DriverError
from ..layout import NodeLayout
from . import units
from .waiter_source import waiter_source

INSTALLED = Path("/etc/systemd/system")
"""By role node: for good."""
TRANSIENT = Path("/run/systemd/system")
"""By a module on a machine that nobody prepared: gone with the next boot."""
RELOAD_PATIENCE_S = 90.0
WAITER_FILE = "waiter.py"


def python_for_units() -> str:
    """The name of this Python that outlives an upgrade of the system, where there is one."""
    stable = "/usr/bin/python3"
    with suppress(OSError):
        if os.path.samefile(stable, sys.executable):
            return stable
    if not sys.executable:
        raise DriverError("This Python does not know its own path, so no unit can name it.")
    return sys.executable


def templates(layout: NodeLayout) -> dict[str, str]:
    """File name to text."""
    python = python_for_units()
    return {
        units.template_name(layout.root, kind): units.template(layout.root, kind, python, waiter_path(layout))
        for kind in units.SANDBOXES
    }


def waiter_path(layout: NodeLayout) -> Path:
    return layout.root / WAITER_FILE


def ensure_templates(layout: NodeLayout) -> bool:
    """They are there, in whatever version: whoever installed them last keeps them up to date (see guard_install)."""
    names = [units.template_name(layout.root, kind) for kind in units.SANDBOXES]
    folders = (INSTALLED, TRANSIENT)
    if waiter_path(layout).exists() and all(any((folder / name).exists() for folder in folders) for name in names):
        return False
    install_waiter(layout)
    return write_units(templates(layout), units_folder(layout))


def units_folder(layout: NodeLayout) -> Path:
    """Where this machine's units of ours are: in /run unless role node prepared it."""
    prepared = any((INSTALLED / units.template_name(layout.root, kind)).exists() for kind in units.SANDBOXES)
    return INSTALLED if prepared else TRANSIENT


def install_waiter(layout: NodeLayout) -> bool:
    """A copy that units can run: the library itself may come from the zip of an Ansible module. True when changed."""
    path = waiter_path(layout)
    return _replace(path, waiter_source().encode("utf-8"), 0o644)


def write_units(files: Mapping[str, str], folder: Path) -> bool:
    """Write what differs, and let systemd know; True when something did."""
    changed = [_replace(folder / name, text.encode("utf-8"), 0o644) for name, text in sorted(files.items())]
    if any(changed):
        reload_systemd()
    return any(changed)


def reload_systemd() -> None:
    try:
        subprocess.run(
            ["systemctl", "--no-ask-password", "daemon-reload"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=RELOAD_PATIENCE_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise DriverError(f"systemd could not be told of its new units: {error}. Nothing was started.") from error


def _replace(path: Path, content: bytes, mode: int) -> bool:
    try:
        with suppress(FileNotFoundError):
            if path.read_bytes() == content:
                return False
        if not path.parent.is_dir():
            make_folder(path.parent, 0o755)
        write_durably(path, content, mode)
    except OSError as error:
        raise DriverError(f"{path} cannot be written: {error.strerror}. Nothing was started.") from error
    return True
