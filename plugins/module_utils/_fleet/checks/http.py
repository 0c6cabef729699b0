# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The check ``http``: a request is answered as it should be.

Only the standard library, for it also runs in the guard. The whole attempt, redirects included, ends at its
time-out even if the server sends one byte per second, and never reads more than the bounds below.
"""

from __future__ import annotations

import base64
import http.client
import ipaddress
import json
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Optional
from urllib.parse import quote, urljoin, urlsplit

from .. import codec
from ..errors import InvalidDeclaration, MissingLibrary
from .bounded import bounded
from .deadline import Deadline, OutOfTime
from .json_expression import checked_expression, evaluated
from .matching import CannotMatch, found
from .model import CheckSpec, Outcome
from .options import Options, as_flag, as_host, as_integer, as_json, shape
from .protocol import Check, Sighting, Surroundings
from .stream import Stream, TooMuch, Unresolved, blame, connected, said

MAX_HEADER_BYTES = 65536
MAX_BODY_BYTES = 262144
MAX_REDIRECTS = 10
_FRAMING_BYTES = 131072
"""What chunked encoding may add to a body."""
_METHOD = re.compile(r"[A-Z]{1,20}", re.ASCII)
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}", re.ASCII)
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]{0,8192}")
_STATUS = re.compile(r"(?P<class>[1-5])xx|(?P<low>[1-5][0-9]{2})(?:\s*-\s*(?P<high>[1-5][0-9]{2}))?", re.ASCII)
_CHARSET = re.compile(r"us-ascii|utf-(8|16|16le|16be)|iso-8859-([1-9]|1[013-6])|windows-125[0-8]", re.ASCII)
_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})


@dataclass(frozen=True)
class StatusRange:
    low: int
    high: int

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"


@dataclass(frozen=True)
class HttpOptions:
    url: str
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: Optional[str] = None
    """Sent as UTF-8."""
    follow_redirects: int = 0
    """At most so many."""
    status: tuple[StatusRange, ...] = (StatusRange(200, 299),)
    body_regex: Optional[str] = None
    json: Optional[str] = None
    """JMESPath expression over the body."""
    json_compared: bool = False
    """The expression must equal ``json_equals``; otherwise it must be true in JMESPath's sense."""
    json_equals: Any = None
    validate_certs: bool = True
    ca_path: Optional[str] = None
    """PEM file, or folder of hashed ones, on the machine that checks; None: the system's."""
    server_hostname: Optional[str] = None
    """Name in the certificate (and SNI), where it is not the URL's."""
    max_latency_s: Optional[float] = None
    """From the beginning of the attempt to the end of the answer, redirects included."""
    username: Optional[str] = None
    password: Optional[str] = None


@dataclass(frozen=True)
class _Answer:
    status: int
    location: Optional[str]
    body: bytes
    charset: str
    cut: bool
    """The body is longer than what was read of it."""


class _Wrong(Exception):
    """The target does something wrong; the message is the detail."""


class _Silent(_Wrong):
    """The target says nothing at all."""


class _Hindered(Exception):
    """This machine cannot make the check; the message is the detail."""


