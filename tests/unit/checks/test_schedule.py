# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many checks at once, on real servers, with checks that fail, raise and hang."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Optional

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.declaration import checks_from
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.model import (
    Attempt,
    CheckSpec,
    Outcome,
    Schedule,
    Verdict,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.protocol import Surroundings
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.schedule import (
    KEPT_FIRST,
    KEPT_LAST,
    checked_schedule,
    run_checks,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import InvalidDeclaration
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import Exit, Instance
from ansible_collections.unikernel.fleet.tests.support.web_server import (
    WebServer,
    answers,
    closed_port,
    in_turn,
    stays_silent,
)

ONCE = Schedule(deadline_s=5, stable_for_s=0, consecutive=1, delays_s=(0.02,), interval_s=0.02)
LIVING = Instance("web", 1, True, "1-100-boot")


def judged(
    declared: Sequence[dict[str, Any]],
    schedule: Schedule = ONCE,
    inspect: Optional[Callable[[], Optional[Instance]]] = None,
    console: Optional[Callable[[int], tuple[str, ...]]] = None,
    **more: Any,
) -> Verdict:
    return run_checks(checks_from(declared, "127.0.0.1"), schedule, Surroundings(inspect, console), **more)


def test_the_first_pass_ends_it_where_nothing_more_is_asked() -> None:
    with WebServer(answers()) as server:
        verdict = judged([{"http": server.url}], replace(ONCE, interval_s=60, delays_s=(60,)))
        assert len(server.requests) == 1
    assert verdict.outcome is Outcome.PASS
    assert verdict.duration_s < 2
    (result,) = verdict.results
    assert [attempt.outcome for attempt in result.attempts] == [Outcome.PASS]
    assert result.attempts[0].detail == "answered 200"


def test_503_first_and_200_later_passes_and_every_attempt_is_told() -> None:
    with WebServer(in_turn(answers(503), answers(503), answers(200))) as server:
        verdict = judged([{"http": server.url}])
    assert verdict.outcome is Outcome.PASS
    (result,) = verdict.results
    assert [attempt.outcome.value for attempt in result.attempts] == ["fail", "fail", "pass"]
    assert result.attempts[0].at_s < result.attempts[1].at_s < result.attempts[2].at_s
    assert "503" in result.attempts[0].detail


def test_a_span_without_a_failure_is_waited_for_and_no_longer() -> None:
    with WebServer(answers()) as server:
        verdict = judged([{"http": server.url}], Schedule(deadline_s=10, stable_for_s=0.3, interval_s=30))
        assert len(server.requests) == 2
    assert verdict.outcome is Outcome.PASS
    assert 0.3 <= verdict.duration_s < 3
    assert "for 0.3 s without a failure" in verdict.reason


def test_consecutive_passes_are_counted() -> None:
    with WebServer(answers()) as server:
        assert judged([{"http": server.url}], replace(ONCE, consecutive=4)).outcome is Outcome.PASS
        assert len(server.requests) == 4


def test_a_flapping_service_fails() -> None:
    with WebServer(in_turn(*[answers(status) for status in (200, 200, 503)] * 1000)) as server:
        verdict = judged([{"http": server.url}], replace(ONCE, deadline_s=0.5, consecutive=3))
    assert verdict.outcome is Outcome.FAIL
    assert "Not alive (within 0.5 s)" in verdict.reason


def test_one_dead_check_among_many_fails_all_and_is_named() -> None:
    with WebServer(answers()) as server:
        verdict = judged(
            [{"http": server.url}, {"tcp": closed_port(), "name": "the dead one"}], replace(ONCE, deadline_s=0.4)
        )
    assert verdict.outcome is Outcome.FAIL
    assert "the dead one: no connection" in verdict.reason
    assert server.url not in verdict.reason
    assert [result.outcome for result in verdict.results] == [Outcome.PASS, Outcome.FAIL]


def test_a_silent_server_is_cut_at_the_deadline() -> None:
    with WebServer(stays_silent()) as server:
        began = time.monotonic()
        verdict = judged([{"http": server.url}], replace(ONCE, deadline_s=0.4))
        assert time.monotonic() - began < 2
    assert verdict.outcome is Outcome.FAIL
    assert "within 0.4 s" in verdict.reason


def test_a_slow_check_does_not_delay_the_others() -> None:
    with WebServer(stays_silent()) as slow, WebServer(answers()) as quick:
        verdict = judged([{"http": slow.url, "wanted": True}, {"http": quick.url}])
    assert verdict.outcome is Outcome.PASS
    assert verdict.duration_s < 2


def test_a_wanted_check_is_told_and_decides_nothing() -> None:
    declared = [{"tcp": closed_port(), "wanted": True, "name": "metrics"}, {"process": {}}]
    verdict = judged(declared, replace(ONCE, consecutive=5), inspect=lambda: LIVING)
    assert verdict.outcome is Outcome.PASS
    assert "Wanted, but not so: metrics" in verdict.reason


def test_without_required_checks_the_wanted_ones_are_still_made_once() -> None:
    assert judged([]).outcome is Outcome.PASS
    verdict = judged([{"tcp": closed_port(), "wanted": True}])
    assert verdict.outcome is Outcome.PASS
    assert "No check is required" in verdict.reason
    assert verdict.results[0].outcome is Outcome.FAIL


def test_a_check_that_raises_is_inconclusive() -> None:
    def console(lines: int) -> tuple[str, ...]:
        raise PermissionError(13, "Permission denied", "console")

    verdict = judged([{"console": "ready"}], replace(ONCE, deadline_s=0.2), console=console)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "PermissionError" in verdict.reason


def test_a_check_that_exits_does_not_take_the_run_with_it() -> None:
    def console(lines: int) -> tuple[str, ...]:
        raise SystemExit(3)

    assert judged([{"console": "x"}], replace(ONCE, deadline_s=0.2), console=console).outcome is Outcome.INCONCLUSIVE


def test_a_check_that_hangs_is_inconclusive_in_time() -> None:
    release = threading.Event()

    def console(lines: int) -> tuple[str, ...]:
        release.wait(60)
        return ()

    began = time.monotonic()
    declared = [{"console": "x", "timeout": 0.2}, {"process": {}}]
    verdict = judged(declared, replace(ONCE, deadline_s=0.6), inspect=lambda: LIVING, console=console)
    release.set()
    assert time.monotonic() - began < 2
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "hangs" in verdict.reason


def test_a_check_that_hung_once_can_still_pass() -> None:
    calls: list[int] = []

    def console(lines: int) -> tuple[str, ...]:
        calls.append(lines)
        if len(calls) == 1:
            threading.Event().wait(0.6)
        return ("ready",)

    verdict = judged([{"console": "ready", "timeout": 0.2}], console=console)
    assert verdict.outcome is Outcome.PASS
    assert [attempt.outcome for attempt in verdict.results[0].attempts] == [Outcome.INCONCLUSIVE, Outcome.PASS]


def test_a_process_that_ended_fails_at_once() -> None:
    ended = replace(LIVING, alive=False, exit=Exit(status=1, meaning="exited with status 1"))
    verdict = judged([{"process": {}}, {"tcp": closed_port()}], replace(ONCE, deadline_s=60), inspect=lambda: ended)
    assert verdict.outcome is Outcome.FAIL
    assert verdict.duration_s < 2
    assert "exited with status 1" in verdict.reason
    assert verdict.instance == LIVING.identity


def test_the_verdict_names_the_instance_that_was_checked() -> None:
    assert judged([{"process": {}}], inspect=lambda: LIVING).instance == LIVING.identity
    assert judged([]).instance is None


def test_a_pass_is_not_given_to_an_instance_that_died_or_was_replaced() -> None:
    for later in (None, replace(LIVING, alive=False), replace(LIVING, identity="2-200-boot")):
        looks = iter([LIVING])
        with WebServer(answers()) as server:
            verdict = judged(
                [{"http": server.url}],
                replace(ONCE, consecutive=3),
                inspect=partial(next, looks, later),
            )
        assert verdict.outcome is Outcome.FAIL
        assert verdict.reason.startswith("Not alive")


def test_a_driver_that_cannot_look_does_not_end_the_run() -> None:
    def inspect() -> Instance:
        raise OSError("cannot look")

    with WebServer(answers()) as server:
        verdict = judged([{"http": server.url}], inspect=inspect)
    assert (verdict.outcome, verdict.instance) == (Outcome.PASS, None)


def test_a_stop_ends_it_at_once() -> None:
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    verdict = judged([{"tcp": closed_port()}], replace(ONCE, deadline_s=60, delays_s=(60,)), stop=stop)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.duration_s < 5
    assert "stopped" in verdict.reason


def test_of_many_attempts_the_first_and_the_last_are_kept_and_the_rest_counted() -> None:
    told: list[tuple[str, Attempt]] = []
    verdict = judged(
        [{"process": {}}],
        replace(ONCE, consecutive=40, interval_s=0.001),
        inspect=lambda: LIVING,
        on_attempt=lambda spec, attempt: told.append((spec.name, attempt)),
    )
    (result,) = verdict.results
    assert len(told) == 40
    assert len(result.attempts) == KEPT_FIRST + KEPT_LAST
    assert result.attempts_left_out == 40 - KEPT_FIRST - KEPT_LAST
    assert result.attempts == tuple(attempt for _unused, attempt in (*told[:KEPT_FIRST], *told[-KEPT_LAST:]))


def test_a_listener_that_raises_is_ignored() -> None:
    def listener(spec: CheckSpec, attempt: Attempt) -> None:
        raise RuntimeError("no")

    assert judged([{"process": {}}], inspect=lambda: LIVING, on_attempt=listener).outcome is Outcome.PASS


@pytest.mark.parametrize(
    "spec", [CheckSpec("sonar", "from the future"), CheckSpec("tcp", "from the past", options={"prot": 1})]
)
def test_a_persisted_check_that_this_version_cannot_make_is_inconclusive_at_once(spec: CheckSpec) -> None:
    verdict = run_checks([spec], replace(ONCE, deadline_s=60), Surroundings())
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.duration_s < 2
    assert spec.name in verdict.reason


def test_delays_grow_as_declared_while_a_check_fails() -> None:
    schedule = Schedule(deadline_s=0.75, stable_for_s=0, consecutive=1, delays_s=(0.05, 0.2))
    (result,) = judged([{"tcp": closed_port()}], schedule).results
    pauses = [later.at_s - earlier.at_s for earlier, later in zip(result.attempts, result.attempts[1:])]
    assert result.attempts[0].at_s < 0.05
    assert 0.05 <= pauses[0] < 0.2 <= min(pauses[1:])


@pytest.mark.parametrize(
    "changed",
    [
        {"deadline_s": 0},
        {"deadline_s": float("inf")},
        {"stable_for_s": -1},
        {"delays_s": ()},
        {"delays_s": (1.0, -1.0)},
        {"interval_s": float("nan")},
        {"consecutive": 0},
        {"stable_for_s": 30},
        {"consecutive": 100},
    ],
)
def test_a_schedule_that_can_never_pass_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(InvalidDeclaration, match="schedule"):
        checked_schedule(replace(Schedule(), **changed))
