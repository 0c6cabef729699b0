# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One HTTP request and its answer, within a deadline and bounds, and where a redirect leads to.

Only the standard library, for it also runs in the guard. The whole of it ends at the deadline even if the server
sends one byte per second, and never reads more than the bounds below.
"""

from __future__ import annotations

import base64
import http.client
import re
import ssl
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional
from urllib.parse import urljoin, urlsplit

from ..errors import InvalidDeclaration
from .bounded import bounded
from .deadline import Deadline, OutOfTime
from .http_options import HttpOptions, checked_url, shown_url
from .model import Outcome
from .stream import Stream, TooMuch, Unresolved, blame, connected, said

MAX_HEADER_BYTES = 65536
MAX_BODY_BYTES = 262144
_FRAMING_BYTES = 131072
"""What chunked encoding may add to a body."""
_CHARSET = re.compile(r"us-ascii|utf-(8|16|16le|16be)|iso-8859-([1-9]|1[013-6])|windows-125[0-8]", re.ASCII)
_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})


@dataclass(frozen=True)
class Answer:
    status: int
    location: Optional[str]
    body: bytes
    charset: str
    cut: bool
    """The body is longer than what was read of it."""


class Wrong(Exception):
    """The target does something wrong; the message is the detail."""


class Silent(Wrong):
    """The target says nothing at all."""


class Hindered(Exception):
    """This machine cannot make the check; the message is the detail."""


def exchange(request: HttpOptions, deadline: Deadline, timeout_s: float) -> Answer:
    """One request and its answer."""
    url = urlsplit(request.url)
    host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    step = f"{host} port {port} did not accept a connection"
    wrong: type[Wrong] = Silent
    stream: Optional[Stream] = None
    try:
        stream = Stream(connected(host, port, deadline), deadline)
        if url.scheme == "https":
            step = "the TLS handshake did not end"
            stream.secured(_tls_context(request), request.server_hostname or host.partition("%")[0])
            wrong = Wrong
        step = "the request could not be sent"
        stream.budget = MAX_HEADER_BYTES
        connection = http.client.HTTPConnection(host, port)
        connection.sock = stream
        _send(connection, request)
        step = "no complete answer came"
        response = connection.getresponse()
        wrong = Wrong
        stream.budget = MAX_BODY_BYTES + _FRAMING_BYTES
        step = f"answered {response.status}, but the body did not end"
        body, cut = _body(response)
        location = response.headers.get("Location") if response.status in (301, 302, 303, 307, 308) else None
        return Answer(response.status, location, body, _charset(response), cut)
    except OutOfTime:
        raise wrong(f"{step} within {timeout_s:g} s") from None
    except TooMuch:
        raise Wrong(f"the answer's headers or framing are longer than {MAX_HEADER_BYTES} bytes") from None
    except Unresolved as error:
        raise (Silent if error.outcome is Outcome.FAIL else Hindered)(str(error)) from None
    except ssl.SSLCertVerificationError as error:
        raise Wrong(f"the certificate of {host} is not to be trusted: {error.verify_message}") from None
    except http.client.HTTPException as error:
        raise Wrong(f"the answer is no sensible HTTP ({type(error).__name__}: {bounded(str(error), 100)})") from None
    except OSError as error:
        if stream is not None:
            wrong = Wrong  # to end a connection is an answer, too
        raise (wrong if blame(error) is Outcome.FAIL else Hindered)(
            f"no answer from {host} port {port}: {said(error)}"
        ) from None
    finally:
        if stream is not None:
            stream.disconnect()


def _tls_context(request: HttpOptions) -> ssl.SSLContext:
    try:
        if request.ca_path is None:
            context = ssl.create_default_context()
        elif Path(request.ca_path).is_dir():
            context = ssl.create_default_context(capath=request.ca_path)
        else:
            context = ssl.create_default_context(cafile=request.ca_path)
    except OSError as error:
        raise Hindered(f"the CA certificates in {request.ca_path} cannot be read here: {said(error)}") from None
    if not request.validate_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _send(connection: http.client.HTTPConnection, request: HttpOptions) -> None:
    url = urlsplit(request.url)
    body = None if request.body is None else request.body.encode("utf-8")
    headers = {"Host": url.netloc, "User-Agent": "unikernel.fleet", "Accept": "*/*", "Accept-Encoding": "identity"}
    if body is not None or request.method in ("POST", "PUT", "PATCH"):
        headers["Content-Length"] = str(len(body or b""))
    if request.username is not None:
        pair = f"{request.username}:{request.password or ''}".encode()
        headers["Authorization"] = "Basic " + base64.b64encode(pair).decode("ascii")
    chosen = {name.lower() for name in request.headers}
    headers = {name: value for name, value in headers.items() if name.lower() not in chosen}
    headers.update(request.headers)
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    connection.putrequest(request.method, target, skip_host=True, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value.encode("latin-1"))
    connection.putheader("Connection", "close")
    connection.endheaders(body)


def _body(response: http.client.HTTPResponse) -> tuple[bytes, bool]:
    """The body, and whether there is more of it than was read."""
    body = b""
    try:
        while len(body) <= MAX_BODY_BYTES:
            chunk = response.read(min(16384, MAX_BODY_BYTES + 1 - len(body)))
            if not chunk:
                if response.length:
                    raise Wrong(f"answered {response.status}, but the body ended {response.length} bytes too early")
                return body, False
            body += chunk
    except http.client.IncompleteRead:
        raise Wrong(f"answered {response.status}, but the body ended too early") from None
    return body[:MAX_BODY_BYTES], True


def _charset(response: http.client.HTTPResponse) -> str:
    """Only what decodes anything in linear time: Python knows stranger encodings than that."""
    declared = response.headers.get_content_charset() or "utf-8"
    return declared if _CHARSET.fullmatch(declared) else "utf-8"


def redirected(request: HttpOptions, answer: Answer) -> HttpOptions:
    """The next request. Secrets stay with the origin that they were declared for."""
    if not answer.location:
        raise Wrong(f"answered {answer.status} with an empty Location")
    try:
        url = checked_url(urljoin(request.url, answer.location))
    except (InvalidDeclaration, ValueError):
        raise Wrong(f"redirected to {shown_url(answer.location)}, which cannot be followed") from None
    here, there = urlsplit(request.url), urlsplit(url)
    if here.scheme == "https" and there.scheme != "https":
        raise Wrong(f"redirected from https to {shown_url(url)}, which is not followed")
    following = replace(request, url=url)
    if answer.status == 303 or (answer.status in (301, 302) and request.method == "POST"):
        following = replace(following, method="HEAD" if request.method == "HEAD" else "GET", body=None)
    if (here.scheme, here.netloc) != (there.scheme, there.netloc):
        kept = {n: v for n, v in request.headers.items() if n.lower() not in _SECRET_HEADERS | {"host"}}
        following = replace(following, headers=kept, username=None, password=None, server_hostname=None)
    return following
