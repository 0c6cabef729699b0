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
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ansible_collections.unikernel.fleet.tests.support.machines_required import unless_required

USER = "fleet"
"""Who Ansible logs in as; sudo makes root of them, without a password."""

BARE_PACKAGES = (
    "dbus",
    "iputils-ping",
    "kmod",
    "openssh-server",
    "procps",
    "python3",
    "sudo",
    "systemd",
    "systemd-sysv",
)
"""A machine that can be logged in to, and nothing that role ``node`` installs but Python."""
ROLE_PACKAGES = ("iproute2", "python3-apt", "qemu-system-x86", "qemu-utils", "seabios")
"""What it installs for all drivers. QEMU costs 7 of 28 s, once, and 120 MiB."""


@dataclass(frozen=True)
class System:
    """What a node's disk holds when it is new."""

    suite: str
    """Of Debian."""
    packages: tuple[str, ...]
    offered: tuple[str, ...] = ()
    """Packages that are not installed, and that its apt can install all the same, though it reaches nothing outside:
    with all that they need they lie in a repository on its own disk."""


DEBIAN_12 = System("bookworm", (*BARE_PACKAGES, *ROLE_PACKAGES))
DEBIAN_13 = System("trixie", BARE_PACKAGES, offered=ROLE_PACKAGES)
"""As Debian's installer leaves it: what the role installs there, apt brings."""

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
_OFFER = """
offered="$1/srv/packages"
mkdir "$offered"
APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get install --yes --no-install-recommends --download-only {offered}
mv "$1"/var/cache/apt/archives/*.deb "$offered"
for package in "$offered"/*.deb; do
    dpkg-deb --field "$package"
    echo "Filename: ./${{package##*/}}"
    echo "Size: $(stat --format=%s "$package")"
    echo "SHA256: $(sha256sum "$package" | cut -d' ' -f1)"
    echo
done > "$offered/Packages"
rm -f "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/*
echo 'deb [trusted=yes] file:/srv/packages ./' > "$1/etc/apt/sources.list"
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


def base_root(system: System = DEBIAN_12, cache: Optional[Path] = None) -> Path:
    """The root file system of such a node, made now if it is not in the cache."""
    folder = cache or cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    listed = ",".join(sorted(set(system.packages)))
    hook = _CUSTOMIZE + (_OFFER.format(offered=" ".join(system.offered)) if system.offered else "")
    key = hashlib.sha256(f"{system.suite}\0{listed}\0{hook}".encode()).hexdigest()[:12]
    root = folder / f"{system.suite}-{key}"
    with open(folder / f"{root.name}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.is_dir():
            _make(root, system.suite, listed, hook)
    return root


def _make(root: Path, suite: str, packages: str, customize: str) -> None:
    """Into a folder of another name first: what has the right name is whole."""
    begun = root.with_name(root.name + ".begun")
    shutil.rmtree(begun, ignore_errors=True)
    hook = root.with_name(root.name + ".hook")
    hook.write_text("#!/bin/sh\n" + customize, encoding="utf-8")
    hook.chmod(0o755)
    process = subprocess.run(
        ["mmdebstrap", "--variant=minbase", f"--include={packages}", f"--customize-hook={hook}", suite, str(begun)],
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
