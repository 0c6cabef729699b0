# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The double kills first and checks afterwards, and starts again what ended, as the real albatross does."""

from __future__ import annotations

import os
import signal
import time

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.client import Client
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.errors import (
    Refused,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import (
    BlockUse,
    FailBehaviour,
    NetworkUse,
)
from ansible_collections.unikernel.fleet.tests.support.albatross.double import Albatross
from ansible_collections.unikernel.fleet.tests.support.albatross.images import image
from ansible_collections.unikernel.fleet.tests.support.albatross_asking import (
    HELLO,
    OTHER,
    config,
    lines,
    sent_as_it_is,
)
from ansible_collections.unikernel.fleet.tests.support.programs import until

AFTER_THE_KILL = {
    "garbage": (config(b"no image"), "error during ELF parsing"),
    "nothing": (config(b""), "error during ELF parsing"),
    "zlib": (config(b"no zlib", compressed=True), "failed to uncompress: Invalid Zlib header"),
    "target": (config(image("", target=6)), "unsupported solo5 target Xen"),
    "tender": (config(image("", version=7)), "unexpected solo5 tender --version output"),
    "blocks": (config(image("", blocks=("data",))), "block device(s) does not match with manifest. Devices present"),
    "networks": (config(image("", networks=())), "bridge(s) does not match with the manifest"),
    "bridge": (config(networks=(NetworkUse("service", "br1"),)), "interface br1 does not exist"),
}


@pytest.mark.parametrize("what", sorted(AFTER_THE_KILL))
def test_what_is_wrong_with_the_new_one_is_found_when_the_old_one_is_dead(
    what: str, double: Albatross, client: Client
) -> None:
    new, text = AFTER_THE_KILL[what]
    client.create(HELLO, config())
    double.remove_bridge("br1")
    with pytest.raises(Refused) as refused:
        sent_as_it_is(double, HELLO, new)
    assert text in refused.value.text
    assert client.unikernel(HELLO) is None
    assert double.pids(HELLO) == []
    # The state still names the old one, so it is back after the next start.
    double.stop_daemon()
    double.start_daemon()
    assert client.unikernel(HELLO) is not None


def test_policy_and_block_devices_are_looked_at_before_the_kill(double: Albatross, client: Client) -> None:
    client.create(HELLO, config())
    (pid,) = double.pids(HELLO)
    for new, text in (
        (config(OTHER, memory_mib=99_999_999), "maximum allowed memory (24105, used 0) would be exceeded"),
        (config(OTHER, cpus=(0, 7)), "CPUids 7 are not allowed by policy"),
        (config(OTHER, networks=(NetworkUse("service", "br9"),)), "bridges br9 not allowed by policy"),
        (config(OTHER, blocks=(BlockUse("data"),)), "block device :data not found"),
    ):
        with pytest.raises(Refused) as refused:
            client.force_create(HELLO, new)
        assert text in refused.value.text
    assert double.pids(HELLO) == [pid]


def test_the_policy_of_a_restart_with_arguments_is_looked_at_after_the_kill(double: Albatross, client: Client) -> None:
    client.create(HELLO, config())
    with pytest.raises(Refused, match="maximum allowed memory"):
        client.restart(HELLO, config(memory_mib=99_999_999))
    assert client.unikernel(HELLO) is None


def test_a_bridge_made_later_is_not_known_until_the_next_start(double: Albatross, client: Client) -> None:
    double.make_bridge("br2")
    late = config(networks=(NetworkUse("service", "br2"),))
    with pytest.raises(Refused, match="bridges br2 not allowed by policy"):
        client.create(HELLO, late)
    double.stop_daemon()
    double.start_daemon()
    assert client.create(HELLO, late) == "created unikernel"


@pytest.mark.parametrize(
    ("code", "behaviour", "again"),
    [
        (0, FailBehaviour(True), True),
        (2, FailBehaviour(True), True),
        (2, FailBehaviour(), False),
        (1, FailBehaviour(True), False),
        (63, FailBehaviour(True), False),
        (2, FailBehaviour(True, (3,)), False),
        (3, FailBehaviour(True, (3,)), True),
    ],
)
def test_which_ends_start_it_again(code: int, behaviour: FailBehaviour, again: bool, client: Client) -> None:
    program = image(f"#!/bin/sh\necho up\nsleep 0.15\nexit {code}\n")
    client.create(HELLO, config(program, fail_behaviour=behaviour, add_name=False))
    if again:
        assert lines(client, count=3) == ["up"] * 3
    else:
        until(lambda: client.unikernel(HELLO) is None)
        time.sleep(0.3)
        assert lines(client) == ["up"]


def test_a_death_by_signal_never_starts_it_again(double: Albatross, client: Client) -> None:
    client.create(HELLO, config(fail_behaviour=FailBehaviour(True)))
    os.kill(double.pids(HELLO)[0], signal.SIGKILL)
    until(lambda: client.unikernel(HELLO) is None)
    time.sleep(0.2)
    assert client.unikernel(HELLO) is None


def test_one_that_does_not_know_its_name_is_started_once_more_without_it(client: Client) -> None:
    program = '#!/bin/sh\necho "got $*"\ncase $1 in --name=*) exit 64 ;; esac\nexec sleep 300\n'
    client.create(HELLO, config(image(program), arguments=("--x",)))
    until(lambda: lines(client) == ["got --name=hello --x", "got --x"])
    assert client.unikernel(HELLO) is not None


def test_no_cpu_is_a_success_and_a_unikernel_that_never_runs(double: Albatross, client: Client) -> None:
    sent_as_it_is(double, HELLO, config(cpus=()))
    until(lambda: client.unikernel(HELLO) is None)
    assert "up" not in "".join(lines(client))


def test_what_ran_comes_back_in_its_order_when_the_daemon_starts(double: Albatross, client: Client) -> None:
    for label, startup in (("late", 60), ("first", 0), ("unsaid", None)):
        client.create(Name((), label), config(startup=startup))
    double.stop_daemon()
    assert not any(double.pids(Name((), label)) for label in ("late", "first", "unsaid"))
    double.start_daemon()
    found = sorted(client.unikernels(), key=lambda entry: entry.info.started or "")
    assert [entry.name.label for entry in found] == ["first", "unsaid", "late"]
