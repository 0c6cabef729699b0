# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The check ``http``: a request is answered as it should be."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from .. import codec
from ..errors import MissingLibrary
from .bounded import bounded
from .deadline import Deadline, OutOfTime
from .http_exchange import MAX_BODY_BYTES, Answer, Hindered, Silent, Wrong, exchange, redirected
from .http_options import HttpOptions, declared, shown_url
from .json_expression import checked_expression, evaluated
from .matching import CannotMatch, found
from .model import CheckSpec, Outcome
from .protocol import Check, Sighting, Surroundings


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
        except Wrong as error:
            detail = self._without_secrets(str(error))
            return Sighting(Outcome.FAIL, detail, silent=isinstance(error, Silent))
        except OutOfTime:
            return Sighting(Outcome.FAIL, f"matching the body took longer than the {timeout_s:g} s that there are")
        except MissingLibrary as error:
            return Sighting(Outcome.INCONCLUSIVE, str(error), final=True)
        except (Hindered, CannotMatch) as error:
            return Sighting(Outcome.INCONCLUSIVE, self._without_secrets(str(error)))
        slowest_s = self.options.max_latency_s
        if slowest_s is not None and latency_s > slowest_s:
            return Sighting(
                Outcome.FAIL, f"answered {answer.status} after {latency_s:.3f} s, at most {slowest_s:g} s are allowed"
            )
        return Sighting(Outcome.PASS, f"answered {answer.status}")

    def _final_answer(self, deadline: Deadline, timeout_s: float) -> Answer:
        request = self.options
        for _unused in range(self.options.follow_redirects + 1):
            answer = exchange(request, deadline, timeout_s)
            if answer.location is None or not self.options.follow_redirects:
                return answer
            request = redirected(request, answer)
        raise Wrong(f"redirected more often than the {self.options.follow_redirects} times that are allowed")

    def _judge(self, answer: Answer, deadline: Deadline) -> None:
        wanted = self.options.status
        if not any(accepted.low <= answer.status <= accepted.high for accepted in wanted):
            towards = f" (to {shown_url(answer.location)})" if answer.location else ""
            raise Wrong(f"answered {answer.status}{towards}, wanted {', '.join(map(str, wanted))}")
        if self.options.body_regex is not None:
            text = answer.body.decode(answer.charset, "replace")
            if not found([self.options.body_regex], text, deadline)[0]:
                where = f"the first {MAX_BODY_BYTES} bytes of the body" if answer.cut else "the body"
                raise Wrong(
                    f"answered {answer.status}, but {self.options.body_regex!r} is not in {where}: "
                    f"{bounded(text, 80) or 'it is empty'}"
                )
        if self.options.json is not None:
            self._judge_json(self.options.json, answer)

    def _judge_json(self, expression: str, answer: Answer) -> None:
        if answer.cut:
            raise Wrong(f"answered {answer.status} with a body above {MAX_BODY_BYTES} bytes, too long for JSON here")
        try:
            document = json.loads(answer.body)
        except (ValueError, RecursionError):
            raise Wrong(f"answered {answer.status}, but the body is no JSON") from None
        try:
            value, is_true = evaluated(expression, document)
        except ValueError as error:
            raise Wrong(f"answered {answer.status}, but {expression!r} does not fit the JSON: {error}") from None
        if self.options.json_compared:
            if not _same_json(value, self.options.json_equals):
                wanted = bounded(json.dumps(self.options.json_equals), 80)
                raise Wrong(f"{expression!r} is {bounded(json.dumps(value), 80)} in the JSON, not {wanted}")
        elif not is_true:
            raise Wrong(f"{expression!r} is {bounded(json.dumps(value), 80)} in the JSON, which is not true")

    def _without_secrets(self, detail: str) -> str:
        secrets = [self.options.password, *self.options.headers.values()]
        for secret in secrets:
            if secret and len(secret) >= 4:
                detail = detail.replace(secret, "***")
        return bounded(detail)


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
        return dict(codec.encode(declared(options, address)))

    def described(self, options: Mapping[str, Any]) -> str:
        method = "" if options["method"] == "GET" else f"{options['method']} "
        return method + shown_url(str(options["url"]))

    def require(self, options: Mapping[str, Any]) -> None:
        if options.get("json") is not None:
            checked_expression(str(options["json"]))

    def bind(self, spec: CheckSpec, surroundings: Surroundings) -> Check:
        return HttpCheck(codec.decode(HttpOptions, spec.options))


def _same_json(one: Any, other: Any) -> bool:
    """Equality of JSON values: 1 is 1.0, but not true."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same_json, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same_json(one[key], other[key]) for key in one)
    return bool(one == other)
