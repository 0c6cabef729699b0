# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One bounded HTTP client for all sources: bounded in bytes, in time, in redirects and in tries.

Nothing of an answer is trusted for its length, and no connection is used twice: builder-web closes each one after
its answer without saying so, and a pooled connection then fails on its second use.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union
from urllib.parse import urljoin, urlsplit

from ..errors import InvalidDeclaration, MissingLibrary, SourceError
from .protocol import SourceOptions
from .source_urls import origin
from .watched_session import Watch, watched_session

try:
    import requests
    import urllib3
except ImportError:
    HAS_REQUESTS = False
else:
    HAS_REQUESTS = True

MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""Of a JSON or text answer. The largest real listing seen is below 1 MiB."""
MAX_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 5.0
CHUNK_BYTES = 64 * 1024


class Deadline:
    """The moment by which a whole look-up must have ended, on the monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left_s(self) -> float:
        return max(0.0, self._end - time.monotonic())


@dataclass(frozen=True)
class Answer:
    """A whole answer with a status below 500."""

    url: str
    """After redirects."""
    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").split(";")[0].strip().lower()


class NoAnswer(SourceError):
    """Nobody answered: the source cannot be reached, is silent, or broke off. The next question fares no better."""


class ServerFault(SourceError):
    """A 5xx that stayed after all tries; what it said lets a caller tell one fault from another."""

    def __init__(self, message: str, status: int, media_type: str, body: bytes) -> None:
        super().__init__(message)
        self.status = status
        self.media_type = media_type
        self.body = body


class _Transient(Exception):
    """Worth another try."""

    def __init__(self, error: SourceError) -> None:
        super().__init__(str(error))
        self.error = error


