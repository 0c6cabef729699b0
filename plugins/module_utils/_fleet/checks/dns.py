# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The check ``dns``: a server answers a question as it should. Needs dnspython 2.0 or newer where it looks from."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from .. import codec
from ..errors import InvalidDeclaration, MissingLibrary
from .bounded import bounded
from .deadline import Deadline, OutOfTime
from .model import CheckSpec, Outcome
from .options import Options
from .protocol import Check, Sighting, Surroundings
from .stream import Unresolved, blame, resolved, said

TRANSPORTS = ("auto", "udp", "tcp")
_LONGEST_CHAIN = 16
"""Of aliases (CNAME) that are followed within one answer."""


@dataclass(frozen=True)
class DnsOptions:
    server: str
    name: str
    """Absolute, in its text form."""
    type: str = "A"
    port: int = 53
    answers: Optional[tuple[str, ...]] = None
    """Exactly these in any order, in their normal text form. None: at least one, whatever it is."""
    rcode: str = "NOERROR"
    transport: str = "auto"
    """``udp``, ``tcp``, or ``auto``: over UDP, and over TCP when that answer was truncated."""


_RETRANSMIT_S = 1.0


@dataclass(frozen=True)
class DnsCheck:
    options: DnsOptions

    def attempt(self, timeout_s: float) -> Sighting:
        where = f"{self.options.server} port {self.options.port}"
        deadline = Deadline.after(timeout_s)
        try:
            _require_library()
            import dns.exception
            import dns.message
            import dns.rcode
        except MissingLibrary as error:
            return Sighting(Outcome.INCONCLUSIVE, str(error), final=True)
        try:
            response = self._asked(str(resolved(self.options.server, self.options.port, deadline)[0][4][0]), deadline)
        except (OutOfTime, dns.exception.Timeout):
            return Sighting(Outcome.FAIL, f"no answer from {where} within {timeout_s:g} s", silent=True)
        except Unresolved as error:
            return Sighting(error.outcome, str(error), silent=True)
        except dns.message.Truncated:
            return Sighting(Outcome.FAIL, f"{where} truncated its answer, and only UDP is allowed")
        except (dns.exception.DNSException, EOFError, ValueError) as error:
            return Sighting(Outcome.FAIL, f"what {where} sent is no answer to the question: {_in_words(error)}")
        except OSError as error:
            return Sighting(blame(error), f"no answer from {where}: {said(error)}", silent=True)
        rcode = dns.rcode.to_text(response.rcode())
        if rcode != self.options.rcode:
            return Sighting(Outcome.FAIL, f"answered {rcode}, wanted {self.options.rcode}")
        return self._judged(_answers(response, self.options))

    def _asked(self, address: str, deadline: Deadline) -> Any:
        import dns.message
        import dns.query

        question = dns.message.make_query(self.options.name, self.options.type)
        port = self.options.port
        if self.options.transport != "tcp":
            try:
                return self._asked_over_udp(question, address, deadline)
            except dns.message.Truncated:
                if self.options.transport == "udp":
                    raise
        return dns.query.tcp(question, address, deadline.left_s(), port)

    def _asked_over_udp(self, question: Any, address: str, deadline: Deadline) -> Any:
        """Ask as a resolver does: again after a second without an answer, for a datagram may be lost."""
        import dns.exception
        import dns.query

        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as connection:
            # Connected, so that a port on which nobody listens is refused at once instead of after the time limit.
            connection.connect((address, self.options.port))
            connection.setblocking(False)
            while True:
                left_s = deadline.left_s()
                try:
                    return dns.query.udp(
                        question,
                        address,
                        min(left_s, _RETRANSMIT_S),
                        self.options.port,
                        ignore_unexpected=True,
                        raise_on_truncation=True,
                        sock=connection,
                    )
                except dns.exception.Timeout:
                    if left_s <= _RETRANSMIT_S:
                        raise

    def _judged(self, came: tuple[str, ...]) -> Sighting:
        question = f"{self.options.name} {self.options.type}"
        shown = bounded(", ".join(came), 160) if came else "nothing"
        wanted = self.options.answers
        if wanted is None:
            if not came and self.options.rcode == "NOERROR":
                return Sighting(Outcome.FAIL, f"answered {question} with nothing")
            return Sighting(Outcome.PASS, f"answered {question} with {shown}")
        if set(came) != set(wanted):
            return Sighting(
                Outcome.FAIL,
                f"answered {question} with {shown}, wanted {bounded(', '.join(wanted), 160) if wanted else 'nothing'}",
            )
        return Sighting(Outcome.PASS, f"answered {question} with {shown}")


