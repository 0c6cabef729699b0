# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The text of the units under which systemd keeps instances: one template per kind, tightened to what the kind needs.

An instance of a template is called ``NAME:RELEASE``. Its folder below ``/run`` holds links (see ``systemd.py``): to the
folder of its records, and to what else it may write. A template can name those links where it could not name what they
point to, so nothing has to be generated, and systemd has not to be reloaded, when a release is started.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Union

from ..errors import InvalidDeclaration
from ..layout import DEFAULT_ROOT, REHEARSAL
from ..model import checked_name

LINKS = "/run/unikernel-fleet"
RECORDS = "records"
NOTE = "# Written by unikernel.fleet, and replaced when it is upgraded. Changes belong into a drop-in (systemctl edit)."
WRITABLE = 8
"""Links to places that an instance may write to besides its records: ``writable-0`` and so on."""

STOP_S = 30
"""When the machine is shut down: from the request to end to the kill. (Our own stops keep to each release's grace.)"""


@dataclass(frozen=True)
class Sandbox:
    """What one kind of instance is allowed, on top of what all of them are denied."""

    what: str
    capabilities: tuple[str, ...]
    devices: tuple[str, ...] = ()
    """Lines of DeviceAllow=, besides /dev/null and its like."""
    tasks_max: int = 1024
    lines: tuple[str, ...] = ()


WAITER = ("CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SYS_RESOURCE", "CAP_SYS_PTRACE")
"""The waiter's own: it becomes another user for the instance, ends it, sets limits, and reads whose a process is."""

TENDER = (
    # spt lives by seccomp and hvt by KVM; these are the calls that neither of them, nor QEMU, ever makes.
    # Those by which a process looks into another one are among them.
    "SystemCallFilter=~@clock @debug @module @mount @obsolete @raw-io @reboot @swap process_vm_readv process_vm_writev",
    "SystemCallErrorNumber=EPERM",
    "SystemCallArchitectures=native",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    # A guest's packets go through its tap, which this does not touch; the tender itself talks to no network.
    "IPAddressDeny=any",
    # Nothing of other users' processes is to be seen, and each unikernel's tenders are a user of their own: an argument
    # of a guest, also a secret one, is its tender's.
    "ProtectProc=invisible",
    # A tender with a disk that only root may open is root without capabilities, and reads what root may.
    "InaccessiblePaths=-/etc/shadow -/etc/shadow- -/etc/gshadow -/etc/gshadow- -/etc/sudoers -/etc/ssh",
    "InaccessiblePaths=-/etc/ssl/private",
)

SANDBOXES: Mapping[str, Sandbox] = {
    "unix": Sandbox(
        what="program",
        # It may be any server: it binds low ports, changes its user and the owner of its files, sends pings.
        # CAP_SYS_ADMIN and CAP_NET_ADMIN are for the waiter, which enters the namespace of an instance that has one.
        capabilities=(
            *WAITER,
            "CAP_CHOWN",
            "CAP_DAC_OVERRIDE",
            "CAP_FOWNER",
            "CAP_NET_BIND_SERVICE",
            "CAP_NET_RAW",
            "CAP_NET_ADMIN",
            "CAP_SYS_ADMIN",
        ),
        lines=(
            # A /dev with nothing in it but /dev/null and its like.
            "PrivateDevices=yes",
            "LockPersonality=yes",
            "RestrictNamespaces=net",
            # Or else CAP_SYS_ADMIN would undo ProtectSystem= by a mount.
            "SystemCallFilter=~@clock @module @mount @raw-io @reboot @swap",
            "SystemCallErrorNumber=EPERM",
        ),
    ),
    "solo5": Sandbox(
        what="Solo5 guest",
        capabilities=WAITER,
        devices=("/dev/kvm rw", "/dev/net/tun rw", "block-device-mapper rw", "block-loop rw"),
        tasks_max=64,
        # Without LockPersonality=: spt sets its own before anything else, and ends by SIGABRT where it may not.
        lines=TENDER,
    ),
    "qemu": Sandbox(
        what="virtual machine",
        capabilities=WAITER,
        devices=("/dev/kvm rw", "/dev/net/tun rw", "/dev/vhost-net rw", "block-device-mapper rw", "block-loop rw"),
        # QEMU starts threads for its disks as it needs them.
        tasks_max=512,
        lines=(*TENDER, "LockPersonality=yes"),
    ),
}


