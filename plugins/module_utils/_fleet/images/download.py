# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fetching an image over http(s) from a server that is not trusted: neither for its lengths nor for its pace.

What real servers do shapes this (builder-web above all): it closes every connection after one answer, sends
``transfer-encoding: chunked`` *and* ``content-length``, and with its default settings on two CPUs answers every second
request with 500. So there is one connection per request, and connection errors and 5xx are tried again.
"""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Optional, Union
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from ..errors import ImageError
from ..model import Image
from .verification import CHUNK

_MOST_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0
_PROXY_FAILED = (403, 407, 502, 503, 504)
_PORTS = {"http": 80, "https": 443}
_PLAIN = "/%:@!$&'()*+,;=~"
"""Left as they are in a path."""
_TRANSPORT_ERRORS = (OSError, http.client.HTTPException)
"""``ssl.SSLError`` and time-outs are OSErrors; HTTPException is a connection closed early or no HTTP at all."""

Connection = Union[http.client.HTTPConnection, http.client.HTTPSConnection]


class Unreachable(ImageError):
    """No complete answer came by this way: another machine may have more luck."""


class _Again(Exception):
    """This attempt failed in a way that may pass; ``error`` is what to say if it does not."""

    def __init__(self, error: ImageError, connected: bool = True) -> None:
        super().__init__(error)
        self.error = error
        self.connected = connected


@dataclass(frozen=True)
class DownloadOptions:
    """Where an image is and how it is reached."""

    url: str
    username: Optional[str] = None
    password: Optional[str] = field(default=None, metadata={"secret": True})
    headers: Mapping[str, str] = field(default_factory=dict, metadata={"secret": True})
    """Sent, like the credentials, to the origin of ``url`` only."""
    ca_path: Optional[str] = None
    """PEM file or folder of a private CA."""
    validate_certs: bool = True
    proxy: Optional[str] = None
    """URL; None: the environment's proxies; empty: none at all."""
    timeout_s: float = 15.0
    """To connect, and between two reads."""
    total_timeout_s: float = 600.0
    """For everything, retries included."""
    retries: int = 4
    """Further attempts after the first."""
    connect_retries: Optional[int] = None
    """How many of them may be spent on a server that cannot even be connected to; None: all."""


