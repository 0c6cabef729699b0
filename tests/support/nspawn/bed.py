# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A test bed: several nodes on one bridge in a network namespace, with an inventory that reaches them by SSH.

Everything about it lies in its folder, so it can be made by one process, used by others and removed by yet another::

    with create(3) as bed:
        bed.play("deploy.yml")
        bed.cut_power("n1")
        bed.boot("n1")
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Optional

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.process import (
    ProcessIdentity,
    alive,
    identify,
)

from .base import DEBIAN_12, USER, System, base_root, cache_folder
from .container import Container
from .network_namespace import PREFIX, NetworkNamespace

FIRST_ADDRESS = 11
BOOT_PATIENCE_S = 60.0
LOGIN_PATIENCE_S = 5


@dataclass(frozen=True)
class Description:
    """``bed.json``: what there is, whether it runs or not."""

    id: str
    base: str
    nodes: tuple[str, ...]
    owner: Optional[str] = None
    """Process that must live for the bed to be wanted; None: somebody will call ``destroy``."""


class Bed:
    """The test bed of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        data = json.loads((folder / "bed.json").read_text(encoding="ascii"))
        self.description = Description(**{**data, "nodes": tuple(data["nodes"])})
        self.network = NetworkNamespace(f"fleet-{self.description.id}")
        self.nodes: Mapping[str, Container] = {
            name: Container(
                name=name,
                machine=f"f{self.description.id}{name}",
                address=f"{PREFIX}.{FIRST_ADDRESS + index}",
                folder=folder / "nodes" / name,
                base=Path(self.description.base),
                network=self.network,
            )
            for index, name in enumerate(self.description.nodes)
        }

    # --- files for those who use it ---

    @property
    def inventory(self) -> Path:
        """Group ``unikernel_nodes``, and a ``localhost`` whose modules run inside the namespace: what the controller
        checks itself must reach the nodes as well."""
        return self.folder / "inventory.json"

    @property
    def ssh_config(self) -> Path:
        return self.folder / "ssh_config"

    def ssh(self, node: str, *words: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a command on a node, as its ordinary user."""
        return subprocess.run(
            ["ssh", "-F", str(self.ssh_config), node, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def playing(self, playbook: str, *arguments: str) -> list[str]:
        """The words that run ansible-playbook on this inventory."""
        program = Path(sys.executable).with_name("ansible-playbook")
        return [str(program), "-i", str(self.inventory), playbook, *arguments]

    def play(self, playbook: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run ansible-playbook on this inventory."""
        return subprocess.run(
            self.playing(playbook, *arguments),
            env={**os.environ, "ANSIBLE_NOCOWS": "1", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    # --- power ---

    def boot(self, *names: str) -> None:
        """Switch nodes on (all, when none is named), at the same time, and wait until they let users in."""
        chosen = [self.nodes[name] for name in names or self.nodes]
        for node in chosen:
            node.switch_on()
        deadline = time.monotonic() + BOOT_PATIENCE_S
        for node in chosen:
            while (answer := self._logs_in(node)) is not None:
                if node.process() is None or time.monotonic() > deadline:
                    console = node.console.read_text(encoding="utf-8", errors="replace")[-2000:]
                    raise RuntimeError(f"the node {node.name} does not come up: {answer}\n{console}")
                time.sleep(0.1)

    def _logs_in(self, node: Container) -> Optional[str]:
        """None when it does: it answers long before it lets anybody but root in (pam_nologin)."""
        try:
            tried = self.ssh(node.name, "true", timeout_s=LOGIN_PATIENCE_S)
        except subprocess.TimeoutExpired as error:
            return str(error)
        return None if tried.returncode == 0 else tried.stderr.strip()

    def cut_power(self, name: str) -> None:
        """SIGKILL for all that runs on the node, at once."""
        self.nodes[name].cut_power()

    def power_off(self, name: str) -> None:
        self.nodes[name].shut_down()

    def reboot(self, name: str) -> None:
        """In an orderly way. By power loss: ``cut_power`` and ``boot``."""
        self.power_off(name)
        self.boot(name)

    def destroy(self) -> None:
        """End all of it and remove every trace. May be repeated, and called for a bed that was only half made."""
        failures = []
        for node in self.nodes.values():
            try:
                node.cut_power()
            except (OSError, RuntimeError) as error:
                failures.append(str(error))
        self.network.remove()
        if failures:
            raise RuntimeError(f"the test bed {self.folder} is not gone: {'; '.join(failures)}")
        shutil.rmtree(self.folder)


@contextmanager
def create(nodes: int = 3, system: System = DEBIAN_12, booted: bool = True) -> Iterator[Bed]:
    """A bed for the length of a ``with``. It goes also when that ends in an error; and when this process is killed,
    the next one that makes a bed removes it."""
    beds = cache_folder() / "beds"
    beds.mkdir(parents=True, exist_ok=True)
    remove_abandoned(beds)
    folder = Path(tempfile.mkdtemp(prefix="bed-", dir=beds))
    bed = make(folder, nodes, system, owner=str(identify(os.getpid())))
    try:
        if booted:
            bed.boot()
        yield bed
    finally:
        bed.destroy()


def make(folder: Path, nodes: int, system: System = DEBIAN_12, owner: Optional[str] = None) -> Bed:
    """A bed in that folder, its nodes still switched off."""
    base = base_root(system)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # the nodes' root file systems lie below
    names = tuple(f"n{number}" for number in range(1, nodes + 1))
    description = Description(secrets.token_hex(3), str(base), names, owner)
    (folder / "bed.json").write_text(json.dumps(asdict(description)), encoding="ascii")
    bed = Bed(folder)
    try:
        bed.network.create()
        _write_keys(bed)
        _write_disks(bed)
        _write_ssh_config(bed)
        _write_inventory(bed)
    except BaseException:
        bed.destroy()
        raise
    return bed


def remove_abandoned(beds: Path) -> None:
    """Remove the beds whose owners were killed."""
    for description in beds.glob("*/bed.json"):
        with suppress(FileNotFoundError):
            bed = Bed(description.parent)
            owner = bed.description.owner
            if owner is not None and not alive(ProcessIdentity.parse(owner)):
                bed.destroy()


def _write_keys(bed: Bed) -> None:
    for name in ("user_key", "host_key"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(bed.folder / name)]
        subprocess.run(command, check=True, timeout=30)
    public = (bed.folder / "host_key.pub").read_text(encoding="ascii").strip()
    lines = [f"{node.address} {public}\n" for node in bed.nodes.values()]
    (bed.folder / "known_hosts").write_text("".join(lines), encoding="ascii")


def _write_disks(bed: Bed) -> None:
    for node in bed.nodes.values():
        node.write(
            "etc/systemd/network/10-host0.network",
            f"[Match]\nName=host0\n[Network]\nAddress={node.address}/24\nIPv6AcceptRA=no\nLinkLocalAddressing=ipv6\n",
        )
        hosts = "".join(f"{other.address} {other.name}\n" for other in bed.nodes.values())
        node.write("etc/hosts", f"127.0.0.1 localhost\n::1 localhost\n{hosts}")
        node.write("etc/ssh/ssh_host_ed25519_key", (bed.folder / "host_key").read_text(encoding="ascii"), 0o600)
        node.write("etc/ssh/ssh_host_ed25519_key.pub", (bed.folder / "host_key.pub").read_text(encoding="ascii"))
        node.write("etc/ssh/authorized_keys", (bed.folder / "user_key.pub").read_text(encoding="ascii"))
        node.write(
            "etc/ssh/sshd_config.d/test.conf",
            "AuthorizedKeysFile /etc/ssh/authorized_keys\nPasswordAuthentication no\nUseDNS no\nMaxStartups 100\n",
        )


def _write_ssh_config(bed: Bed) -> None:
    """No connection is shared: a shared one would outlive a node's power loss, and what uses it next would hang."""
    connect = [sys.executable, "-I", str(Path(__file__).with_name("connect.py")), "%h", "%p"]
    lines = [
        "Host *",
        f"  User {USER}",
        f"  IdentityFile {bed.folder}/user_key",
        "  IdentitiesOnly yes",
        f"  UserKnownHostsFile {bed.folder}/known_hosts",
        "  StrictHostKeyChecking yes",
        f"  ProxyCommand {' '.join(bed.network.enter(*connect))}",
        "  ProxyUseFdpass yes",
        "  ControlMaster no",
        "  ServerAliveInterval 2",
        "  ServerAliveCountMax 3",
        "  LogLevel ERROR",
    ]
    for node in bed.nodes.values():
        lines += [f"Host {node.name}", f"  HostName {node.address}"]
    bed.ssh_config.write_text("\n".join(lines) + "\n", encoding="ascii")


def _write_inventory(bed: Bed) -> None:
    inside = bed.folder / "python"
    inside.write_text(f'#!/bin/sh\nexec {" ".join(bed.network.enter(sys.executable))} "$@"\n', encoding="ascii")
    inside.chmod(0o755)
    nodes = {node.name: {"ansible_host": node.address} for node in bed.nodes.values()}
    of_nodes: dict[str, Any] = {
        "ansible_user": USER,
        "ansible_become": True,
        "ansible_ssh_args": f"-F {bed.ssh_config}",
        "ansible_ssh_pipelining": True,
        "ansible_python_interpreter": "/usr/bin/python3",
        # Environment variables that are meant for this machine would hold for the nodes too.
        "ansible_remote_tmp": "~/.ansible/tmp",
        "ansible_async_dir": "~/.ansible_async",
    }
    here = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": str(inside)}
    inventory = {
        "all": {"hosts": {"localhost": here}},
        "unikernel_nodes": {"hosts": nodes, "vars": of_nodes},
    }
    bed.inventory.write_text(json.dumps(inventory, indent=2), encoding="ascii")