def prefix(root: Path) -> str:
    """What the names of all units of a state folder begin with: a second one on a machine has units of its own."""
    if str(root) == DEFAULT_ROOT:
        return "unikernel-fleet"
    return f"unikernel-fleet-{hashlib.sha256(str(root).encode()).hexdigest()[:8]}"


def template_name(root: Path, kind: str) -> str:
    return f"{prefix(root)}-{kind}@.service"


def unit_name(root: Path, kind: str, name: str, release: Union[int, str]) -> str:
    """At most 255 characters, as systemd demands; no character of a name needs to be escaped in it."""
    return f"{prefix(root)}-{kind}@{_instance(name, release)}.service"


def slice_name(root: Path) -> str:
    """Its dashes would make it a slice within slices: it is one, at the top."""
    return prefix(root).replace("-", "_") + ".slice"


def links_folder(root: Path, name: str, release: Union[int, str]) -> Path:
    return Path(LINKS) / prefix(root) / _instance(name, release)


def _instance(name: str, release: Union[int, str]) -> str:
    """What a template's ``%i`` is; a rehearsal has a unit beside those of all releases."""
    return f"{checked_name(name)}:{REHEARSAL if release == REHEARSAL else int(release)}"


def template(root: Path, kind: str, python: str, waiter: Path) -> str:
    """The unit file of one kind of instances."""
    sandbox = SANDBOXES[kind]
    for word in (str(root), python, str(waiter)):
        checked_word(word)
    links = f"{LINKS}/{prefix(root)}/%i"
    return "\n".join(
        (
            NOTE,
            "[Unit]",
            f"Description=Unikernel %i ({sandbox.what})",
            "Documentation=https://docs.ansible.com/",
            # Whether and when an instance is started again is decided by its waiter and the guard, never by systemd.
            "StartLimitIntervalSec=0",
            "CollectMode=inactive-or-failed",
            "",
            "[Service]",
            "Type=exec",
            f"ExecStart={python} -I -S -X utf8 {waiter} waiter-unit {links}/{RECORDS}",
            f"Slice={slice_name(root)}",
            # A killed waiter takes no instance with it; it goes on, is seen and stopped as ever (as without systemd).
            "ExitType=cgroup",
            "OOMPolicy=continue",
            # At shutdown both hear the request: the instance ends politely, and the waiter records how.
            "KillMode=control-group",
            f"TimeoutStopSec={STOP_S}",
            # The waiter ends with 0; how its instance ended is in the records.
            "Restart=no",
            "StandardInput=null",
            # The console is a bounded file of the instance; the journal only gets what the waiter itself complains of.
            "StandardOutput=journal",
            "StandardError=journal",
            "LogRateLimitIntervalSec=30s",
            "LogRateLimitBurst=100",
            # In a shortage of memory an instance goes before the system's own services do.
            "OOMScoreAdjust=100",
            f"TasksMax={sandbox.tasks_max}",
            "UMask=0077",
            "",
            f"CapabilityBoundingSet={' '.join(sandbox.capabilities)}",
            "NoNewPrivileges=yes",
            "ProtectSystem=strict",
            f"ReadWritePaths={links}/{RECORDS}",
            *(f"ReadWritePaths=-{links}/writable-{number}" for number in range(WRITABLE)),
            # Read-only and not hidden: tenders and a program's own folder may lie there.
            "ProtectHome=read-only",
            *_private_tmp(root),
            "ProtectClock=yes",
            "ProtectControlGroups=yes",
            "ProtectHostname=yes",
            "ProtectKernelLogs=yes",
            "ProtectKernelModules=yes",
            "ProtectKernelTunables=yes",
            "RestrictSUIDSGID=yes",
            "DevicePolicy=closed",
            *(f"DeviceAllow={device}" for device in sandbox.devices),
            *sandbox.lines,
            "",
        )
    )


def checked_word(word: str) -> str:
    """A path that systemd reads as one word with no meaning of its own."""
    if not word.startswith("/") or any(not (c.isascii() and (c.isalnum() or c in "/._+-@:,")) for c in word):
        raise InvalidDeclaration(
            f"{word!r} cannot stand in a unit of systemd: an absolute path of letters, digits and / . _ + - @ : , is "
            "needed. Nothing was changed. Choose another state folder."
        )
    return word


def _private_tmp(root: Path) -> tuple[str, ...]:
    """A state folder below /tmp (a trial installation) would vanish in a /tmp of the unit's own."""
    hidden = any(root.is_relative_to(folder) for folder in ("/tmp", "/var/tmp"))
    return () if hidden else ("PrivateTmp=yes",)
