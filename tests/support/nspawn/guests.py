# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Guests on a prepared machine, in the units that systemd keeps them in, and words for what is done to them."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..virtual_machine.guest import GuestFiles
from .machine import COLLECTION, Machine

ON_NODE = COLLECTION / "tests" / "support" / "guests_on_node.py"
ADDRESS = "192.0.2.60"
BOOT_S = 150.0
"""About 3 s under TCG on an idle machine."""


class Guests:
    """A prepared node that has the test guest, and words for what is done to guests there."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        machine.bring(ON_NODE, "/root/guests_on_node.py")

    def bring(self, files: GuestFiles) -> None:
        """What a virtual machine boots."""
        for file, part in ((files.kernel, "kernel"), (files.initrd, "initrd")):
            self.machine.bring(Path(file), f"/root/guest-{part}")

    def do(self, *words: str) -> Any:
        said = self.machine.run(f"python3 /root/guests_on_node.py {' '.join(map(shlex.quote, words))}", BOOT_S)
        return json.loads(said.splitlines()[-1])

    def until(self, name: str, **expected: Any) -> dict[str, Any]:
        give_up = time.monotonic() + BOOT_S
        while True:
            shown: dict[str, Any] = self.do("show", name)
            if all(shown[key] == value for key, value in expected.items()):
                return shown
            assert "verdict" not in expected or shown["phase"] != "stable", f"the trial of {name} ended: {shown}"
            assert time.monotonic() < give_up, f"{name} is {shown}, and not {expected}"
            time.sleep(0.5)

    def answer(self) -> str:
        asking = f"import urllib.request as r; print(r.urlopen('http://{ADDRESS}/', timeout=20).read().decode())"
        return self.machine.run(f"python3 -c {shlex.quote(asking)}").strip()

    def user_of(self, name: str) -> str:
        """The number on record for the tenders of a unikernel."""
        users = self.machine.run("cd /var/lib/unikernel-fleet/users && for n in *; do echo $n $(readlink $n); done")
        found = {whose: number for number, whose in (line.split() for line in users.splitlines())}
        return found[name]

    def inside(self, pid: int, command: str, as_it: bool = False) -> str:
        """What root can do where that process is, with nothing of its own but what the process sees; or what the
        process itself can do, as who it is."""
        who = f"--reuid $(stat -c %u /proc/{pid}) --regid $(stat -c %g /proc/{pid})"
        become = f"setpriv {who} --clear-groups --no-new-privs" if as_it else ""
        return self.machine.run(f"nsenter --target {pid} --mount {become} sh -c {shlex.quote(command)} 2>&1 || true")


@contextmanager
def guests_of(machine: Machine) -> Iterator[Guests]:
    """Its devices are given to it by the machine that it is a container of. There they may be root's alone; on a node
    of its own, role node gives them to the group kvm and to all."""
    own = (
        "for device in kvm:232 net/tun:200; do path=/dev/${device%:*}; [ -e $path ] || continue; "
        "mkdir -p /devices; node=/devices/$(basename $path); [ -e $node ] || mknod $node c 10 ${device#*:}; "
        "mount --bind $node $path; done; "
        "chmod 0666 /dev/net/tun; [ ! -e /dev/kvm ] || { chgrp kvm /dev/kvm; chmod 0660 /dev/kvm; }"
    )
    machine.run(own)
    try:
        yield Guests(machine)
    finally:
        machine.run("umount /dev/net/tun; [ ! -e /dev/kvm ] || umount /dev/kvm; rm -r /devices")
