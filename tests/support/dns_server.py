# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real DNS server on loopback, over UDP and TCP at one port, that does what a test tells it.

A behaviour is a function from a query's bytes and its transport (``udp`` or ``tcp``) to the packets that are sent::

    with DnsServer(zone({"example.org. A": ["192.0.2.1"]})) as server:
        ... server.host, server.port ...
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Optional

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from .accepting import accept_each

Behaviour = Callable[[bytes, str], Sequence[bytes]]


class DnsServer:
    """Answers from its construction on; ``queries`` are (transport, name, type)."""

    def __init__(self, behaviour: Behaviour, *, ipv6: bool = False) -> None:
        self.behaviour = behaviour
        self.queries: list[tuple[str, str, str]] = []
        self.host = "::1" if ipv6 else "127.0.0.1"
        self._udp, self._tcp = _one_port(self.host, socket.AF_INET6 if ipv6 else socket.AF_INET)
        self.port: int = self._udp.getsockname()[1]
        self._stopping = threading.Event()
        accepting = (self._tcp, self._stopping, self._serve_tcp)
        self._threads = [
            threading.Thread(target=self._serve_udp, name="DNS over UDP", daemon=True),
            threading.Thread(target=accept_each, args=accepting, name="DNS over TCP", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        with suppress(OSError):
            self._tcp.shutdown(socket.SHUT_RDWR)
        with suppress(OSError), socket.socket(self._udp.family, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", (self.host, self.port))
        for thread in self._threads:
            thread.join(5)
        self._udp.close()
        self._tcp.close()

    def __enter__(self) -> DnsServer:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.stop()

    def _serve_udp(self) -> None:
        while True:
            query, sender = self._udp.recvfrom(65535)
            if self._stopping.is_set():
                return
            for packet in self._packets(query, "udp"):
                with suppress(OSError):
                    self._udp.sendto(packet, sender)

    def _serve_tcp(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(10)
            stream = connection.makefile("rb")
            header = stream.read(2)
            if len(header) == 2:
                for packet in self._packets(stream.read(struct.unpack("!H", header)[0]), "tcp"):
                    connection.sendall(struct.pack("!H", len(packet)) + packet)

    def _packets(self, query: bytes, transport: str) -> Sequence[bytes]:
        question = dns.message.from_wire(query).question[0]
        self.queries.append((transport, question.name.to_text(), dns.rdatatype.to_text(question.rdtype)))
        return self.behaviour(query, transport)


def _one_port(host: str, family: socket.AddressFamily) -> tuple[socket.socket, socket.socket]:
    """Both transports at one port; another one is tried where the second transport has it in use."""
    for _unused in range(50):
        udp = socket.socket(family, socket.SOCK_DGRAM)
        udp.bind((host, 0))
        try:
            return udp, socket.create_server((host, udp.getsockname()[1]), family=family)
        except OSError:
            udp.close()
    raise OSError(f"no port of {host} is free for both UDP and TCP")


# --- behaviours -------------------------------------------------------------------------------


def zone(records: Mapping[str, Sequence[str]]) -> Behaviour:
    """Answers ``{"name. TYPE": [texts]}``, aliases followed; NXDOMAIN for the names that are not there."""
    known = {tuple(key.split()): texts for key, texts in records.items()}
    names = {name.lower() for name, _unused in known}

    def behaviour(query: bytes, transport: str) -> Sequence[bytes]:
        message = dns.message.from_wire(query)
        response = dns.message.make_response(message)
        name, kind = message.question[0].name, dns.rdatatype.to_text(message.question[0].rdtype)
        if name.to_text().lower() not in names:
            response.set_rcode(dns.rcode.NXDOMAIN)
        while True:
            key = name.to_text().lower()
            if (key, kind) in known:
                response.answer.append(dns.rrset.from_text(name, 60, "IN", kind, *known[key, kind]))
            elif (key, "CNAME") in known:
                alias = dns.rrset.from_text(name, 60, "IN", "CNAME", *known[key, "CNAME"])
                response.answer.append(alias)
                name = alias[0].target
                continue
            return [response.to_wire(max_size=65535)]

    return behaviour


def over_tcp_only(behaviour: Behaviour) -> Behaviour:
    """Silent over UDP."""
    return lambda query, transport: behaviour(query, transport) if transport == "tcp" else []


def over_udp_only(behaviour: Behaviour) -> Behaviour:
    """Silent over TCP: the connection is closed."""
    return lambda query, transport: behaviour(query, transport) if transport == "udp" else []


def truncates_over_udp(behaviour: Behaviour) -> Behaviour:
    """Says over UDP that there is more to be had over TCP."""

    def truncating(query: bytes, transport: str) -> Sequence[bytes]:
        if transport == "tcp":
            return behaviour(query, transport)
        response = dns.message.make_response(dns.message.from_wire(query))
        response.flags |= dns.flags.TC
        return [response.to_wire()]

    return truncating


def stays_silent() -> Behaviour:
    """Takes every question and answers none."""
    return lambda query, transport: []


def sends(*packets: bytes) -> Behaviour:
    """The same bytes for every question."""
    return lambda query, transport: packets


def with_another_id(behaviour: Behaviour) -> Behaviour:
    """Right answers to questions that nobody asked."""

    def mistaken(query: bytes, transport: str) -> Sequence[bytes]:
        return [bytes([packet[0] ^ 0xFF]) + packet[1:] for packet in behaviour(query, transport)]

    return mistaken


def refuses(rcode: str = "REFUSED") -> Behaviour:
    """An answer with nothing but a response code."""

    def refusing(query: bytes, transport: str) -> Sequence[bytes]:
        response = dns.message.make_response(dns.message.from_wire(query))
        response.set_rcode(dns.rcode.from_text(rcode))
        return [response.to_wire()]

    return refusing
