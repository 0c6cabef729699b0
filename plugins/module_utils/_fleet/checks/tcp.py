# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The check ``tcp``: something accepts connections at a port, and says what it should."""

from __future__ import annotations

import select
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from .. import codec
from ..errors import InvalidDeclaration
from .bounded import bounded
from .deadline import Deadline, OutOfTime
from .matching import CannotMatch, found
from .model import CheckSpec, Outcome
from .options import Options
from .protocol import Check, Sighting, Surroundings
from .stream import Stream, Unresolved, blame, connected, said

MAX_BYTES = 4096
"""What is looked at of what the other side says."""
_PAUSE_S = 0.02
"""A pause in what arrives: time to look whether it is enough already."""


@dataclass(frozen=True)
class TcpOptions:
    host: str
    port: int
    send: Optional[str] = None
    """Sent as UTF-8 once the connection stands."""
    expect: Optional[str] = None
    """Regular expression to be found in the first bytes of the answer, which are read as Latin-1."""


@dataclass(frozen=True)
class TcpCheck:
    options: TcpOptions

    def attempt(self, timeout_s: float) -> Sighting:
        where = f"{self.options.host} port {self.options.port}"
        deadline = Deadline.after(timeout_s)
        try:
            stream = Stream(connected(self.options.host, self.options.port, deadline), deadline)
        except OutOfTime:
            return Sighting(Outcome.FAIL, f"{where} did not accept a connection within {timeout_s:g} s", silent=True)
        except Unresolved as error:
            return Sighting(error.outcome, str(error), silent=True)
        except OSError as error:
            return Sighting(blame(error), f"no connection to {where}: {said(error)}", silent=True)
        try:
            return self._conversation(stream, where, deadline)
        except CannotMatch as error:
            return Sighting(Outcome.INCONCLUSIVE, str(error))
        except OSError as error:
            return Sighting(Outcome.FAIL, f"the connection to {where} broke: {said(error)}")
        finally:
            stream.disconnect()

    def _conversation(self, stream: Stream, where: str, deadline: Deadline) -> Sighting:
        received, silent = b"", False
        try:
            if self.options.send is not None:
                stream.sendall(self.options.send.encode("utf-8"))
            if self.options.expect is None:
                return Sighting(Outcome.PASS, f"{where} accepts connections")
            stream.budget = MAX_BYTES
            while True:
                chunk = stream.receive(MAX_BYTES) if stream.budget else b""
                received += chunk
                if chunk and select.select([stream], [], [], _PAUSE_S)[0]:
                    continue
                if found([self.options.expect], received.decode("latin-1"), deadline)[0]:
                    return Sighting(Outcome.PASS, f"{where} said what was expected")
                if not chunk:
                    break
        except OutOfTime:
            silent = not received
        heard = bounded(repr(received.decode("latin-1")), 100) if received else "nothing"
        detail = f"{where} said {heard}, where {self.options.expect!r} was expected"
        return Sighting(Outcome.FAIL, detail, silent=silent)


@dataclass(frozen=True)
class TcpKind:
    kind: str = "tcp"
    node_only: bool = False

    def spelled_out(self, value: Any) -> Any:
        """A bare number is a port of the unikernel's address."""
        return {"port": value} if isinstance(value, (int, str)) and not isinstance(value, bool) else value

    def validated(self, options: Mapping[str, Any], address: Optional[str]) -> dict[str, Any]:
        given = Options(options)
        host = given.host("host", address)
        port = given.integer("port", 0, 1, 65535)
        validated = TcpOptions(host, port, given.text("send"), given.pattern("expect"))
        given.done()
        if not port:
            raise InvalidDeclaration("port is missing.")
        return dict(codec.encode(validated))

    def described(self, options: Mapping[str, Any]) -> str:
        return f"{options['host']} port {options['port']}"

    def require(self, options: Mapping[str, Any]) -> None:
        """Nothing but the standard library."""

    def bind(self, spec: CheckSpec, surroundings: Surroundings) -> Check:
        return TcpCheck(codec.decode(TcpOptions, spec.options))
