# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a unikernel's albatross is, and what it is called there: its place, which is no part of any release.

A release says what runs; a place says whom to ask for it. A new certificate or port changes nothing that runs, and a
rollback must not bring back an address that is gone. So a place lies beside the releases, one of each unikernel, and is
as it was last declared: that is how the guard finds it, which is told nothing but a name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from .. import codec
from ..albatross.names import Name
from ..albatross.records import Generation
from ..durable import make_folder, write_durably
from ..errors import DriverError, InvalidDeclaration
from ..layout import NodeLayout
from ..runtime.ports import BRIDGE_PATTERN

# What talks to albatross is imported when it is talked to: every node reads its places, and few have any.
if TYPE_CHECKING:
    from ..albatross.client import Client
    from ..albatross.conversation import Transport

SOCKETS = "/run/albatross/util"
"""Where it has its Unix sockets, on Linux."""
PORT = 1025
LONGEST_TIMEOUT_S = 600.0
CONNECT_S = 5.0


@dataclass(frozen=True)
class Place:
    """An albatross, and a path in it."""

    path: str = ""
    """Labels with colons between them; empty: the root path."""
    sockets: Optional[str] = None
    """Folder of its Unix sockets; None and no address: albatross' own."""
    address: Optional[str] = None
    """Of its TLS endpoint, which is asked instead."""
    port: int = PORT
    certificates: Optional[str] = None
    """File of the CA in whose name is asked, and those above it."""
    key: Optional[str] = None
    """File of that CA's private key."""
    server_ca: Optional[str] = None
    """File of the CA whose certificates the server may show."""
    server_certificate: Optional[str] = None
    """File of the only one that it may show."""
    generation: Generation = Generation.V2_7
    timeout_s: float = 30.0
    """For an answer, from the end of the request: albatross itself may never give one."""
    quarantine_bridge: Optional[str] = None
    """A bridge with nothing on it, that albatross knows, for rehearsals."""

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self.path.split(":")) if self.path else ()

    def name(self, label: Optional[str]) -> Name:
        """The full name of one of its unikernels, or with None of its path."""
        return Name(self.labels, label)

    @property
    def server(self) -> str:
        """What is asked, for comparisons and for people."""
        if self.address is not None:
            return f"{self.address} port {self.port}"
        return self.sockets or SOCKETS

    def __str__(self) -> str:
        return f"the path {self.name(None)} of albatross ({self.server})"

    def transport(self) -> Transport:
        if self.address is None:
            from ..albatross.unix_sockets import UnixSockets

            return UnixSockets(Path(self.sockets or SOCKETS))
        if self.certificates is None or self.key is None or self.server_ca is None:
            raise InvalidDeclaration(_INCOMPLETE)
        from ..albatross.tls import Tls

        return Tls(
            address=self.address,
            server_ca=Path(self.server_ca),
            certificates=Path(self.certificates),
            key=Path(self.key),
            port=self.port,
            server_certificate=Path(self.server_certificate) if self.server_certificate is not None else None,
        )

    def client(self) -> Client:
        from ..albatross.client import Client
        from ..albatross.conversation import Patience

        patience = Patience(connect_s=CONNECT_S, answer_s=self.timeout_s)
        return Client(self.transport(), self.generation, patience)


_INCOMPLETE = (
    "albatross: an address needs certificates, key and server_ca as well, the files with which its TLS endpoint is "
    "asked. Nothing was changed."
)


def place_from(given: Mapping[str, Any]) -> Place:
    """A place from what was declared of it; InvalidDeclaration for one that cannot be."""
    try:
        place = codec.decode(Place, {key: value for key, value in given.items() if value is not None})
    except codec.Mismatch as mismatch:
        raise InvalidDeclaration(f"albatross does not fit: {mismatch}. Nothing was changed.") from None
    place.name(None)
    of_tls = (place.certificates, place.key, place.server_ca)
    if place.address is None and any(file is not None for file in (*of_tls, place.server_certificate)):
        raise InvalidDeclaration("albatross: certificates are for its TLS endpoint, and no address of one is given.")
    if place.address is not None and place.sockets is not None:
        raise InvalidDeclaration("albatross: sockets and address are two ways to it; give one of them.")
    if place.address is not None and any(file is None for file in of_tls):
        raise InvalidDeclaration(_INCOMPLETE)
    for file in (*of_tls, place.server_certificate, place.sockets):
        # The guard works in "/" and a module somewhere else.
        if file is not None and not os.path.isabs(file):
            raise InvalidDeclaration(f"albatross: {file!r} has to be an absolute path. Nothing was changed.")
    if place.quarantine_bridge is not None and not BRIDGE_PATTERN.fullmatch(place.quarantine_bridge):
        raise InvalidDeclaration(
            f"albatross: quarantine_bridge is {place.quarantine_bridge!r:.40}, which is no name of a bridge. Nothing "
            "was changed."
        )
    if not 0 < place.port < 65536:
        raise InvalidDeclaration(f"albatross: there is no port {place.port}.")
    if not 0 < place.timeout_s <= LONGEST_TIMEOUT_S:
        raise InvalidDeclaration(
            f"albatross: timeout is {place.timeout_s:g} s; more than 0 and at most {LONGEST_TIMEOUT_S:g} are possible."
        )
    if place.generation is not Generation.V2_5:
        return replace(place, path=place.path.lower())  # as the server has it, in policies and listings
    return place


@dataclass
class Overview:
    """What runs at each place, asked once for all that is looked at: for one report, which changes nothing."""

    _clients: dict[Place, Client] = field(default_factory=dict)

    def client(self, place: Place) -> Client:
        if place not in self._clients:
            from .albatross_overview import OnceAsked

            plain = place.client()
            self._clients[place] = OnceAsked(plain.transport, plain.generation, plain.patience)
        return self._clients[place]


@dataclass(frozen=True)
class Places:
    """The place of each unikernel of a node: as it is declared now, or as it was last written down."""

    layout: NodeLayout
    declared: Mapping[str, Place] = field(default_factory=dict)
    overview: Optional[Overview] = None
    """For who only reports. None: each look is a question."""

    def client(self, place: Place) -> Client:
        """Who is asked what runs there."""
        return place.client() if self.overview is None else self.overview.client(place)

    def of(self, name: str) -> Optional[Place]:
        """None: nothing is known of an albatross that would run it. DriverError when what is written is unreadable."""
        return self.declared[name] if name in self.declared else self.written(name)

    def written(self, name: str) -> Optional[Place]:
        path = self.layout.albatross(name)
        try:
            return codec.decode(Place, json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise DriverError(
                f"{name}: where its albatross is cannot be read from {path}: {error}. Nothing was changed. Declare it "
                "again (albatross), after removing that file."
            ) from error

    def write(self, name: str) -> None:
        """Write down what is declared, if it is news."""
        place = self.declared.get(name)
        path = self.layout.albatross(name)
        if place is None or (path.exists() and self.written(name) == place):
            return
        try:
            make_folder(path.parent)
            write_durably(path, json.dumps(codec.encode(place)).encode("ascii"))
        except OSError as error:
            raise DriverError(
                f"{name}: where its albatross is cannot be written to {path}: {error}. Nothing was stopped or started."
            ) from error
