# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A swap of the driver albatross without a gap: two labels of one unikernel, on the double."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.client import Client
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.conversation import Conversation
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.errors import AnswerLost, Refused
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import (
    Policy,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers import (
    albatross_creation as driver_module,
    albatross_cut_over,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.albatross import AlbatrossDriver
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.albatross_labels import (
    name_of,
    second_label,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.albatross_place import Places
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import DriverError, Hindered, ReleaseRefused
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import (
    AlbatrossOptions,
    BlockDevice,
    Instance,
    Network,
    Release,
    SwapMethod,
)
from ansible_collections.unikernel.fleet.tests.support.albatross.double import Albatross
from ansible_collections.unikernel.fleet.tests.support.albatross.images import image
from ansible_collections.unikernel.fleet.tests.support.albatross.tls_endpoint import SEES_CHAINS
from ansible_collections.unikernel.fleet.tests.support.albatross_node import (
    BRIDGE,
    ENDS,
    LIVES,
    NAME,
    WAYS,
    AlbatrossNode,
    over_sockets,
    over_tls,
    program,
    readable_once_created,
)
from ansible_collections.unikernel.fleet.tests.support.programs import until

SECOND = "web.fleet-2"
UP = {"console": {"must_match": ["is up"]}, "within": 5}
SLOW = "#!/bin/sh\necho version {version} begins\nsleep 0.4\necho version {version} is up\nexec sleep 300\n"
HANGS = "#!/bin/sh\necho version {version} begins\nexec sleep 300\n"


@pytest.fixture
def albatross(tmp_path: Path) -> Iterator[Albatross]:
    with Albatross(tmp_path / "albatross", bridges=(BRIDGE,), tls_port=0) as double:
        yield double


@pytest.fixture
def here(tmp_path: Path, albatross: Albatross) -> AlbatrossNode:
    return AlbatrossNode(tmp_path / "node", over_sockets(albatross))


@pytest.fixture(params=WAYS)
def node(request: pytest.FixtureRequest, tmp_path: Path, albatross: Albatross) -> AlbatrossNode:
    return AlbatrossNode(tmp_path / "node", WAYS[request.param](albatross))


def release(node: AlbatrossNode, number: int, text: str = LIVES, **configuration: Any) -> Release:
    configuration = {"swap": SwapMethod.CUT_OVER, "ready": UP, **configuration}
    return node.release(number, program(number, text), **configuration)


def running(node: AlbatrossNode) -> dict[str, str]:
    """Labels and digests of all that runs in its path."""
    found = node.place.client().unikernels(node.place.name(None))
    return {str(one.name.label): one.info.digest.hex() for one in found}


def alive(node: AlbatrossNode) -> list[tuple[int, bool]]:
    return [(one.release, one.works) for one in node.driver.inspect([NAME])[NAME] if one.alive]


class Watched:
    """What is asked of albatross, and what runs then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, node: AlbatrossNode) -> None:
        self.said: list[tuple[str, str]] = []
        self.both_ran = False
        for name in ("create", "force_create", "destroy"):
            monkeypatch.setattr(Client, name, self._around(getattr(Client, name), name, node))

    def _around(self, what: Callable[..., Any], name: str, node: AlbatrossNode) -> Callable[..., Any]:
        def done(client: Client, full: Name, *arguments: Any) -> Any:
            self.said.append((name, str(full.label)))
            self.both_ran = self.both_ran or len(running(node)) == 2
            return what(client, full, *arguments)

        return done


# --- the way of it


def test_the_new_one_comes_up_beside_the_old_one_under_the_other_label(
    node: AlbatrossNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (release(node, number) for number in (1, 2, 3))
    node.driver.swap(NAME, None, first)
    assert running(node) == {NAME: first.image.sha256}
    before = node.place.client().unikernel(node.full)
    watched = Watched(monkeypatch, node)
    node.driver.validate(NAME, second)
    instance = node.driver.swap(NAME, first, second)
    assert instance is not None and instance.works and instance.release == 2
    assert running(node) == {SECOND: second.image.sha256} and alive(node) == [(2, True)]
    assert watched.said == [("create", SECOND), ("destroy", NAME)] and watched.both_ran
    after = node.place.client().unikernel(node.place.name(SECOND))
    assert before is not None and after is not None and after.networks == before.networks
    node.driver.swap(NAME, second, third)
    assert running(node) == {NAME: third.image.sha256} and alive(node) == [(3, True)]
    assert watched.said[2:] == [("create", NAME), ("destroy", SECOND)]


def test_the_console_of_each_release_is_its_own_whatever_its_label(here: AlbatrossNode) -> None:
    releases = [release(here, number) for number in (1, 2, 3)]
    for old, new in zip([None, *releases], releases):
        here.driver.swap(NAME, old, new)
    until(lambda: "version 3 is up" in here.driver.console(NAME, 3, 10))
    assert here.driver.console(NAME, 2, 10)[-2:] != () and "version 2 is up" in here.driver.console(NAME, 2, 10)
    assert "version 1 is up" not in here.driver.console(NAME, 3, 10)


def test_the_old_one_serves_until_the_console_of_the_new_one_says_that_it_is_up(
    here: AlbatrossNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.driver.swap(NAME, None, release(here, 1))
    heard: list[tuple[str, ...]] = []
    real = Client.destroy

    def destroyed(client: Client, full: Name) -> bool:
        heard.append(tuple(line.line for line in client.console(here.place.name(SECOND), 10)))
        return real(client, full)

    monkeypatch.setattr(Client, "destroy", destroyed)
    here.driver.swap(NAME, release(here, 1), release(here, 2, SLOW))
    assert heard == [("version 2 begins", "version 2 is up")]


def test_what_an_earlier_one_said_under_that_label_is_not_taken_for_the_new_one(here: AlbatrossNode) -> None:
    first, second = release(here, 1), release(here, 2)
    here.driver.swap(NAME, None, first)
    here.driver.swap(NAME, first, second)
    hangs = release(here, 3, HANGS, ready={"console": "is up", "within": 0.5})
    with pytest.raises(DriverError, match=r"did not come up beside what runs.*not ready within 0.5 s.*3 begins"):
        here.driver.swap(NAME, second, hangs)
    assert running(here) == {SECOND: second.image.sha256}


def test_a_long_history_under_that_label_keeps_nobody_waiting(here: AlbatrossNode) -> None:
    """albatross remembers a thousand lines of each label, of all that ever ran under it."""
    talks = "#!/bin/sh\nfor n in $(seq 1500); do echo line $n; done\necho version {version} is up\nexec sleep 300\n"
    first, second, third, fourth = (release(here, number, talks) for number in (1, 2, 3, 4))
    for old, new in ((None, first), (first, second), (second, third)):
        here.driver.swap(NAME, old, new)
    until(lambda: here.driver.console(NAME, 3, 1) == ("version 3 is up",))
    here.driver.swap(NAME, third, fourth)
    assert list(running(here)) == [SECOND]


def test_a_console_that_hears_no_more_is_no_reason_to_stop_the_old_one(
    here: AlbatrossNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = release(here, 1)
    here.driver.swap(NAME, None, first)
    real = Conversation.data

    def ended(talk: Conversation, *arguments: Any) -> Any:
        real(talk, *arguments)
        return None

    monkeypatch.setattr(Conversation, "data", ended)
    with pytest.raises(DriverError, match=r"was left running: .* ended the console of :web.fleet-2"):
        here.driver.swap(NAME, first, release(here, 2))
    assert alive(here) == [(1, True)]
    # Of what ran here before, it is enough that it lives: nobody is stranded by a console.
    silent = release(here, 3, ready=None)
    here.driver.swap(NAME, first, silent)
    assert here.driver.swap(NAME, silent, first) is not None and alive(here) == [(1, True)]


def test_without_a_ready_check_it_has_to_live_for_a_moment(here: AlbatrossNode) -> None:
    first = release(here, 1, ready=None)
    here.driver.swap(NAME, None, first)
    here.driver.swap(NAME, first, release(here, 2, ready=None))
    assert list(running(here)) == [SECOND]
    with pytest.raises(DriverError, match=r"ended right after its start.*version 3 has no configuration"):
        here.driver.swap(NAME, release(here, 2, ready=None), release(here, 3, ENDS, ready=None))
    assert list(running(here)) == [SECOND] and alive(here) == [(2, True)]


@pytest.mark.parametrize("ready", [UP, None], ids=["ready", "no ready check"])
def test_a_build_that_ends_at_once_costs_the_old_one_nothing(here: AlbatrossNode, ready: Any) -> None:
    first = release(here, 1)
    started = here.driver.swap(NAME, None, first)
    with pytest.raises(DriverError, match="was left running"):
        here.driver.swap(NAME, first, release(here, 2, ENDS, ready=ready))
    back = here.driver.swap(NAME, release(here, 2, ENDS), first)
    assert started is not None and back is not None and back.identity == started.identity


def test_a_pattern_that_must_not_appear_ends_the_wait(here: AlbatrossNode) -> None:
    first = release(here, 1)
    here.driver.swap(NAME, None, first)
    ready = {"console": {"must_match": ["never"], "must_not_match": ["is up"]}, "within": 60}
    with pytest.raises(DriverError, match="waiting cannot change that"):
        here.driver.swap(NAME, first, release(here, 2, ready=ready))
    assert running(here) == {NAME: first.image.sha256}


def test_its_name_is_told_to_the_guest_under_either_label(here: AlbatrossNode) -> None:
    says = '#!/bin/sh\necho "told $*"\necho version {version} is up\nexec sleep 300\n'
    options: dict[str, Any] = {"albatross": AlbatrossOptions(add_name=True), "arguments": ("--a",)}
    first, second = release(here, 1, says, **options), release(here, 2, says, **options)
    here.driver.swap(NAME, None, first)
    here.driver.swap(NAME, first, second)
    assert list(running(here)) == [SECOND]
    for number in (1, 2):
        until(lambda number=number: "told --name=web --a" in here.driver.console(NAME, number, 10))  # type: ignore[misc]
    assert alive(here) == [(2, True)]
    again = here.driver.swap(NAME, second, second)
    assert again is not None and again.release == 2


def test_stop_start_replaces_it_under_the_label_that_it_has(
    here: AlbatrossNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = release(here, 1), release(here, 2)
    here.driver.swap(NAME, None, first)
    here.driver.swap(NAME, first, second)
    watched = Watched(monkeypatch, here)
    third = release(here, 3, swap=SwapMethod.STOP_START, ready=None)
    here.driver.swap(NAME, second, third)
    assert watched.said == [("force_create", SECOND)] and alive(here) == [(3, True)]
    here.driver.swap(NAME, third, None)
    assert running(here) == {}
    here.driver.swap(NAME, None, third)
    assert list(running(here)) == [NAME]


def test_auto_cuts_over_where_the_console_says_when_it_is_up(
    here: AlbatrossNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = release(here, 1, swap=SwapMethod.AUTO)
    second = release(here, 2, swap=SwapMethod.AUTO)
    here.driver.swap(NAME, None, first)
    watched = Watched(monkeypatch, here)
    here.driver.swap(NAME, first, second)
    assert watched.said == [("create", SECOND), ("destroy", NAME)]


@pytest.mark.parametrize("ready", [None, {"http": "http://192.0.2.10/"}], ids=["none", "http"])
def test_auto_is_stop_start_elsewhere_and_goes_back_as_it_came(
    here: AlbatrossNode, monkeypatch: pytest.MonkeyPatch, ready: Any
) -> None:
    first, second = (release(here, number, swap=SwapMethod.AUTO, ready=ready) for number in (1, 2))
    here.driver.swap(NAME, None, first)
    watched = Watched(monkeypatch, here)
    here.driver.validate(NAME, second)
    here.driver.swap(NAME, first, second)
    assert watched.said == [("force_create", NAME)]
    third = release(here, 3)
    here.driver.swap(NAME, second, third)
    here.driver.swap(NAME, third, replace(second, configuration=replace(second.configuration, ready=None)))
    assert watched.said[1:] == [("create", SECOND), ("destroy", NAME), ("create", NAME), ("destroy", SECOND)]


def test_auto_takes_the_other_way_where_there_is_no_room(here: AlbatrossNode, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (release(here, n, swap=SwapMethod.AUTO, memory_mib=20_000) for n in (1, 2))
    here.driver.swap(NAME, None, first)
    watched = Watched(monkeypatch, here)
    here.driver.validate(NAME, second)
    here.driver.swap(NAME, first, second)
    assert watched.said == [("force_create", NAME)]


def test_a_console_check_that_is_none_is_refused(here: AlbatrossNode) -> None:
    with pytest.raises(ReleaseRefused, match=r"its ready check cannot be made: .*no regular expression"):
        here.driver.validate(NAME, release(here, 1, swap=SwapMethod.AUTO, ready={"console": "("}))


def test_going_back_does_not_hang_on_a_ready_check(here: AlbatrossNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the first release it was never made, so it may be wrong."""
    monkeypatch.setattr(albatross_cut_over, "KNOWN_WITHIN_S", 0.3)
    first, second = release(here, 1, ready={"console": "never said"}), release(here, 2)
    here.driver.swap(NAME, None, first)
    here.driver.swap(NAME, first, second)
    back = here.driver.swap(NAME, second, first)
    assert back is not None and back.works and running(here) == {NAME: first.image.sha256}


# --- what is refused before anything is stopped


def refused(node: AlbatrossNode, first: Release, second: Release) -> str:
    node.driver.swap(NAME, None, first)
    before = running(node)
    with pytest.raises(ReleaseRefused) as refusal:
        node.driver.validate(NAME, second)
    assert running(node) == before and "Nothing was stopped or started" in str(refusal.value)
    return str(refusal.value)


def test_a_ready_check_that_both_could_answer_is_refused(here: AlbatrossNode) -> None:
    said = refused(here, release(here, 1), release(here, 2, ready={"http": "http://192.0.2.10/"}))
    assert "swap: cut_over is not possible" in said and "nothing tells which of them answered" in said
    with pytest.raises(ReleaseRefused, match="names nothing that must appear"):
        here.driver.validate(NAME, release(here, 3, ready={"console": {"must_not_match": ["error"]}}))


def test_addresses_that_would_be_duplicates_are_refused(here: AlbatrossNode) -> None:
    """What boots with IPv6 asks first whether somebody has its address, and the old one would say so."""
    said = refused(here, release(here, 1), release(here, 2, arguments=("--ipv6=2001:db8::1/64",)))
    assert "take for a duplicate" in said
    networks = (Network("service", BRIDGE, addresses=("192.0.2.1/24", "2001:db8::1/64")),)
    with pytest.raises(ReleaseRefused, match="take for a duplicate"):
        here.driver.validate(NAME, release(here, 3, networks=networks))


def test_a_name_that_is_too_long_for_a_second_label_is_refused(tmp_path: Path, albatross: Albatross) -> None:
    node = AlbatrossNode(tmp_path / "node", over_sockets(albatross))
    name = "a" * 56
    assert second_label(name) is None and second_label("a" * 55) == "a" * 55 + ".fleet-2"
    driver = AlbatrossDriver(node.layout, node.store, Places(node.layout, {name: node.place}))
    driver.swap(name, None, release(node, 1))
    with pytest.raises(ReleaseRefused, match="too long for a second label"):
        driver.validate(name, release(node, 2))
    driver.swap(name, release(node, 1), release(node, 2))
    assert list(running(node)) == [name]


def test_two_never_have_one_block_device(here: AlbatrossNode, monkeypatch: pytest.MonkeyPatch) -> None:
    here.place.client().add_block(here.place.name("data"), 1)
    devices: dict[str, Any] = {"networks": (), "block_devices": (BlockDevice("storage", path="data"),)}

    def with_disk(number: int, **more: Any) -> Release:
        octets = image(LIVES.format(version=number), networks=(), blocks=("storage",))
        return here.release(number, octets, ready=UP, **{"swap": SwapMethod.CUT_OVER, **devices, **more})

    said = refused(here, with_disk(1), with_disk(2))
    assert "the one that runs uses data as well" in said
    watched = Watched(monkeypatch, here)
    here.driver.swap(NAME, with_disk(1), with_disk(2))  # as a transaction that goes back does
    assert watched.said == [("force_create", NAME)] and alive(here) == [(2, True)]


@pytest.mark.skipif(not SEES_CHAINS, reason="before Python 3.10 the double's endpoint sees no tenants")
@pytest.mark.parametrize(
    "policy, words",
    [
        (Policy((0,), 1, 1000, (BRIDGE,), None), "the policy of its path allows 1 unikernels, and 1 others run"),
        (Policy((0,), 2, 48, (BRIDGE,), None), "the policy of its path allows 48 MiB of memory, 32 MiB are used"),
    ],
    ids=["count", "memory"],
)
def test_a_policy_without_room_for_both_is_found_out_first(
    tmp_path: Path, albatross: Albatross, policy: Policy, words: str
) -> None:
    node = AlbatrossNode(tmp_path / "node", over_tls(albatross, "dev", albatross.tenant("dev", policy)))
    first, second = release(node, 1), release(node, 2)
    said = refused(node, first, second)
    assert "beside the one that runs, " + words in said
    # A trial that has to go back does so without that room.
    instance = node.driver.swap(NAME, first, second)
    assert instance is not None and instance.works and running(node) == {NAME: second.image.sha256}


@pytest.mark.skipif(not SEES_CHAINS, reason="before Python 3.10 the double's endpoint sees no tenants")
def test_a_tenant_with_room_for_two_cuts_over(tmp_path: Path, albatross: Albatross) -> None:
    tenant = albatross.tenant("dev", Policy((0,), 2, 64, (BRIDGE,), None))
    node = AlbatrossNode(tmp_path / "node", over_tls(albatross, "dev", tenant))
    first, second = release(node, 1), release(node, 2)
    node.driver.swap(NAME, None, first)
    node.driver.validate(NAME, second)
    node.driver.swap(NAME, first, second)
    assert running(node) == {SECOND: second.image.sha256}


# --- answers that are lost, refusals that come late


@pytest.mark.parametrize("carried_out", [True, False])
def test_the_lost_answer_to_a_creation_is_made_good_by_what_runs(
    here: AlbatrossNode, monkeypatch: pytest.MonkeyPatch, carried_out: bool
) -> None:
    monkeypatch.setattr(driver_module, "SETTLES_WITHIN_S", 0.3)
    first, second = release(here, 1), release(here, 2)
    here.driver.swap(NAME, None, first)
    real = Client.create

    def unanswered(*arguments: Any) -> str:
        if carried_out:
            real(*arguments)
        raise AnswerLost("the connection broke")

    monkeypatch.setattr(Client, "create", unanswered)
    if carried_out:
        here.driver.swap(NAME, first, second)
        assert running(here) == {SECOND: second.image.sha256}
    else:
        with pytest.raises(DriverError, match="nothing runs under its name"):
            here.driver.swap(NAME, first, second)
        assert running(here) == {NAME: first.image.sha256} and alive(here) == [(1, True)]


def test_a_lost_answer_to_the_last_destroy_is_made_good_by_what_runs(
    here: AlbatrossNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = release(here, 1), release(here, 2)
    here.driver.swap(NAME, None, first)
    real = Client.destroy

    def unanswered(*arguments: Any) -> bool:
        real(*arguments)
        raise AnswerLost("the connection broke")

    monkeypatch.setattr(Client, "destroy", unanswered)
    here.driver.swap(NAME, first, second)
    assert running(here) == {SECOND: second.image.sha256}


def test_a_creation_that_is_carried_out_late_is_seen_and_put_right(
    here: AlbatrossNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After it was given up, and all that was known of it was removed."""
    monkeypatch.setattr(driver_module, "SETTLES_WITHIN_S", 0.2)
    first, second = release(here, 1), release(here, 2)
    here.driver.swap(NAME, None, first)
    late: list[tuple[Any, ...]] = []
    real = Client.create

    def unanswered(*arguments: Any) -> str:
        late.append(arguments)
        raise AnswerLost("the connection broke")

    monkeypatch.setattr(Client, "create", unanswered)
    with pytest.raises(DriverError, match="its answer was lost"):
        here.driver.swap(NAME, first, second)
    monkeypatch.setattr(Client, "create", real)
    here.driver.discard(NAME, 2)
    real(*late[0])
    found = [one for one in here.driver.inspect([NAME])[NAME] if one.alive]
    assert [one.works for one in found] == [False] and found[0].altered is not None
    assert "beside it, :web.fleet-2 runs on albatross" in found[0].altered
    here.driver.swap(NAME, first, first)
    assert running(here) == {NAME: first.image.sha256} and alive(here) == [(1, True)]


def test_a_key_that_becomes_readable_in_the_middle_is_told_as_what_it_leaves(
    tmp_path: Path, albatross: Albatross, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = AlbatrossNode(tmp_path / "node", over_tls(albatross))
    first, second = release(node, 1), release(node, 2)
    node.driver.swap(NAME, None, first)
    key = readable_once_created(node, monkeypatch)
    with pytest.raises(Hindered, match=r"both run now.*what was asked before stays carried out.*chmod 600"):
        node.driver.swap(NAME, first, second)
    key.chmod(0o600)
    assert running(node) == {NAME: first.image.sha256, SECOND: second.image.sha256}
    node.driver.swap(NAME, second, first)
    assert running(node) == {NAME: first.image.sha256}


def test_a_refusal_leaves_the_old_one_running(here: AlbatrossNode, monkeypatch: pytest.MonkeyPatch) -> None:
    first = release(here, 1)
    here.driver.swap(NAME, None, first)

    def refuses(*arguments: Any) -> str:
        raise Refused("albatross refused it: no", "no")

    monkeypatch.setattr(Client, "create", refuses)
    with pytest.raises(DriverError, match="What ran before still runs"):
        here.driver.swap(NAME, first, release(here, 2))
    assert alive(here) == [(1, True)]


# --- both run, since whoever worked on it died


def died_between(node: AlbatrossNode, monkeypatch: pytest.MonkeyPatch, first: Release, second: Release) -> None:
    """After the creation, before the old one was destroyed."""

    class Death(Exception):
        """Of who works on it."""

    def dies(*arguments: Any) -> bool:
        raise Death

    node.driver.swap(NAME, None, first)
    with monkeypatch.context() as patched:
        patched.setattr(Client, "destroy", dies)
        with pytest.raises(Death):
            node.driver.swap(NAME, first, second)
    assert sorted(running(node)) == [NAME, SECOND]
    assert sorted(alive(node)) == [(1, True), (2, True)]


@pytest.mark.parametrize("direction", ["on", "back"])
def test_a_swap_that_is_repeated_ends_with_exactly_one(
    here: AlbatrossNode, monkeypatch: pytest.MonkeyPatch, direction: str
) -> None:
    first, second = release(here, 1), release(here, 2)
    died_between(here, monkeypatch, first, second)
    watched = Watched(monkeypatch, here)
    if direction == "on":
        here.driver.swap(NAME, first, second)
        assert alive(here) == [(2, True)] and watched.said == [("destroy", NAME)]
    else:
        here.driver.swap(NAME, second, first)
        assert alive(here) == [(1, True)] and watched.said == [("destroy", SECOND)]
    assert len(running(here)) == 1


def test_another_release_takes_the_place_of_both(here: AlbatrossNode, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = (release(here, number) for number in (1, 2, 3))
    died_between(here, monkeypatch, first, second)
    watched = Watched(monkeypatch, here)
    here.driver.swap(NAME, first, third)
    assert watched.said == [("destroy", SECOND), ("create", SECOND), ("destroy", NAME)]
    assert running(here) == {SECOND: third.image.sha256} and alive(here) == [(3, True)]


def test_each_of_both_can_be_stopped_alone_and_all_together(
    here: AlbatrossNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = release(here, 1), release(here, 2)
    died_between(here, monkeypatch, first, second)
    here.driver.stop(NAME, 2)
    assert alive(here) == [(1, True)]
    here.driver.discard(NAME, 2)
    here.driver.swap(NAME, first, second)
    with pytest.raises(DriverError, match="runs on the path"):
        here.driver.discard(NAME, 2)
    here.driver.swap(NAME, second, None)
    assert running(here) == {} and alive(here) == []


# --- others, and what is lost


def test_somebody_who_starts_the_name_beside_it_is_drift_and_is_put_right(here: AlbatrossNode) -> None:
    """To whom looks at albatross, nothing runs under the name."""
    first, second = release(here, 1), release(here, 2)
    here.driver.swap(NAME, None, first)
    here.driver.swap(NAME, first, second)
    here.driver.discard(NAME, 1)
    foreign = program(9)
    here.create_by_hand(foreign)
    found = [one for one in here.driver.inspect([NAME])[NAME] if one.alive]
    assert [(one.release, one.works) for one in found] == [(2, False)]
    assert found[0].altered is not None and ":web runs on albatross" in found[0].altered
    here.driver.swap(NAME, second, second)
    assert running(here) == {SECOND: second.image.sha256} and alive(here) == [(2, True)]
    assert here.store.holds(here.image(foreign).sha256)


def test_a_change_behind_our_back_is_seen_under_either_label(here: AlbatrossNode) -> None:
    first, second = release(here, 1), release(here, 2)
    here.driver.swap(NAME, None, first)
    here.driver.swap(NAME, first, second)
    here.create_by_hand(program(9), SECOND)
    found: list[Instance] = [one for one in here.driver.inspect([NAME])[NAME] if one.alive]
    assert [one.release for one in found] == [2] and found[0].altered is not None
    assert "its image is" in found[0].altered
    here.driver.swap(NAME, second, second)
    assert len(running(here)) == 1 and alive(here) == [(2, True)]


def test_what_somebody_runs_under_the_second_label_is_drift_before_it_is_destroyed(here: AlbatrossNode) -> None:
    first = release(here, 1)
    here.driver.swap(NAME, None, first)
    here.create_by_hand(program(9), SECOND)
    (found,) = here.driver.inspect([NAME])[NAME]
    assert found.altered is not None and SECOND in found.altered
    here.driver.swap(NAME, first, first)
    (found,) = here.driver.inspect([NAME])[NAME]
    assert list(running(here)) == [NAME] and found.altered is None


def test_where_all_that_was_known_is_lost_it_is_adopted_under_its_second_label(here: AlbatrossNode) -> None:
    options: dict[str, Any] = {"albatross": AlbatrossOptions(add_name=True), "arguments": ("--a",)}
    first, second = release(here, 1, **options), release(here, 2, **options)
    here.driver.swap(NAME, None, first)
    here.driver.swap(NAME, first, second)
    recorded = here.driver.fetch_image(NAME, 7)
    assert recorded is not None and recorded[0] == second
    shutil.rmtree(here.layout.unikernel(NAME))
    adopted = here.driver.fetch_image(NAME, 1)
    assert adopted is not None and adopted[0].image == second.image
    assert adopted[0].configuration.arguments == ("--a",) and adopted[0].configuration.albatross.add_name
    assert alive(here) == [(1, True)]
    again = replace(second, number=2, configuration=replace(second.configuration, memory_mib=48))
    here.driver.swap(NAME, adopted[0], again)
    assert list(running(here)) == [NAME] and alive(here) == [(2, True)]


def test_a_second_label_is_no_name_for_a_unikernel(tmp_path: Path, albatross: Albatross) -> None:
    node = AlbatrossNode(tmp_path / "node", over_sockets(albatross))
    driver = AlbatrossDriver(node.layout, node.store, Places(node.layout, {SECOND: node.place}))
    node.create_by_hand(program(9), SECOND)
    assert driver.discovered(SECOND, 1) is None and driver.fetch_image(SECOND, 1) is None
    with pytest.raises(ReleaseRefused, match="kept for the second label of web; call it otherwise"):
        driver.validate(SECOND, release(node, 1))


def test_whose_label_it_is() -> None:
    assert [name_of(label) for label in ("web", "web.fleet-2", ".fleet-2", "WEB.FLEET-2")] == [
        "web",
        "web",
        ".fleet-2",
        "WEB",
    ]
