# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a check ``http`` is declared with: the options, and how they are read from a declaration."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional
from urllib.parse import quote, urlsplit

from ..errors import InvalidDeclaration
from .bounded import bounded
from .json_expression import checked_expression
from .options import Options, as_flag, as_host, as_integer, as_json, shape

MAX_REDIRECTS = 10
_METHOD = re.compile(r"[A-Z]{1,20}", re.ASCII)
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}", re.ASCII)
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]{0,8192}")
_STATUS = re.compile(r"(?P<class>[1-5])xx|(?P<low>[1-5][0-9]{2})(?:\s*-\s*(?P<high>[1-5][0-9]{2}))?", re.ASCII)


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


def declared(options: Mapping[str, Any], address: Optional[str]) -> HttpOptions:
    """From what was declared; ``address`` is the unikernel's. InvalidDeclaration."""
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
    return validated


def _declared_url(given: Options, address: Optional[str]) -> str:
    url = given.text("url")
    scheme, port, path = given.text("scheme"), given.integer("port", 0, 1, 65535), given.text("path")
    if url is None:
        host = given.host("host", address)
        shown_host = f"[{host}]" if ":" in host else host
        slash = "" if (path or "").startswith("/") else "/"
        return checked_url(f"{scheme or 'http'}://{shown_host}{f':{port}' if port else ''}{slash}{path or ''}")
    if given.taken("host") is not None or scheme or port or path:
        raise InvalidDeclaration("url says it all: scheme, host, port and path cannot be given beside it.")
    return checked_url(url)


def checked_url(url: str) -> str:
    """The URL as it is requested: no fragment, everything escaped that has to be. InvalidDeclaration."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise InvalidDeclaration(f"url: {shown_url(url)!r} is no URL: {error}.") from None
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidDeclaration(f"url: {shown_url(url)!r} is no http or https URL with a host in it.")
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


def shown_url(url: str) -> str:
    """A URL without what may be secret in it."""
    return bounded(url.partition("?")[0].partition("#")[0], 120)