class HttpClient:
    """Asks one source. Safe for use from several threads: each has a session of its own."""

    def __init__(self, options: SourceOptions, sleep: Callable[[float], None] = time.sleep) -> None:
        if not HAS_REQUESTS:
            raise MissingLibrary("requests", f"asking the source {options.name!r}")
        self._options = options
        self._sleep = sleep
        self._home = origin(options.url)
        self._sessions = threading.local()
        if options.ca_path is not None and not Path(options.ca_path).is_file():
            raise InvalidDeclaration(
                f"The source {options.name!r} names the CA file {options.ca_path}, and there is no such file."
            )
        if not options.validate_certs:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

    def deadline(self) -> Deadline:
        """For one look-up: hand it to each request that the look-up makes."""
        return Deadline(self._options.total_timeout_s)

    def get(
        self,
        url: str,
        deadline: Deadline,
        accept: str = "application/json",
        headers: Optional[Mapping[str, str]] = None,
        follow: bool = True,
        with_body: bool = True,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Answer:
        """GET, repeated on connection errors, short bodies and 5xx; SourceError when all tries are used up.

        With ``follow`` False a redirect is returned as it is; with ``with_body`` False the connection is
        closed after the headers. The caller looks at the status: everything below 500 is returned.
        """
        sent = {"Accept": accept, **(headers or {})}
        for attempt in range(self._options.retries + 1):
            try:
                return self._get_following(url, deadline, sent, follow, with_body, max_bytes)
            except _Transient as transient:
                delay = random.uniform(0.5, 1.0) * min(LONGEST_DELAY_S, FIRST_DELAY_S * 2**attempt)
                if attempt == self._options.retries or deadline.left_s() <= delay:
                    raise transient.error from None
                self._sleep(delay)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def post(self, url: str, body: Union[bytes, Path], deadline: Deadline) -> Answer:
        """POST once: what it does is not known to be repeatable. A file is streamed."""
        headers = {"Accept": "*/*", "Content-Type": "application/octet-stream"}
        try:
            if isinstance(body, Path):
                with open(body, "rb") as stream:
                    return self._once("POST", url, deadline, headers, True, MAX_ANSWER_BYTES, stream)
            return self._once("POST", url, deadline, headers, True, MAX_ANSWER_BYTES, body)
        except _Transient as transient:
            raise transient.error from None

    def _get_following(
        self, url: str, deadline: Deadline, headers: Mapping[str, str], follow: bool, with_body: bool, max_bytes: int
    ) -> Answer:
        for _unused in range(MAX_REDIRECTS + 1):
            answer = self._once("GET", url, deadline, headers, with_body, max_bytes, None)
            if not follow or answer.status not in REDIRECTS:
                return answer
            url = redirect_target(answer)
        raise SourceError(f"{self._name(url)} redirects in a circle or more than {MAX_REDIRECTS} times: given up.")

    def _once(
        self,
        method: str,
        url: str,
        deadline: Deadline,
        headers: Mapping[str, str],
        with_body: bool,
        max_bytes: int,
        data: Any,
    ) -> Answer:
        left = deadline.left_s()
        if left <= 0:
            raise NoAnswer(f"{self._name(url)} was not asked to the end within {deadline.seconds:g} s.")
        timeout = min(self._options.timeout_s, left)
        with Watch(left) as watch, self._session(watch) as session:
            try:
                with session.request(
                    method,
                    url,
                    # Identity: a compressed body could be bounded only after it was inflated.
                    headers={"Connection": "close", "Accept-Encoding": "identity", **headers},
                    auth=self._credentials(url),
                    data=data,
                    timeout=(timeout, timeout),
                    allow_redirects=False,
                    stream=True,
                    proxies=self._proxies(url),
                    verify=self._verify(),
                ) as response:
                    answer = self._received(response, url, with_body, max_bytes)
                if watch.expired:
                    # http.client takes headers that were cut for complete ones, and a body of no told length too.
                    raise urllib3.exceptions.ProtocolError("cut at the deadline")
                return answer
            except requests.exceptions.SSLError as error:
                raise SourceError(
                    f"{self._name(url)}: TLS failed ({reason(error)}). Check 'ca_path' of the source."
                ) from None
            except requests.exceptions.RequestException as error:
                raise _Transient(NoAnswer(self._trouble(url, error, watch, deadline))) from None
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise _Transient(NoAnswer(self._trouble(url, error, watch, deadline))) from None
            except ValueError as error:
                # http.client and idna let some malformed answers and hosts through as plain ValueErrors.
                raise SourceError(f"{self._name(url)} gave no valid HTTP: {reason(error)}.") from None

    @contextlib.contextmanager
    def _session(self, watch: Watch) -> Iterator[Any]:
        """This thread's session, for one request: its connections are watched, and none is left open."""
        session = getattr(self._sessions, "of_thread", None)
        if session is None:
            session = self._sessions.of_thread = watched_session()
        adapter = session.get_adapter("http://")
        adapter.watch = watch
        try:
            yield session
        finally:
            adapter.close()
            session.cookies.clear()

    def _received(self, response: Any, url: str, with_body: bool, max_bytes: int) -> Answer:
        status = int(response.status_code)
        headers = {str(name).lower(): str(value) for name, value in response.headers.items()}
        body = b""
        if with_body or status >= 500:
            body = self._body(response, url, max_bytes)
            announced = headers.get("content-length", "")
            # builder-web sends a file cut on its disk with a proper chunked ending: only the length tells.
            if announced.isdigit() and status == 200 and len(body) != int(announced):
                cut = f"{self._name(url)} sent {len(body)} of {announced} bytes: cut short."
                raise _Transient(SourceError(cut))
        answer = Answer(url, status, headers, body)
        if status >= 500:
            message = f"{self._name(url)} answered with status {status}{_said(answer)}."
            raise _Transient(ServerFault(message, status, answer.media_type, body))
        if status in (401, 403, 407):
            who = "the credentials" if self._options.username is not None else "a request without credentials"
            raise SourceError(
                f"{self._name(url)} refused {who} (status {status}). Check 'username' and 'password' of the source."
            )
        return answer

    def _body(self, response: Any, url: str, max_bytes: int) -> bytes:
        parts = []
        size = 0
        for part in response.iter_content(CHUNK_BYTES):
            size += len(part)
            if size > max_bytes:
                raise SourceError(f"{self._name(url)} sent more than {max_bytes} bytes: not read further.")
            parts.append(part)
        return b"".join(parts)

    def _credentials(self, url: str) -> Any:
        if self._options.username is None or origin(url) != self._home:
            # A callable that does nothing keeps requests from looking into ~/.netrc.
            return _anonymous
        return requests.auth.HTTPBasicAuth(
            self._options.username.encode("utf-8"), (self._options.password or "").encode("utf-8")
        )

    def _proxies(self, url: str) -> Mapping[str, str]:
        if self._options.proxy is not None:
            return {"http": self._options.proxy, "https": self._options.proxy}
        return _environment_proxies(origin(url))

    def _verify(self) -> Union[bool, str]:
        if not self._options.validate_certs:
            return False
        return self._options.ca_path or os.environ.get("REQUESTS_CA_BUNDLE") or True

    def _trouble(self, url: str, error: Exception, watch: Watch, deadline: Deadline) -> str:
        if watch.expired:
            return f"{self._name(url)} did not end its answer within {deadline.seconds:g} s: given up."
        if isinstance(error, requests.exceptions.Timeout):
            return f"{self._name(url)} was silent for {self._options.timeout_s:g} s."
        return f"{self._name(url)} cannot be reached or broke off: {reason(error)}."

    def _name(self, url: str) -> str:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
        shown = f"{parts.scheme}://{parts.hostname}{port}{parts.path}"
        return f"The source {self._options.name!r} ({shown[:200]})"


def redirect_target(answer: Answer) -> str:
    """Where a redirect leads, absolute; SourceError when nowhere, elsewhere than http(s), or out of TLS."""
    location = answer.headers.get("location", "")
    target = urljoin(answer.url, location)
    if not location or urlsplit(target).scheme not in ("http", "https"):
        raise SourceError(f"{answer.url} redirects to nowhere that can be asked.")
    if urlsplit(answer.url).scheme == "https" and urlsplit(target).scheme != "https":
        raise SourceError(f"{answer.url} redirects from https to plain http: not followed.")
    return target


def reason(error: BaseException) -> str:
    """The innermost cause, in one bounded line. Outer ones repeat the URL, and with it perhaps a proxy's password."""
    seen = set()
    while id(error) not in seen:
        seen.add(id(error))
        inner = getattr(error, "reason", None) or error.__cause__ or error.__context__
        if not isinstance(inner, BaseException):
            nested = [arg for arg in error.args if isinstance(arg, BaseException)]
            inner = nested[-1] if nested else None
        if inner is None:
            break
        error = inner
    text = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
    return str(text)[:200]


def _said(answer: Answer) -> str:
    """A short plain answer is quoted; a page never is."""
    if answer.media_type != "text/plain":
        return ""
    text = " ".join(answer.body[:120].decode("utf-8", "replace").split())
    return f" and said {text!r}" if text else ""


def _anonymous(request: Any) -> Any:
    return request


@functools.lru_cache(maxsize=64)
def _environment_proxies(of: tuple[str, str, int]) -> Mapping[str, str]:
    scheme, host, port = of
    address = f"[{host}]" if ":" in host else host
    found: Mapping[str, str] = requests.utils.get_environ_proxies(f"{scheme}://{address}:{port}/")
    return found
