# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A node's network in a namespace of its own: a bridge with addresses, and nothing that the machine itself uses."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import REHEARSAL
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.ports import (
    namespace_of,
    quarantine_namespace_of,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.waiter import enter_network_namespace
from ansible_collections.unikernel.fleet.tests.support.machines_required import unless_required

BRIDGE = "br-lab"
NODE_V4, NODE_V6 = "192.0.2.1", "2001:db8::1"
GUEST_V4, GUEST_V6 = "192.0.2.10", "2001:db8::10"


def ip(*words: str) -> str:
    """A command of ``ip`` that must succeed."""
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=20).stdout


def make_bridge(*options: str) -> None:
    """The bridge with the node's own addresses; also once it was deleted."""
    ip("link", "add", BRIDGE, "type", "bridge", *options)
    ip("addr", "add", f"{NODE_V4}/24", "dev", BRIDGE)
    ip("addr", "add", f"{NODE_V6}/64", "dev", BRIDGE, "nodad")
    ip("link", "set", BRIDGE, "up")


def links() -> dict[str, dict[str, Any]]:
    """The interfaces of the present namespace by name."""
    return {link["ifname"]: link for link in json.loads(ip("-j", "-d", "link", "show"))}


def master_of(name: str) -> Optional[str]:
    return links()[name].get("master")


def namespaces() -> set[str]:
    try:
        return {entry.name for entry in Path("/run/netns").iterdir()}
    except FileNotFoundError:
        return set()


def why_not_here() -> str:
    """Why this machine cannot have such a lab; empty when it can."""
    return unless_required(_what_is_missing()) or ""


def _what_is_missing() -> str:
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    done = subprocess.run(
        ["unshare", "--net", "ip", "link", "add", "uklab", "type", "bridge"], capture_output=True, check=False
    )
    return "" if done.returncode == 0 else "this kernel makes no bridges in network namespaces"


MOST_RELEASES = 300


class Lab:
    """The namespace that this thread is in, and what was there before anybody made ports."""

    def __init__(self) -> None:
        self._links = set(links())
        self._ours: set[str] = set()

    def watch_over(self, root: Path, name: str) -> None:
        """Namespaces are the whole machine's, and others make some too: those of this unikernel are ours."""
        for number in (*range(MOST_RELEASES), REHEARSAL):
            self._ours |= {namespace_of(str(root), name, number), quarantine_namespace_of(str(root), name, number)}

    def leftovers(self) -> list[str]:
        """Interfaces that were not there at the beginning, and namespaces of what is watched over."""
        return sorted((set(links()) - self._links) | (namespaces() & self._ours))


@contextmanager
def network_lab(bridge_options: Sequence[str] = ()) -> Iterator[Lab]:
    """This thread, and all that it starts, inside a namespace with a bridge; everything is removed afterwards."""
    name = f"lab{secrets.token_hex(4)}"
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    ip("netns", "add", name)
    try:
        enter_network_namespace(f"/run/netns/{name}")
        ip("link", "set", "lo", "up")
        make_bridge(*bridge_options)
        lab = Lab()
        try:
            yield lab
        finally:
            for left in lab.leftovers():
                if left in links():
                    subprocess.run(["ip", "link", "delete", left], capture_output=True, timeout=20, check=False)
                elif left in namespaces():
                    subprocess.run(["ip", "netns", "delete", left], capture_output=True, timeout=20, check=False)
    finally:
        enter_network_namespace(f"/proc/self/fd/{before}")
        os.close(before)
        ip("netns", "delete", name)