@dataclass(frozen=True)
class HttpCheck:
    options: HttpOptions

    def attempt(self, timeout_s: float) -> Sighting:
        began = time.monotonic()
        deadline = Deadline.after(timeout_s)
        try:
            answer = self._final_answer(deadline, timeout_s)
            latency_s = time.monotonic() - began
            self._judge(answer, deadline)
        except _Wrong as error:
            detail = self._without_secrets(str(error))
            return Sighting(Outcome.FAIL, detail, silent=isinstance(error, _Silent))
        except OutOfTime:
            return Sighting(Outcome.FAIL, f"matching the body took longer than the {timeout_s:g} s that there are")
        except MissingLibrary as error:
            return Sighting(Outcome.INCONCLUSIVE, str(error), final=True)
        except (_Hindered, CannotMatch) as error:
            return Sighting(Outcome.INCONCLUSIVE, self._without_secrets(str(error)))
        slowest_s = self.options.max_latency_s
        if slowest_s is not None and latency_s > slowest_s:
            return Sighting(
                Outcome.FAIL, f"answered {answer.status} after {latency_s:.3f} s, at most {slowest_s:g} s are allowed"
            )
        return Sighting(Outcome.PASS, f"answered {answer.status}")

    def _final_answer(self, deadline: Deadline, timeout_s: float) -> _Answer:
        request = self.options
        for _unused in range(self.options.follow_redirects + 1):
            answer = _exchange(request, deadline, timeout_s)
            if answer.location is None or not self.options.follow_redirects:
                return answer
            request = _redirected(request, answer)
        raise _Wrong(f"redirected more often than the {self.options.follow_redirects} times that are allowed")

    def _judge(self, answer: _Answer, deadline: Deadline) -> None:
        wanted = self.options.status
        if not any(accepted.low <= answer.status <= accepted.high for accepted in wanted):
            towards = f" (to {_shown(answer.location)})" if answer.location else ""
            raise _Wrong(f"answered {answer.status}{towards}, wanted {', '.join(map(str, wanted))}")
        if self.options.body_regex is not None:
            text = answer.body.decode(answer.charset, "replace")
            if not found([self.options.body_regex], text, deadline)[0]:
                where = f"the first {MAX_BODY_BYTES} bytes of the body" if answer.cut else "the body"
                raise _Wrong(
                    f"answered {answer.status}, but {self.options.body_regex!r} is not in {where}: "
                    f"{bounded(text, 80) or 'it is empty'}"
                )
        if self.options.json is not None:
            self._judge_json(self.options.json, answer)

    def _judge_json(self, expression: str, answer: _Answer) -> None:
        if answer.cut:
            raise _Wrong(f"answered {answer.status} with a body above {MAX_BODY_BYTES} bytes, too long for JSON here")
        try:
            document = json.loads(answer.body)
        except (ValueError, RecursionError):
            raise _Wrong(f"answered {answer.status}, but the body is no JSON") from None
        try:
            value, is_true = evaluated(expression, document)
        except ValueError as error:
            raise _Wrong(f"answered {answer.status}, but {expression!r} does not fit the JSON: {error}") from None
        if self.options.json_compared:
            if not _same_json(value, self.options.json_equals):
                wanted = bounded(json.dumps(self.options.json_equals), 80)
                raise _Wrong(f"{expression!r} is {bounded(json.dumps(value), 80)} in the JSON, not {wanted}")
        elif not is_true:
            raise _Wrong(f"{expression!r} is {bounded(json.dumps(value), 80)} in the JSON, which is not true")

    def _without_secrets(self, detail: str) -> str:
        secrets = [self.options.password, *self.options.headers.values()]
        for secret in secrets:
            if secret and len(secret) >= 4:
                detail = detail.replace(secret, "***")
        return bounded(detail)


