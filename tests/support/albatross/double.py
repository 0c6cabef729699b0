# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A faithful albatross for tests: what it does was recorded from the real one, the bad part included.

``with Albatross(folder, bridges=("br0",)) as albatross:`` listens on ``vmmd.sock``, ``console.sock`` and ``stat.sock``
in that folder, and with ``tls_port=0`` over TLS on a port of loopback, with certificates that it makes. Its unikernels
are programs of this machine, see ``images``. ``python -m ...tests.support.albatross`` is the same as a process of its
own.

Bridges are names in a file. Where there is a real one of that name too, and we are root, programs are plugged into it
(see ``wiring``); with ``real_tenders``, images of Solo5 have taps of it.

What it leaves out: bhyve, the requests of releases before 2.5, and limits of the kernel on CPUs and memory.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Optional

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import Generation, Policy
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.tls import Tls
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.unix_sockets import (
    CONSOLE,
    STATISTICS,
    UNIKERNELS,
)
from ansible_collections.unikernel.fleet.tests.support import albatross_certificates as certificates
from ansible_collections.unikernel.fleet.tests.support.albatross.albatrossd import Albatrossd
from ansible_collections.unikernel.fleet.tests.support.albatross.consoles import Consoles
from ansible_collections.unikernel.fleet.tests.support.albatross.machine import Machine
from ansible_collections.unikernel.fleet.tests.support.albatross.running import Running
from ansible_collections.unikernel.fleet.tests.support.albatross.services import OwnProcess, Service, unix_listener
from ansible_collections.unikernel.fleet.tests.support.albatross.statistics import Statistics
from ansible_collections.unikernel.fleet.tests.support.albatross.tls_endpoint import TlsEndpoint
from ansible_collections.unikernel.fleet.tests.support.albatross_certificates import Files

TLS_QUEUE = 10
PATIENCE_S = 3.0
"""For unikernels to end when the double does."""


class Albatross:
    """The daemons of one machine."""

    def __init__(
        self,
        folder: Path,
        bridges: Iterable[str] = (),
        generation: Generation = Generation.V2_7,
        tls_port: Optional[int] = None,
        samples_every_s: float = 10.0,
        own_processes: bool = False,
        **machine: Any,
    ) -> None:
        self.folder = folder
        self.generation = generation
        self.machine = Machine(folder, **machine)
        self.machine.make_folders()
        if bridges or not self.machine.bridges_file.exists():
            self.machine.set_bridges(frozenset(bridges))
        self._samples_every_s = samples_every_s
        self.tls_port = tls_port
        """0: any; then the one that it became. None: no TLS."""
        self._own_processes = own_processes
        """albatrossd and albatross-console each listen in the name of a process that starts when they do."""
        self._listening: dict[str, OwnProcess] = {}
        self._processes: list[Running] = []
        self._daemon: Optional[Albatrossd] = None
        self._vmmd: Optional[Service] = None
        self._others: list[Service] = []

    def __enter__(self) -> Albatross:
        self.start()
        return self

    def __exit__(self, *_unused: object) -> None:
        self.stop()

    # --- all of it

    def start(self) -> None:
        self.start_console()
        statistics = Statistics(self.generation, self._running, self._samples_every_s)
        self._others = [
            Service(unix_listener(self.folder / STATISTICS), statistics.serve),
        ]
        if self.tls_port is not None:
            listener = socket.create_server(("127.0.0.1", self.tls_port), backlog=TLS_QUEUE)
            self.tls_port = listener.getsockname()[1]
            context = certificates.server_context(self._server(), self.root)
            self._others.append(Service(listener, TlsEndpoint(self.folder, context, self.generation).serve))
        self.start_daemon()

    def stop(self) -> None:
        """Nothing that it started is left; what ran is brought back by the next start on this folder."""
        self.stop_daemon()
        self.kill_console()
        for service in self._others:
            service.close()
        for one in self._processes:
            if not one.ended.is_set():
                one.kill()
        for one in self._processes:
            one.ended.wait(PATIENCE_S)
        for name in (UNIKERNELS, CONSOLE, STATISTICS):
            (self.folder / name).unlink(missing_ok=True)

    # --- certificates: made once for each folder

    @property
    def root(self) -> Files:
        """The CA that clients and server have in common."""
        made = self._stored("root")
        return made if made.key.exists() else certificates.root(self._certificates, "root")

    def tenant(self, label: str, policy: Policy, issuer: Optional[Files] = None) -> Files:
        """The CA of a tenant, of the root's or of another tenant's."""
        return certificates.tenant_of(self._certificates, issuer or self.root, label, policy)

    def transport(self, who: Optional[Files] = None) -> Tls:
        """How a client asks over TLS in the name of a CA."""
        who = who or self.root
        return Tls("127.0.0.1", self.root.certificates, who.certificates, who.key, self.tls_port or 0)

    @property
    def _certificates(self) -> Path:
        return self.machine.own / "certificates"

    def _server(self) -> Files:
        made = self._stored("server")
        return made if made.key.exists() else certificates.server(self._certificates, self.root, "server")

    def _stored(self, name: str) -> Files:
        return Files(self._certificates / f"{name}.pem", self._certificates / f"{name}.key")

    # --- albatrossd alone

    def start_daemon(self) -> None:
        """It finds the bridges that there are now, and starts what its state names, whatever still runs."""
        daemon = Albatrossd(self.machine, self._consoles, self.generation, self._processes)
        daemon.start()
        self._daemon = daemon
        self._vmmd = Service(self._listener(UNIKERNELS, "albatrossd"), daemon.serve, died=self.kill_daemon)

    def stop_daemon(self) -> None:
        """As by systemd: with SIGTERM."""
        if self._daemon is not None:
            self._daemon.stop(PATIENCE_S)
        self.kill_daemon()

    def kill_daemon(self) -> None:
        """As by SIGKILL: its unikernels run on."""
        if self._daemon is not None:
            self._daemon.die()
            self._daemon = None
        if self._vmmd is not None:
            service, self._vmmd = self._vmmd, None
            service.close()
            self._end_process(UNIKERNELS)

    @property
    def lives(self) -> bool:
        """albatrossd does."""
        return self._daemon is not None

    # --- albatross-console alone

    def start_console(self) -> None:
        """An albatrossd that runs already does not find out."""
        self._consoles = Consoles(self.generation)
        self._console = Service(self._listener(CONSOLE, "albatross-console"), self._consoles.serve)

    def kill_console(self) -> None:
        """As by SIGKILL: its socket stays, and accepts nothing. What runs runs on."""
        self._consoles.over = True
        self._console.close()
        self._end_process(CONSOLE)

    def _listener(self, service: str, daemon: str) -> socket.socket:
        listener = unix_listener(self.folder / service)
        if self._own_processes:
            self._listening[service] = OwnProcess(listener, daemon)
        return listener

    def _end_process(self, service: str) -> None:
        process = self._listening.pop(service, None)
        if process is not None:
            process.end()

    # --- the machine

    def make_bridge(self, name: str) -> None:
        """albatrossd does not know it before its next start."""
        self.machine.set_bridges(self.machine.bridges() | {name})

    def remove_bridge(self, name: str) -> None:
        """albatrossd takes it for there until its next start."""
        self.machine.set_bridges(self.machine.bridges() - {name})

    def pids(self, name: Name) -> list[int]:
        """Of all processes of that name that run, whether albatrossd knows them or not."""
        return [one.process.pid for one in self._processes if one.name == name and not one.ended.is_set()]

    def _running(self) -> dict[Name, Running]:
        daemon = self._daemon
        return dict(daemon.resources.unikernels) if daemon else {}
