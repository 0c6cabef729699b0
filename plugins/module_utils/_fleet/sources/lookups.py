# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many look-ups at once. One that fails says so in its own result and never disturbs the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from typing import Any, Optional, Union

from ..errors import BuildNotFound, FleetError, InvalidDeclaration, SourceError
from ..model import Build, checked_sha256
from .http_client import NoAnswer
from .protocol import Comparison, ComparisonAnswer, ComparisonState, Lookup, Source

UNANSWERED = 3
"""So many look-ups in a row without any answer, each with all its retries, and a source is given up."""


class Verdict(str, Enum):
    FOUND = "found"
    NOT_FOUND = "not_found"
    """The source says that it has no such build."""
    UNKNOWN = "unknown"
    """The source did not answer, or not sensibly: never to be taken for "no update"."""


@dataclass(frozen=True)
class Question:
    """One look-up, and what runs, if it is to be compared with that."""

    key: str
    """Names the answer; unique."""
    source: str
    lookup: Lookup
    running_sha256: Optional[str] = None
    compare: bool = True
    """Whether to ask what lies between the running image and the build found."""


@dataclass(frozen=True)
class LookupResult:
    """The answer to one question."""

    verdict: Verdict
    build: Optional[Build] = None
    error: Optional[str] = None
    """For people; None when the build was found."""
    update_available: Optional[bool] = None
    """None: not known, or nothing runs to compare with."""
    comparison_state: ComparisonState = ComparisonState.NOT_ASKED
    comparison_reason: str = ""
    comparison: Optional[Comparison] = None


def look_up(sources: Mapping[str, Source], questions: Sequence[Question], workers: int = 8) -> dict[str, LookupResult]:
    """All answers by key, with that many questions under way at once. InvalidDeclaration for equal keys only."""
    keys = [question.key for question in questions]
    if len(set(keys)) != len(keys):
        twice = sorted({key for key in keys if keys.count(key) > 1})
        raise InvalidDeclaration(f"Several look-ups have the same key: {', '.join(twice)[:200]}.")
    if workers < 1:
        raise InvalidDeclaration(f"{workers} look-ups at once are none: at least 1 is needed.")
    asking = _Asking(sources)
    with ThreadPoolExecutor(max_workers=min(workers, max(1, len(questions)))) as pool:
        return dict(zip(keys, pool.map(asking.answer, questions)))


class _Once:
    """Computes for each key once; whoever asks meanwhile waits for it. What was raised is raised again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: dict[Any, tuple[threading.Lock, list[Union[FleetError, Any]]]] = {}

    def get(self, key: Any, compute: Callable[[], Any]) -> Any:
        with self._lock:
            lock, outcome = self._places.setdefault(key, (threading.Lock(), []))
        with lock:
            if not outcome:
                try:
                    outcome.append(compute())
                except FleetError as error:
                    outcome.append(error)
        if isinstance(outcome[0], FleetError):
            raise outcome[0]
        return outcome[0]


class _Patience:
    """Ends with a source that answers nobody: a thousand look-ups must not each wait for their own time-out."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unanswered: dict[str, int] = {}
        self._last: dict[str, NoAnswer] = {}

    def ask(self, source: str, question: Callable[[], Any]) -> Any:
        with self._lock:
            if self._unanswered.get(source, 0) >= UNANSWERED:
                raise NoAnswer(f"Not asked any more, as the last {UNANSWERED} look-ups found: {self._last[source]}")
        try:
            answer = question()
        except NoAnswer as error:
            with self._lock:
                self._unanswered[source] = self._unanswered.get(source, 0) + 1
                self._last[source] = error
            raise
        except SourceError:
            self._answered(source)
            raise
        self._answered(source)
        return answer

    def _answered(self, source: str) -> None:
        with self._lock:
            self._unanswered[source] = 0


class _Asking:
    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = sources
        self._patience = _Patience()
        self._found = _Once()
        self._compared = _Once()

    def answer(self, question: Question) -> LookupResult:
        try:
            build = self._find(question.source, question.lookup)
            running = None if question.running_sha256 is None else checked_sha256(question.running_sha256)
        except BuildNotFound as error:
            return LookupResult(Verdict.NOT_FOUND, error=str(error))
        except FleetError as error:
            return LookupResult(Verdict.UNKNOWN, error=str(error))
        except Exception as error:
            # A fault of ours in one look-up must not cost the others their answers.
            return LookupResult(Verdict.UNKNOWN, error=f"The look-up failed: {type(error).__name__}: {error}")
        if running is None:
            return LookupResult(Verdict.FOUND, build)
        answer = ComparisonAnswer(ComparisonState.NOT_ASKED)
        if running == build.sha256:
            answer = ComparisonAnswer(ComparisonState.SAME, reason="The running image is the one of this build.")
        elif question.compare:
            answer = self._compare(question.source, running, build)
        return LookupResult(
            verdict=Verdict.FOUND,
            build=build,
            update_available=running != build.sha256,
            comparison_state=answer.state,
            comparison_reason=answer.reason,
            comparison=answer.comparison,
        )

    def _find(self, source: str, lookup: Lookup) -> Build:
        if source not in self._sources:
            known = ", ".join(sorted(self._sources)) or "none"
            raise InvalidDeclaration(f"There is no source named {source!r}; known are: {known}.")
        found: Build = self._found.get(
            (source, lookup), lambda: self._patience.ask(source, lambda: self._sources[source].find(lookup))
        )
        return found

    def _compare(self, source: str, running: str, build: Build) -> ComparisonAnswer:
        try:
            old = self._find(source, Lookup(sha256=running))
            answer: ComparisonAnswer = self._compared.get(
                (source, old.id, build.id), lambda: self._sources[source].compare(old, build)
            )
            return answer
        except BuildNotFound:
            reason = f"The source {source!r} does not know the image that runs (SHA-256 {running[:12]}...)."
            return ComparisonAnswer(ComparisonState.UNAVAILABLE, reason=reason)
        except Exception as error:
            return ComparisonAnswer(ComparisonState.UNKNOWN, reason=str(error))
