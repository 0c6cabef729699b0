# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``cut_over`` on albatross: the new one is created beside the one that runs, under its other label, and only when it
has shown that it is up, the old one is destroyed.

Both are on the bridge then, with one MAC. A bridge sends what is for that MAC to the port where it last saw it, so
what boots takes over by the first frame that it sends, and what sends nothing takes over nothing. Measured: what is
lost are the requests that are under way in those milliseconds. It also means that nothing which is sent to its address
tells which of the two answered. Only its console does; so that is what can be waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Optional

from ..albatross.client import Client
from ..albatross.errors import AnswerLost
from ..albatross.names import Name
from ..albatross.records import UnikernelInfo
from ..albatross.sendable import MOST_LINES
from ..checks.declaration import checks_from
from ..checks.model import CheckSpec, Outcome
from ..checks.options import as_number
from ..checks.protocol import Surroundings
from ..checks.registry import CHECKS
from ..errors import DriverError, InvalidDeclaration
from ..model import Configuration, Release, SwapMethod
from . import albatross_console as console
from .albatross_labels import LONGEST_LABEL, SUFFIX, second_label
from .readiness import DEFAULT_WITHIN_S, LONGEST_WITHIN_S, WITHIN, why_not_made

LIVES_FOR_S = 0.1
"""Where nothing says when it is up: an hvt guest that cannot come up has ended by then, and each millisecond more
with two on the bridge costs requests."""
KNOWN_WITHIN_S = 2.0
"""For the ready check of a release that ran here before: going back to it does not hang on that check."""
_SLICE_S = 0.05
"""How often it is asked whether it lives still, while its console says nothing."""
_MATCH_S = 1.0

Ear = Callable[[float], Optional[str]]
"""The next line of a console, waited for so many seconds; None when none came."""


def asked_for(new: Release, old: Optional[Release]) -> bool:
    """Whether both shall run for a moment. What was begun so is also gone back from so, unless that is forbidden."""
    if new.configuration.swap is SwapMethod.STOP_START:
        return False
    return _wants(new.configuration) or (old is not None and old.running and _wants(old.configuration))


def _wants(configuration: Configuration) -> bool:
    """``auto`` does where the console says when it is up."""
    if configuration.swap is SwapMethod.AUTO:
        return waits_for_console(configuration) and why_no_ready_check(configuration) is None
    return configuration.swap is SwapMethod.CUT_OVER


def waits_for_console(configuration: Configuration) -> bool:
    return configuration.ready is not None and "console" in configuration.ready


def why_no_ready_check(configuration: Configuration) -> Optional[str]:
    """What forbids the declared ready check here, as a clause; None when nothing does."""
    return why_not_made(lambda: ready_check(configuration))


def ready_check(configuration: Configuration) -> Optional[tuple[CheckSpec, float]]:
    """What is waited for on the new one's console, and for how long; None where nothing is declared.

    InvalidDeclaration or MissingLibrary for a check that cannot be made beside the old one.
    """
    if configuration.ready is None:
        return None
    if not waits_for_console(configuration):
        raise InvalidDeclaration(
            "both have the same address then, and nothing tells which of them answered; a console check can be made"
        )
    declared = dict(configuration.ready)
    within_s = as_number(WITHIN, declared.pop(WITHIN, DEFAULT_WITHIN_S), LONGEST_WITHIN_S)
    spec = checks_from([declared], None)[0]
    if not spec.options.get("must_match"):
        raise InvalidDeclaration("its console check names nothing that must appear (must_match)")
    return spec, within_s


def obstacles(name: str, release: Release, running: UnikernelInfo) -> list[str]:
    """Why a release cannot come up beside what runs, in clauses, but for what the server forbids."""
    configuration = release.configuration
    reasons = []
    if second_label(name) is None:
        reasons.append(
            f"its name is too long for a second label (at most {LONGEST_LABEL - len(SUFFIX)} characters, for "
            f"NAME{SUFFIX})"
        )
    unready = why_no_ready_check(configuration)
    if unready is not None:
        reasons.append(unready)
    if any(":" in address for network in configuration.networks for address in network.addresses) or any(
        word.startswith("--ipv6=") for word in (*configuration.arguments, *configuration.secret_arguments)
    ):
        reasons.append(
            "it has an IPv6 address, which it would take for a duplicate as long as the other one has it too"
        )
    used = {block.host_device for block in running.blocks}
    shared = sorted({device.path or device.name for device in configuration.block_devices} & used)
    if shared:
        reasons.append(f"the one that runs uses {', '.join(shared)} as well, and two at a time must not")
    return reasons


@contextmanager
def listening(client: Client, full: Name, configuration: Configuration, since: Optional[str] = None) -> Iterator[Ear]:
    """An ear at the console of what is to come up there, which hears what it says from now on; or, of what was started
    already, all that was said since then."""
    ready = ready_check(configuration)
    if ready is None:
        yield lambda seconds: None
        return
    count = 0 if since is None else int(ready[0].options["lines"])
    with client.listening(full, min(count, MOST_LINES)) as heard:

        def ear(seconds: float) -> Optional[str]:
            line = heard(seconds)
            if line is None or (since is not None and not console.is_later(line.time, since)):
                return None
            return console.readable(line)

        yield ear


def prove(
    client: Client, full: Name, release: Release, ear: Ear, known: bool, pause: Callable[[float], None]
) -> UnikernelInfo:
    """What runs, once it has shown that it is up. DriverError when it ended, was restarted, or is not ready in time.

    ``known``: it ran here before, so it need only live.
    """
    first = _lives(client, full, None)
    ready = ready_check(release.configuration)
    if ready is None:
        pause(LIVES_FOR_S)
        return _lives(client, full, first)
    spec, within_s = ready
    if known:
        within_s = min(within_s, KNOWN_WITHIN_S)
    lines: list[str] = []
    check = CHECKS[spec.kind].bind(spec, Surroundings(console=lambda count: tuple(lines[-count:])))
    give_up = time.monotonic() + within_s
    seen, not_before_s = check.attempt(_MATCH_S), 0.0
    while True:
        try:
            line = ear(_SLICE_S)
        except AnswerLost:
            if not known:
                raise
            return _lives(client, full, first)
        if line is not None:
            lines.append(line)
        begun = time.monotonic()
        if line is None or begun >= not_before_s:
            seen = check.attempt(_MATCH_S)
            # What is costly to look for takes a program of its own each time: not for every line.
            not_before_s = time.monotonic() + 4 * (time.monotonic() - begun)
        if seen.outcome is Outcome.PASS:
            return _lives(client, full, first)
        if line is None or seen.final or begun >= give_up:
            found = _lives(client, full, first)
            if seen.final or begun >= give_up:
                if known:
                    return found
                waited = "and waiting cannot change that" if seen.final else f"within {within_s:g} s"
                raise DriverError(f"it was not ready {waited} ({spec.name}: {seen.detail})")


def _lives(client: Client, full: Name, first: Optional[UnikernelInfo]) -> UnikernelInfo:
    info = client.unikernel(full)
    if info is None:
        said = client.console(full, console.WORDS, console.QUIET_S)
        raise DriverError(
            f"it ended right after its start: it {console.last_words([console.readable(one) for one in said])}"
        )
    if first is not None and (info.started, info.digest) != (first.started, first.digest):
        raise DriverError("it ended right after its start, and was started again")
    return info