def shown(url: str) -> str:
    """The URL without what may be secret in it: user, password, query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "a malformed URL"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def download(
    options: DownloadOptions,
    expected: Image,
    receive: Callable[[Iterator[bytes]], Image],
    pause: Callable[[float], None] = time.sleep,
) -> Image:
    """Give ``receive`` the bytes, again from the first one at each new attempt; what it returns is the result.

    Unreachable: no attempt got a complete answer within ``total_timeout_s``. ImageError: an answer came, and it is not
    the image. ``receive`` must leave nothing behind when its iterator raises, as ``ImageStore.add_stream`` does.
    """
    give_up = time.monotonic() + options.total_timeout_s
    wait_s = _FIRST_PAUSE_S
    connects_left = options.retries if options.connect_retries is None else options.connect_retries
    for left in range(options.retries, -1, -1):
        try:
            return receive(_attempt(options, expected, give_up))
        except _Again as again:
            connects_left -= 0 if again.connected else 1
            if left == 0 or connects_left < 0 or time.monotonic() + wait_s >= give_up:
                raise again.error from again
        pause(wait_s)
        wait_s = min(2 * wait_s, _LONGEST_PAUSE_S)
    raise AssertionError("the last attempt returns or raises")


def fetch(options: DownloadOptions, expected: Image) -> Iterator[bytes]:
    """The bytes of one attempt, at most one more than expected; errors as of ``download``."""
    try:
        yield from _attempt(options, expected, time.monotonic() + options.total_timeout_s)
    except _Again as again:
        raise again.error from again


def _attempt(options: DownloadOptions, expected: Image, give_up: float) -> Iterator[bytes]:
    url = options.url
    home = _origin(_parts(url))
    seen: set[str] = set()
    while True:
        if url in seen or len(seen) > _MOST_REDIRECTS:
            raise ImageError(
                f"{shown(options.url)} redirects in a loop, or more than {_MOST_REDIRECTS} times. The store is as "
                "before. Look the build up again, or ask who runs the source."
            )
        seen.add(url)
        parts = _parts(url)
        connection, proxied = _connection(options, parts, give_up)
        limit = _TimeLimit(connection, give_up)
        try:
            response = _request(options, connection, parts, proxied, _origin(parts) == home, limit)
            with closing(response):
                if response.status not in _REDIRECTS:
                    _check_status(response, url, proxied)
                    yield from _body(response, url, expected, limit)
                    return
                url = _target(response, url)
        except _TRANSPORT_ERRORS as error:
            raise _Again(_unreachable(options, url, error, limit), limit.has_connected) from error
        finally:
            limit.cancel()
            connection.close()


class _TimeLimit:
    """Shuts a connection down when the time is over: a limit per read never ends a dribble."""

    def __init__(self, connection: Connection, give_up: float) -> None:
        self.over = False
        self.has_connected = False
        self._connection = connection
        self._sock: Optional[socket.socket] = None
        self._timer = threading.Timer(max(0.0, give_up - time.monotonic()), self._shut_down)
        self._timer.daemon = True
        self._timer.start()

    def connected(self) -> None:
        # http.client forgets the socket of an answer that says ``connection: close``, and still reads from it.
        self._sock = self._connection.sock
        self.has_connected = True
        if self.over:
            # It was over while the connection was being made, and there was nothing to shut down yet.
            self._shut_down()

    def cancel(self) -> None:
        self._timer.cancel()

    def _shut_down(self) -> None:
        self.over = True
        sock = self._sock or self._connection.sock
        if sock is not None:
            with suppress(OSError):
                # Not SSLSocket's own shutdown, which takes the TLS object away under the thread that reads.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ImageError(f"{shown(url)} is no http(s) URL that could be fetched. The store is as before.")
    return parts


def _origin(parts: SplitResult) -> tuple[str, Optional[str], int]:
    return parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme]


def _connection(options: DownloadOptions, parts: SplitResult, give_up: float) -> tuple[Connection, bool]:
    timeout_s = max(0.001, min(options.timeout_s, give_up - time.monotonic()))
    proxy = _proxy(options, parts)
    scheme, host, port = _origin(parts)
    if host is None:
        raise ImageError(f"{shown(options.url)} names no host. The store is as before.")
    at_host, at_port = (host, port) if proxy is None else (proxy.hostname or "", proxy.port or _PORTS["http"])
    try:
        if scheme == "http":
            return http.client.HTTPConnection(at_host, at_port, timeout=timeout_s), proxy is not None
        connection = http.client.HTTPSConnection(at_host, at_port, timeout=timeout_s, context=_tls(options))
    except (http.client.InvalidURL, ValueError) as error:
        raise ImageError(f"{shown(options.url)} cannot be asked for ({error}). The store is as before.") from error
    if proxy is not None:
        connection.set_tunnel(host, port, _proxy_credentials(proxy))
    return connection, proxy is not None


def _proxy(options: DownloadOptions, parts: SplitResult) -> Optional[SplitResult]:
    url = options.proxy
    if url is None:
        if urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
            return None
        proxies = urllib.request.getproxies()
        url = proxies.get(parts.scheme) or proxies.get("all")
    if not url:
        return None
    try:
        proxy = urlsplit(url if "://" in url else f"http://{url}")
        usable = proxy.scheme == "http" and bool(proxy.hostname) and proxy.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ImageError(f"The proxy {shown(url)} cannot be used: http://address:port is needed. Nothing was fetched.")
    return proxy


def _proxy_credentials(proxy: Optional[SplitResult]) -> dict[str, str]:
    if proxy is None or not proxy.username:
        return {}
    return {"Proxy-Authorization": _basic(unquote(proxy.username), unquote(proxy.password or ""))}


def _tls(options: DownloadOptions) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context()
        if options.ca_path:
            context.load_verify_locations(**_ca(options.ca_path))
    except (OSError, ValueError) as error:
        raise ImageError(
            f"The CA certificates in {options.ca_path} cannot be used ({error}). Nothing was fetched. ca_path must "
            "name a PEM file, or a folder of them, on the machine that fetches."
        ) from error
    if not options.validate_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _ca(path: str) -> dict[str, str]:
    try:
        with open(path, "rb"):
            return {"cafile": path}
    except IsADirectoryError:
        return {"capath": path}


def _request(
    options: DownloadOptions,
    connection: Connection,
    parts: SplitResult,
    proxied: bool,
    at_home: bool,
    limit: _TimeLimit,
) -> http.client.HTTPResponse:
    path = quote(parts.path or "/", safe=_PLAIN) + (f"?{quote(parts.query, safe=_PLAIN + '?')}" if parts.query else "")
    headers = {"User-Agent": "unikernel.fleet", "Accept": "application/octet-stream, */*;q=0.1"}
    if at_home:
        headers.update(_credentials(options))
        headers.update(options.headers)
    if proxied and parts.scheme == "http":
        path = f"http://{parts.netloc.rpartition('@')[2]}{path}"
        headers.update(_proxy_credentials(_proxy(options, parts)))
    try:
        connection.connect()
        limit.connected()
        connection.request("GET", path, headers=headers)
    except ssl.SSLError:
        # A certificate that is not accepted is a ValueError too, and no fault of the URL.
        raise
    except (http.client.InvalidURL, ValueError) as error:
        raise ImageError(f"{shown(options.url)} cannot be asked for ({error}). The store is as before.") from error
    return connection.getresponse()


def _credentials(options: DownloadOptions) -> dict[str, str]:
    parts = urlsplit(options.url)
    username, password = options.username, options.password
    if username is None and parts.username:
        username, password = unquote(parts.username), unquote(parts.password or "")
    return {} if username is None else {"Authorization": _basic(username, password or "")}


def _basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode("ascii")


def _target(response: http.client.HTTPResponse, url: str) -> str:
    location = response.headers.get("Location")
    if not location:
        raise ImageError(f"{shown(url)} redirects without saying where to. The store is as before.")
    try:
        target = urljoin(url, location)
        scheme = urlsplit(target).scheme
    except ValueError:
        raise ImageError(f"{shown(url)} redirects to no URL. The store is as before.") from None
    if scheme not in _PORTS or (urlsplit(url).scheme == "https" and scheme == "http"):
        raise ImageError(
            f"{shown(url)} redirects to {shown(target)}, and that way is not taken: from https to https only, and "
            "never to another kind of URL. The store is as before."
        )
    return target


def _check_status(response: http.client.HTTPResponse, url: str, proxied: bool) -> None:
    if response.status == 200:
        return
    # The body is not shown: an error page in a terminal helps nobody, and its length is not to be trusted.
    said = f"{shown(url)} answered {response.status} {response.reason[:80]}".rstrip()
    if proxied and response.status in _PROXY_FAILED:
        raise _Again(Unreachable(f"{said} (by way of a proxy). The store is as before."))
    if response.status >= 500 or response.status == 429:
        raise _Again(ImageError(f"{said}, each time it was asked. The store is as before. Try again later."))
    hint = "Check the user name and password." if response.status in (401, 403) else "Look the build up again."
    raise ImageError(f"{said} instead of the image. The store is as before. {hint}")


def _body(response: http.client.HTTPResponse, url: str, expected: Image, limit: _TimeLimit) -> Iterator[bytes]:
    # With chunks, a content-length beside them means nothing (RFC 9112, 6.3); http.client decides alike.
    announced = response.length
    if announced is not None and announced != expected.size:
        raise ImageError(
            f"{shown(url)} announces {announced} bytes, and the image {expected.sha256} has {expected.size}. The store "
            "is as before. Look the build up again: its source may hold a damaged file."
        )
    got = 0
    try:
        while got <= expected.size:
            chunk = response.read1(min(CHUNK, expected.size + 1 - got))
            if not chunk:
                break
            got += len(chunk)
            yield chunk
        # A body that ends with its last chunk, but too early, is all that the server has: the store says so.
        if got < expected.size and not response.chunked:
            raise http.client.IncompleteRead(b"", expected.size - got)
    except (http.client.IncompleteRead, ConnectionError) as error:
        if limit.over:
            raise
        got += len(error.partial) if isinstance(error, http.client.IncompleteRead) else 0
        raise _Again(
            Unreachable(f"{shown(url)} was cut short: got {got} of {expected.size} bytes. The store is as before.")
        ) from error


def _unreachable(options: DownloadOptions, url: str, error: Exception, limit: _TimeLimit) -> Unreachable:
    if limit.over:
        return Unreachable(
            f"{shown(url)} was too slow: the image was not complete within {options.total_timeout_s:g} s "
            "(total_timeout). The store is as before."
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        why = f"its certificate is not accepted: {error.verify_message}; ca_path names a private CA"
    elif isinstance(error, socket.timeout):
        why = f"no answer within {options.timeout_s:g} s (timeout)"
    elif isinstance(error, OSError):
        why = error.strerror or str(error)
    else:
        why = str(error) or type(error).__name__
    return Unreachable(f"{shown(url)} cannot be reached: {why}. The store is as before.")
