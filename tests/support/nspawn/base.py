# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The root file system that all nodes begin with: Debian with systemd, made once and kept in a cache.

Nodes never write to it (each has an overlay on top), so any number of test beds may use it at once.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from ansible_collections.unikernel.fleet.tests.support.machines_required import unless_required

SUITE = "bookworm"
USER = "fleet"
"""Who Ansible logs in as; sudo makes root of them, without a password."""

NODE_PACKAGES = (
    "dbus",
    "iproute2",
    "iputils-ping",
    "kmod",
    "openssh-server",
    "procps",
    "python3",
    "python3-apt",
    "qemu-system-x86",
    "qemu-utils",
    "seabios",
    "sudo",
    "systemd",
    "systemd-sysv",
)
"""All that role ``node`` installs, since the nodes reach nothing outside. QEMU costs 7 of 28 s, once, and 120 MiB."""

TOOLS = {"mmdebstrap": "mmdebstrap", "systemd-nspawn": "systemd-container", "ip": "iproute2", "ssh": "openssh-client"}
"""Programs of this machine to the Debian package that has them."""

_CUSTOMIZE = f"""
set -eu
chroot "$1" useradd --create-home --shell /bin/bash {USER}
echo '{USER} ALL=(ALL) NOPASSWD: ALL' > "$1/etc/sudoers.d/{USER}"
chroot "$1" systemctl enable systemd-networkd.service
# A node waits for nothing that a container does not have.
chroot "$1" systemctl mask systemd-networkd-wait-online.service getty.target console-getty.service apt-daily.timer \
    apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer dpkg-db-backup.timer
rm -f "$1"/etc/ssh/ssh_host_* "$1/etc/hostname" "$1/etc/machine-id"
: > "$1/etc/machine-id"
"""


def why_not() -> Optional[str]:
    """Why no nodes can be made on this machine; None when they can."""
    return unless_required(_what_is_missing())


def _what_is_missing() -> Optional[str]:
    if os.geteuid() != 0:
        return "nodes as systemd-nspawn containers need root"
    missing = sorted(package for program, package in TOOLS.items() if shutil.which(program) is None)
    if missing:
        return f"nodes as systemd-nspawn containers need the packages {', '.join(missing)}"
    return None


def cache_folder() -> Path:
    """Where what is expensive to make is kept between runs, outside of any checkout."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(cache) / "unikernel-fleet" / "nspawn"


def base_root(packages: Sequence[str] = NODE_PACKAGES, cache: Optional[Path] = None) -> Path:
    """The root file system with these packages, made now if it is not in the cache."""
    folder = cache or cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    listed = ",".join(sorted(set(packages)))
    key = hashlib.sha256(f"{SUITE}\0{listed}\0{_CUSTOMIZE}".encode()).hexdigest()[:12]
    root = folder / f"{SUITE}-{key}"
    with open(folder / f"{root.name}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.is_dir():
            _make(root, listed)
    return root


def _make(root: Path, packages: str) -> None:
    """Into a folder of another name first: what has the right name is whole."""
    begun = root.with_name(root.name + ".begun")
    shutil.rmtree(begun, ignore_errors=True)
    hook = root.with_name(root.name + ".hook")
    hook.write_text("#!/bin/sh\n" + _CUSTOMIZE, encoding="utf-8")
    hook.chmod(0o755)
    process = subprocess.run(
        ["mmdebstrap", "--variant=minbase", f"--include={packages}", f"--customize-hook={hook}", SUITE, str(begun)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    hook.unlink()
    if process.returncode != 0:
        raise RuntimeError(f"mmdebstrap could not make {begun}:\n{process.stdout[-4000:]}")
    begun.rename(root)