def _exchange(request: HttpOptions, deadline: Deadline, timeout_s: float) -> _Answer:
    """One request and its answer."""
    url = urlsplit(request.url)
    host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    step = f"{host} port {port} did not accept a connection"
    wrong: type[_Wrong] = _Silent
    stream: Optional[Stream] = None
    try:
        stream = Stream(connected(host, port, deadline), deadline)
        if url.scheme == "https":
            step = "the TLS handshake did not end"
            stream.secured(_tls_context(request), request.server_hostname or host.partition("%")[0])
            wrong = _Wrong
        step = "the request could not be sent"
        stream.budget = MAX_HEADER_BYTES
        connection = http.client.HTTPConnection(host, port)
        connection.sock = stream
        _send(connection, request)
        step = "no complete answer came"
        response = connection.getresponse()
        wrong = _Wrong
        stream.budget = MAX_BODY_BYTES + _FRAMING_BYTES
        step = f"answered {response.status}, but the body did not end"
        body, cut = _body(response)
        location = response.headers.get("Location") if response.status in (301, 302, 303, 307, 308) else None
        return _Answer(response.status, location, body, _charset(response), cut)
    except OutOfTime:
        raise wrong(f"{step} within {timeout_s:g} s") from None
    except TooMuch:
        raise _Wrong(f"the answer's headers or framing are longer than {MAX_HEADER_BYTES} bytes") from None
    except Unresolved as error:
        raise (_Silent if error.outcome is Outcome.FAIL else _Hindered)(str(error)) from None
    except ssl.SSLCertVerificationError as error:
        raise _Wrong(f"the certificate of {host} is not to be trusted: {error.verify_message}") from None
    except http.client.HTTPException as error:
        raise _Wrong(f"the answer is no sensible HTTP ({type(error).__name__}: {bounded(str(error), 100)})") from None
    except OSError as error:
        if stream is not None:
            wrong = _Wrong  # to end a connection is an answer, too
        raise (wrong if blame(error) is Outcome.FAIL else _Hindered)(
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
        raise _Hindered(f"the CA certificates in {request.ca_path} cannot be read here: {said(error)}") from None
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
                    raise _Wrong(f"answered {response.status}, but the body ended {response.length} bytes too early")
                return body, False
            body += chunk
    except http.client.IncompleteRead:
        raise _Wrong(f"answered {response.status}, but the body ended too early") from None
    return body[:MAX_BODY_BYTES], True


def _charset(response: http.client.HTTPResponse) -> str:
    """Only what decodes anything in linear time: Python knows stranger encodings than that."""
    declared = response.headers.get_content_charset() or "utf-8"
    return declared if _CHARSET.fullmatch(declared) else "utf-8"


def _redirected(request: HttpOptions, answer: _Answer) -> HttpOptions:
    """The next request. Secrets stay with the origin that they were declared for."""
    if not answer.location:
        raise _Wrong(f"answered {answer.status} with an empty Location")
    try:
        url = _checked_url(urljoin(request.url, answer.location))
    except (InvalidDeclaration, ValueError):
        raise _Wrong(f"redirected to {_shown(answer.location)}, which cannot be followed") from None
    here, there = urlsplit(request.url), urlsplit(url)
    if here.scheme == "https" and there.scheme != "https":
        raise _Wrong(f"redirected from https to {_shown(url)}, which is not followed")
    following = replace(request, url=url)
    if answer.status == 303 or (answer.status in (301, 302) and request.method == "POST"):
        following = replace(following, method="HEAD" if request.method == "HEAD" else "GET", body=None)
    if (here.scheme, here.netloc) != (there.scheme, there.netloc):
        kept = {n: v for n, v in request.headers.items() if n.lower() not in _SECRET_HEADERS | {"host"}}
        following = replace(following, headers=kept, username=None, password=None, server_hostname=None)
    return following


def _same_json(one: Any, other: Any) -> bool:
    """Equality of JSON values: 1 is 1.0, but not true."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same_json, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same_json(one[key], other[key]) for key in one)
    return bool(one == other)


def _shown(url: str) -> str:
    """A URL without what may be secret in it."""
    return bounded(url.partition("?")[0].partition("#")[0], 120)


@dataclass(frozen=True)
class HttpKind:
    kind: str = "http"
    node_only: bool = False

    def spelled_out(self, value: Any) -> Any:
        """A bare text is a URL, or a path at the unikernel's address."""
        if isinstance(value, str):
            return {"path": value} if value.startswith("/") else {"url": value}
        return value

    def validated(self, options: Mapping[str, Any], address: Optional[str]) -> dict[str, Any]:
        given = Options(options)
        url = _declared_url(given, address)
        body, headers = _declared_body(given)
        expression = given.text("json")
        compared = "json_equals" in options
        equals = given.taken("json_equals")
        if compared and expression is None:
            raise InvalidDeclaration("json_equals needs json, the expression whose value it is compared with.")
        username, password = given.text("username"), given.text("password")
        if password is not None and username is None:
            raise InvalidDeclaration("password needs username.")
        server_hostname = given.text("server_hostname")
        validated = HttpOptions(
            url=url,
            method=_declared_method(given),
            headers=headers,
            body=body,
            follow_redirects=_declared_redirects(given),
            status=_declared_status(given),
            body_regex=given.pattern("body_regex"),
            json=None if expression is None else checked_expression(expression),
            json_compared=compared,
            json_equals=as_json("json_equals", equals),
            validate_certs=given.flag("validate_certs", True),
            ca_path=given.text("ca_path"),
            server_hostname=None if server_hostname is None else as_host("server_hostname", server_hostname),
            max_latency_s=given.seconds("max_latency_s"),
            username=username,
            password=password,
        )
        given.done()
        return dict(codec.encode(validated))

    def described(self, options: Mapping[str, Any]) -> str:
        method = "" if options["method"] == "GET" else f"{options['method']} "
        return method + _shown(str(options["url"]))

    def require(self, options: Mapping[str, Any]) -> None:
        if options.get("json") is not None:
            checked_expression(str(options["json"]))

    def bind(self, spec: CheckSpec, surroundings: Surroundings) -> Check:
        return HttpCheck(codec.decode(HttpOptions, spec.options))


def _declared_url(given: Options, address: Optional[str]) -> str:
    url = given.text("url")
    scheme, port, path = given.text("scheme"), given.integer("port", 0, 1, 65535), given.text("path")
    if url is None:
        host = given.host("host", address)
        shown_host = f"[{host}]" if ":" in host else host
        slash = "" if (path or "").startswith("/") else "/"
        return _checked_url(f"{scheme or 'http'}://{shown_host}{f':{port}' if port else ''}{slash}{path or ''}")
    if given.taken("host") is not None or scheme or port or path:
        raise InvalidDeclaration("url says it all: scheme, host, port and path cannot be given beside it.")
    return _checked_url(url)


def _checked_url(url: str) -> str:
    """The URL as it is requested: no fragment, everything escaped that has to be. InvalidDeclaration."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise InvalidDeclaration(f"url: {_shown(url)!r} is no URL: {error}.") from None
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidDeclaration(f"url: {_shown(url)!r} is no http or https URL with a host in it.")
    if "@" in parts.netloc:
        raise InvalidDeclaration("url: a user in it would be shown in reports; use username and password.")
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            raise InvalidDeclaration(f"url: {host!r} is no name of a host.") from None
    host = as_host("url", host)
    shown_host = f"[{host}]" if ":" in host else host
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~-._?[]")
    return f"{parts.scheme}://{shown_host}{f':{port}' if port is not None else ''}{path}{f'?{query}' if query else ''}"


def _declared_method(given: Options) -> str:
    method = (given.text("method") or "GET").upper()
    if not _METHOD.fullmatch(method) or method == "CONNECT":
        raise InvalidDeclaration(f"method: {method!r} is no HTTP method that a check can use.")
    return method


def _declared_body(given: Options) -> tuple[Optional[str], dict[str, str]]:
    """The body and the headers. A body of data is sent as JSON."""
    headers = _declared_headers(given.taken("headers"))
    value = given.taken("body")
    if value is None:
        return None, headers
    if isinstance(value, str):
        return "".join(value), headers
    if not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = "application/json"
    return json.dumps(as_json("body", value)), headers


def _declared_headers(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidDeclaration(f"headers: a mapping is needed, not {shape(value)}.")
    headers = {str(name): "".join(str(content)) for name, content in value.items()}
    for name, content in headers.items():
        if not _HEADER_NAME.fullmatch(name) or name.lower() in ("connection", "content-length", "transfer-encoding"):
            raise InvalidDeclaration(f"headers: {name!r} cannot be set.")
        if not _HEADER_VALUE.fullmatch(content):
            raise InvalidDeclaration(f"headers: the value of {name!r} has characters that no header may have.")
    return headers


def _declared_redirects(given: Options) -> int:
    """How many: a number, or true for the usual five."""
    value = given.taken("follow_redirects")
    if value is None or isinstance(value, bool) or str(value).lower() in ("true", "false", "yes", "no"):
        return 5 if as_flag("follow_redirects", value, False) else 0
    return as_integer("follow_redirects", value, 0, MAX_REDIRECTS)


def _declared_status(given: Options) -> tuple[StatusRange, ...]:
    texts = given.texts("status")
    if texts is None:
        return (StatusRange(200, 299),)
    ranges = []
    for text in texts:
        match = _STATUS.fullmatch(text.strip().lower())
        if not match:
            raise InvalidDeclaration(f"status: {text!r} is neither a status like 200, nor 2xx, nor 200-204.")
        if match["class"]:
            ranges.append(StatusRange(int(match["class"]) * 100, int(match["class"]) * 100 + 99))
        else:
            ranges.append(StatusRange(int(match["low"]), int(match["high"] or match["low"])))
    if not ranges or any(accepted.low > accepted.high for accepted in ranges):
        raise InvalidDeclaration("status: no status would ever be accepted.")
    return tuple(ranges)
