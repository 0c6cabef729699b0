# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check mode says of every call in every situation what the real call then does, and changes nothing itself."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.model import Outcome, Verdict
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import FleetError
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import Release
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.forecast import forecast
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.proposal import Wanted
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import Holder
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import (
    Change,
    Transaction,
    TrialOptions,
    locked,
)
from ansible_collections.unikernel.fleet.tests.support.fleet_node import (
    ME,
    FleetNode,
    Interrupted,
    no_waiting_for_disks,
)
from ansible_collections.unikernel.fleet.tests.support.trials import AT_ONCE, ON_TRIAL, armed

__all__ = ["no_waiting_for_disks"]
NAME = "www"
ANOTHER = Holder(who="another", run="run-2")

Call = Callable[[Transaction, FleetNode], Any]


def declaring(content: Optional[str], options: TrialOptions = AT_ONCE, **given: Any) -> Call:
    def call(transaction: Transaction, fleet: FleetNode) -> Change:
        wanted = given.get("wanted", Wanted.RUNNING)
        configuration = {key: value for key, value in given.items() if key != "wanted"}
        declaration = replace(fleet.declaration(content, **configuration), wanted=wanted)
        return transaction.declare(declaration, options, armed)

    return call


def open_trial(transaction: Transaction) -> str:
    return transaction.state.trial.id if transaction.state.trial is not None else "none-is-open"


CALLS: dict[str, Call] = {
    "declare the same": declaring("one"),
    "declare another": declaring("two", ON_TRIAL),
    "declare what failed": declaring("bad", ON_TRIAL),
    "declare and rehearse": declaring("two", replace(ON_TRIAL, rehearse=True)),
    "try again what failed": declaring("bad", replace(ON_TRIAL, retry_failed=True)),
    "declare and take over": declaring("two", replace(AT_ONCE, takeover=True)),
    "accept that there is no way back": declaring("two", replace(AT_ONCE, accept_no_way_back=True)),
    "declare what cannot run": declaring("two", working_directory="/refused"),
    "declare it stopped": declaring(None, wanted=Wanted.STOPPED),
    "declare it absent": declaring(None, wanted=Wanted.ABSENT),
    "go back": lambda transaction, fleet: transaction.roll_back_to(None, AT_ONCE, None),
    "go back to a release": lambda transaction, fleet: transaction.roll_back_to(2, AT_ONCE, None),
    "go back to one that is not kept": lambda transaction, fleet: transaction.roll_back_to(77, AT_ONCE, None),
    "confirm": lambda transaction, fleet: transaction.confirm(open_trial(transaction)),
    "confirm an unknown trial": lambda transaction, fleet: transaction.confirm("20200101-unknown"),
    "end the trial": lambda transaction, fleet: transaction.roll_back(open_trial(transaction), "by hand", True),
    "end an unknown trial": lambda transaction, fleet: transaction.roll_back("20200101-unknown", "by hand", True),
    "take the trial over": lambda transaction, fleet: transaction.take_over(None),
}


def do(fleet: FleetNode, call: Call, holder: Holder = ME) -> Any:
    with locked(fleet.node(), NAME, holder, 0.0) as transaction:
        return call(transaction, fleet)


def begin(fleet: FleetNode, content: str, verdict: Optional[Outcome] = None, holder: Holder = ME) -> str:
    trial: str = do(fleet, declaring(content, ON_TRIAL), holder).trial
    if verdict is not None:
        do(fleet, lambda transaction, _fleet: transaction.judge(trial, Verdict(verdict, "so it is")))
    return trial


def deployed(fleet: FleetNode) -> None:
    for content in ("zero", "one", "back", "one"):
        do(fleet, declaring(content))


def failed_before(fleet: FleetNode) -> None:
    deployed(fleet)
    begin(fleet, "bad", Outcome.FAIL)


def on_trial_of_another_run(fleet: FleetNode) -> None:
    deployed(fleet)
    begin(fleet, "three", holder=ANOTHER)


def on_trial_and_passed(fleet: FleetNode) -> None:
    deployed(fleet)
    begin(fleet, "three", Outcome.PASS)


def overdue(fleet: FleetNode) -> None:
    on_trial_of_another_run(fleet)
    fleet.clock.seconds += 3600.0


