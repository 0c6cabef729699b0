# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether an instance that is off its bridge is up: one declared check, made from the wire that it is on."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Optional

from ..checks.declaration import checks_from
from ..checks.model import CheckSpec, Outcome
from ..checks.options import as_number
from ..checks.protocol import Sighting, Surroundings
from ..checks.registry import CHECKS
from ..errors import DriverError, InvalidDeclaration, MissingLibrary
from ..model import Configuration
from ..runtime.namespace import inside

WITHIN = "within"
DEFAULT_WITHIN_S = 30.0
LONGEST_WITHIN_S = 600.0
FIRST_TRIES_S = (0.1, 0.1, 0.2, 0.3, 0.5, 1.0)
"""Time-outs of the first attempts: what is sent before the guest is up is lost, and TCP tries again a second later."""
PAUSE_S = 0.005


def ready_check(configuration: Configuration) -> tuple[CheckSpec, float]:
    """The declared ready check and for how long it is awaited. InvalidDeclaration or MissingLibrary say why not."""
    declared: dict[str, Any] = dict(configuration.ready or {})
    within_s = as_number(WITHIN, declared.pop(WITHIN, DEFAULT_WITHIN_S), LONGEST_WITHIN_S)
    spec = checks_from([declared], default_address(configuration))[0]
    if CHECKS[spec.kind].node_only:
        raise InvalidDeclaration(
            f"A {spec.kind} check cannot say whether a new instance is ready: it does not look through its port."
        )
    return spec, within_s


def why_no_ready_check(configuration: Configuration) -> Optional[str]:
    """What forbids the declared ready check here, as a clause; None when nothing does."""
    return why_not_made(lambda: ready_check(configuration))


def why_not_made(make: Callable[[], object]) -> Optional[str]:
    """What forbids the ready check that is made so, as a clause; None when nothing does."""
    try:
        make()
    except (InvalidDeclaration, MissingLibrary) as error:
        return f"its ready check cannot be made: {error}"
    return None


def default_address(configuration: Configuration) -> Optional[str]:
    """The first address of its networks."""
    for network in configuration.networks:
        for address in network.addresses:
            with suppress(ValueError):  # it is refused elsewhere, in better words
                return str(ipaddress.ip_interface(address).ip)
    return None


def wait_until_ready(namespace: str, configuration: Configuration, ended: Callable[[], Optional[str]]) -> None:
    """Make the ready check from inside the namespace until it passes.

    DriverError when it did not within its time, or when ``ended`` says how the instance ended meanwhile.
    """
    spec, within_s = ready_check(configuration)
    check = CHECKS[spec.kind].bind(spec, Surroundings())
    give_up = time.monotonic() + within_s
    attempts = 0
    while True:
        timeout_s = min(FIRST_TRIES_S[min(attempts, len(FIRST_TRIES_S) - 1)], spec.timeout_s)
        attempts += 1
        sighting: Sighting = inside(namespace, lambda limit_s=timeout_s: check.attempt(limit_s))  # type: ignore[misc]
        if sighting.outcome is Outcome.PASS:
            return
        end = ended()
        if end is not None:
            raise DriverError(f"it ended before it was ready: {end}")
        if sighting.final or time.monotonic() >= give_up:
            waited = "and waiting cannot change that" if sighting.final else f"within {within_s:g} s"
            raise DriverError(f"it was not ready {waited} ({spec.name}: {sighting.detail}; {attempts} attempts)")
        time.sleep(PAUSE_S)