def _require_library() -> None:
    try:
        import dns.query
    except ImportError:
        raise MissingLibrary("dnspython", "checks of DNS servers") from None
    if not hasattr(dns.query, "BadResponse"):
        raise MissingLibrary("dnspython", "checks of DNS servers")


def _in_words(error: Exception) -> str:
    return bounded(str(error) or type(error).__name__, 120)


def _answers(response: Any, options: DnsOptions) -> tuple[str, ...]:
    """The records that were asked for, at the end of the aliases that the answer itself holds."""
    import dns.name
    import dns.rdataclass
    import dns.rdatatype

    name = dns.name.from_text(options.name)
    wanted = dns.rdatatype.from_text(options.type)
    for _unused in range(_LONGEST_CHAIN):
        records = response.get_rrset(response.answer, name, dns.rdataclass.IN, wanted)
        if records is not None:
            return tuple(sorted(_normal(record) for record in records))
        alias = response.get_rrset(response.answer, name, dns.rdataclass.IN, dns.rdatatype.CNAME)
        if alias is None:
            break
        name = alias[0].target
    return ()


def _normal(record: Any) -> str:
    """The text of a record as servers that agree on it agree: names absolute and in lower case."""
    import dns.rdata
    import dns.rdataclass

    canonical = record.to_digestable()
    return str(dns.rdata.from_wire(dns.rdataclass.IN, record.rdtype, canonical, 0, len(canonical)).to_text())


def _declared_answer(text: str, rdtype: Any) -> str:
    import dns.exception
    import dns.name
    import dns.rdata
    import dns.rdataclass
    import dns.rdatatype

    if rdtype in (dns.rdatatype.TXT, dns.rdatatype.SPF) and not text.lstrip().startswith('"'):
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        text = f'"{escaped}"'
    try:
        return _normal(dns.rdata.from_text(dns.rdataclass.IN, rdtype, text, dns.name.root, relativize=False))
    except (dns.exception.DNSException, ValueError) as error:
        kind = dns.rdatatype.to_text(rdtype)
        raise InvalidDeclaration(f"answers: {text!r} is no {kind} record: {_in_words(error)}.") from None


@dataclass(frozen=True)
class DnsKind:
    kind: str = "dns"
    node_only: bool = False

    def spelled_out(self, value: Any) -> Any:
        """A bare text is the name that is asked for."""
        return {"name": value} if isinstance(value, str) else value

    def validated(self, options: Mapping[str, Any], address: Optional[str]) -> dict[str, Any]:
        _require_library()
        import dns.exception
        import dns.name
        import dns.rcode
        import dns.rdatatype

        given = Options(options)
        transport = (given.text("transport") or "auto").lower()
        if transport not in TRANSPORTS:
            raise InvalidDeclaration(f"transport: {transport!r} is none of {', '.join(TRANSPORTS)}.")
        name, kind, rcode = given.required_text("name"), given.text("type") or "A", given.text("rcode") or "NOERROR"
        try:
            absolute = dns.name.from_text(name).to_text()
        except (dns.exception.DNSException, UnicodeError) as error:
            raise InvalidDeclaration(f"name: {name!r} is no name in DNS: {_in_words(error)}.") from None
        try:
            rdtype, code = dns.rdatatype.from_text(kind), dns.rcode.from_text(rcode)
        except (dns.exception.DNSException, ValueError):
            raise InvalidDeclaration(f"type or rcode: {kind!r} and {rcode!r} are not both known.") from None
        if dns.rdatatype.is_metatype(rdtype):
            raise InvalidDeclaration(f"type: {kind!r} is no type of records that a check can compare.")
        answers = given.texts("answers")
        validated = DnsOptions(
            server=given.host("server", address),
            name=absolute,
            type=dns.rdatatype.to_text(rdtype),
            port=given.integer("port", 53, 1, 65535),
            answers=None if answers is None else tuple(sorted({_declared_answer(text, rdtype) for text in answers})),
            rcode=dns.rcode.to_text(code),
            transport=transport,
        )
        given.done()
        return dict(codec.encode(validated))

    def described(self, options: Mapping[str, Any]) -> str:
        return f"{options['name']} {options['type']} at {options['server']}"

    def require(self, options: Mapping[str, Any]) -> None:
        _require_library()

    def bind(self, spec: CheckSpec, surroundings: Surroundings) -> Check:
        return DnsCheck(codec.decode(DnsOptions, spec.options))