def booted_during_a_trial(fleet: FleetNode) -> None:
    on_trial_and_passed(fleet)
    fleet.reboot()


def rehearsal_cut_short(fleet: FleetNode) -> None:
    """The run that rehearsed was killed in the middle of it."""
    deployed(fleet)

    def killed(step: str) -> None:
        if step == "before the checks of the rehearsal":
            raise Interrupted

    with pytest.raises(Interrupted), locked(fleet.node(killed), NAME, ME, 0.0) as transaction:
        transaction.declare(fleet.declaration("three"), replace(ON_TRIAL, rehearse=True), armed)


def image_to_go_back_to_lost(fleet: FleetNode) -> None:
    deployed(fleet)
    fleet.layout.image(fleet.image("back").sha256).unlink()


def image_of_the_running_one_lost(fleet: FleetNode) -> None:
    deployed(fleet)
    do(fleet, declaring("last"))
    fleet.layout.image(fleet.image("last").sha256).unlink()
    fleet.layout.instance_image(NAME, 5).unlink()


def only_its_instance_has_the_image(fleet: FleetNode) -> None:
    deployed(fleet)
    do(fleet, declaring("last"))
    fleet.layout.image(fleet.image("last").sha256).unlink()


def dead_and_its_image_lost(fleet: FleetNode) -> None:
    image_of_the_running_one_lost(fleet)
    fleet.machine.end(NAME, 5, "it crashed")


def frozen(fleet: FleetNode) -> None:
    deployed(fleet)
    fleet.layout.inhibit.write_text("moving house", encoding="utf-8")


def stranded(fleet: FleetNode) -> None:
    deployed(fleet)
    begin(fleet, "three")
    fleet.machine.broken.add(fleet.image("one").sha256)
    with pytest.raises(FleetError):
        do(fleet, lambda transaction, _fleet: transaction.roll_back(None, "by hand", False))
    fleet.machine.broken.clear()  # mended since: what fails only when it is done, nobody can foresee


def unreadable(fleet: FleetNode) -> None:
    deployed(fleet)
    fleet.layout.state(NAME).write_text("{", encoding="utf-8")


def nothing_there(fleet: FleetNode) -> None:
    """Nothing was ever deployed."""


SITUATIONS = (
    nothing_there,
    deployed,
    failed_before,
    on_trial_of_another_run,
    on_trial_and_passed,
    overdue,
    booted_during_a_trial,
    rehearsal_cut_short,
    image_to_go_back_to_lost,
    image_of_the_running_one_lost,
    only_its_instance_has_the_image,
    dead_and_its_image_lost,
    frozen,
    stranded,
    unreadable,
)


def outcome(call: Callable[[], Any]) -> tuple[str, Any]:
    """What a caller learns: the kind of refusal with its words, or whether something changed and into what."""
    try:
        result = call()
    except FleetError as error:
        return type(error).__name__, without_what_differs(str(error))
    if isinstance(result, Change):
        return "changed" if result.changed else "unchanged", alike(result.proposal.candidate)
    return "changed" if result else "unchanged", None


def alike(release: Optional[Release]) -> Any:
    return None if release is None else (release.image, release.configuration, release.running)


def without_what_differs(message: str) -> str:
    """Times and random parts: the same situation is made twice."""
    return " ".join(word for word in message.split() if not any(c.isdigit() for c in word))


def files_of(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("call", [pytest.param(call, id=name) for name, call in CALLS.items()])
@pytest.mark.parametrize("situation", SITUATIONS)
def test_check_mode_says_what_the_real_run_does(
    tmp_path: Path, situation: Callable[[FleetNode], None], call: Call
) -> None:
    fleet = FleetNode(tmp_path)
    situation(fleet)
    for content in ("one", "two", "three", "bad"):
        fleet.image(content)
    files, running = files_of(tmp_path), fleet.machine.alive(NAME)
    foreseen = outcome(lambda: call(forecast(fleet.node(), NAME, ME), fleet))
    assert (files_of(tmp_path), fleet.machine.alive(NAME)) == (files, running)
    assert foreseen == outcome(lambda: do(fleet, call))
