# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The driver albatross on the double, over its Unix sockets and over TLS."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import (
    BlockUse,
    FailBehaviour,
    Generation,
    Policy,
    UnikernelConfig,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers import albatross_creation as driver_module
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.albatross import AlbatrossDriver
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.albatross_place import Place, Places
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.albatross_records import Created, Records
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import DriverError, Hindered, ReleaseRefused
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import (
    Abi,
    AlbatrossOptions,
    BlockDevice,
    Instance,
    Network,
    RestartPolicy,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.mac import derived_mac
from ansible_collections.unikernel.fleet.tests.support.albatross.double import Albatross
from ansible_collections.unikernel.fleet.tests.support.albatross.images import SPT, image
from ansible_collections.unikernel.fleet.tests.support.albatross.tls_endpoint import SEES_CHAINS
from ansible_collections.unikernel.fleet.tests.support.albatross_node import (
    BRIDGE,
    ENDS,
    LIVES,
    NAME,
    NETWORKS,
    RESTARTS,
    WAYS,
    AlbatrossNode,
    over_sockets,
    over_tls,
    program,
)
from ansible_collections.unikernel.fleet.tests.support.programs import until


@pytest.fixture
def albatross(tmp_path: Path) -> Iterator[Albatross]:
    with Albatross(tmp_path / "albatross", bridges=(BRIDGE, "br-other"), tls_port=0) as double:
        yield double


@pytest.fixture(params=WAYS)
def node(request: pytest.FixtureRequest, tmp_path: Path, albatross: Albatross) -> AlbatrossNode:
    return AlbatrossNode(tmp_path / "node", WAYS[request.param](albatross))


@pytest.fixture
def here(tmp_path: Path, albatross: Albatross) -> AlbatrossNode:
    return AlbatrossNode(tmp_path / "node", over_sockets(albatross))


def alive(node: AlbatrossNode) -> list[Instance]:
    return [one for one in node.driver.inspect([NAME])[NAME] if one.alive]


def test_a_release_is_started_replaced_and_stopped(node: AlbatrossNode) -> None:
    first, second = node.release(1), node.release(2, memory_mib=48, arguments=("--b=2",), secret_arguments=("--key=x",))
    node.driver.validate(NAME, first)
    started = node.driver.swap(NAME, None, first)
    assert started is not None and started.alive and started.works and started.release == 1
    replaced = node.driver.swap(NAME, first, second)
    assert replaced is not None and replaced.works and replaced.identity != started.identity
    assert [one.release for one in alive(node)] == [2]
    info = node.place.client().unikernel(node.full)
    assert info is not None
    assert (info.memory_mib, info.arguments, info.digest.hex()) == (48, ("--b=2", "--key=x"), second.image.sha256)
    assert node.driver.swap(NAME, second, None) is None
    assert node.runs() is None and alive(node) == []


def test_everything_of_a_configuration_reaches_the_server(here: AlbatrossNode) -> None:
    client = here.place.client()
    client.add_block(here.place.name("data"), 1)
    octets = image(LIVES.format(version=1), networks=("service", "management"), blocks=("storage",))
    release = here.release(
        1,
        octets,
        cpus=(1, 0),
        networks=(Network("service", BRIDGE, "02:00:00:00:00:01"), Network("management", "br-other")),
        block_devices=(BlockDevice("storage", path="data"),),
        restart=RestartPolicy.ON_FAILURE,
        start_order=7,
        albatross=AlbatrossOptions(add_name=True),
    )
    here.driver.validate(NAME, release)
    here.driver.swap(NAME, None, release)
    info = client.unikernel(here.full)
    assert info is not None
    assert info.cpus == (0, 1) and info.startup == 7 and info.fail_behaviour.restart
    assert 0 not in info.fail_behaviour.codes and 2 in info.fail_behaviour.codes
    assert {(n.guest_device, n.bridge, n.mac) for n in info.networks} == {
        ("service", BRIDGE, "02:00:00:00:00:01"),
        ("management", "br-other", derived_mac("management", NAME)),
    }
    assert [(b.guest_device, b.host_device) for b in info.blocks] == [("storage", "data")]
    assert alive(here)[0].works


def test_what_runs_alike_is_left_running_and_counts_as_the_new_release(node: AlbatrossNode) -> None:
    first = node.release(1, arguments=("--a", "--key=secret"))
    started = node.driver.swap(NAME, None, first)
    other_words = node.release(2, program(1), arguments=("--a",), secret_arguments=("--key=secret",))
    again = node.driver.swap(NAME, first, other_words)
    assert started is not None and again is not None
    assert again.identity == started.identity and again.release == 2
    assert [one.release for one in alive(node)] == [2]


# --- what is refused before anything is stopped


def refused(node: AlbatrossNode, octets: bytes = b"", **configuration: object) -> str:
    """Also asked for by force: it is the same words that a transaction refuses with."""
    node.driver.swap(NAME, None, node.release(1))
    before = alive(node)[0].identity
    with pytest.raises(ReleaseRefused) as refusal:
        node.driver.validate(NAME, node.release(2, octets or program(2), **configuration))
    assert alive(node)[0].identity == before
    assert "Nothing was stopped or started" in str(refusal.value)
    return str(refusal.value)


def test_an_image_that_is_none_is_refused(node: AlbatrossNode) -> None:
    assert "no Solo5 image" in refused(node, b"#!/bin/sh\nexec sleep 300\n")


def test_an_image_for_another_target_is_refused(here: AlbatrossNode) -> None:
    assert "target virtio" in refused(here, image(LIVES, target=3))


def test_an_image_with_other_devices_is_refused(node: AlbatrossNode) -> None:
    said = refused(node, image(LIVES, networks=("service", "second"), blocks=("storage",)))
    assert "wants the network 'second'" in said and "wants the block device 'storage'" in said


def test_an_image_that_is_not_what_its_build_says_is_refused(here: AlbatrossNode) -> None:
    release = replace(here.release(1, image(LIVES, target=SPT)), abi=Abi("hvt", 2))
    with pytest.raises(ReleaseRefused, match="its build says hvt"):
        here.driver.validate(NAME, release)


def test_a_bridge_that_albatross_does_not_know_is_refused(node: AlbatrossNode, albatross: Albatross) -> None:
    albatross.make_bridge("br-later")
    said = refused(node, networks=(Network("service", "br-later"),))
    assert "does not know the bridge br-later; it knows br-alb, br-other" in said
    assert "existed when albatrossd was started" in said


def test_a_cpu_that_is_not_there_is_refused(node: AlbatrossNode) -> None:
    assert "does not offer the CPUs 7 (it offers 0, 1; see cpus)" in refused(node, cpus=(0, 7))


def test_memory_that_is_not_there_is_refused(node: AlbatrossNode) -> None:
    assert "it needs 30000 MiB" in refused(node, memory_mib=30000)


def test_block_devices_that_are_missing_or_in_use_are_refused(here: AlbatrossNode) -> None:
    octets = image(LIVES.format(version=1), networks=(), blocks=("storage",))
    assert "there is no block device :data" in refused(
        here, octets, networks=(), block_devices=(BlockDevice("storage", path="data"),)
    )
    client = here.place.client()
    client.add_block(here.place.name("data"), 1)
    client.create(here.place.name("other"), UnikernelConfig(blocks=(BlockUse("storage", "data"),), image=octets))
    with pytest.raises(ReleaseRefused, match="block device :data is used by :other"):
        here.driver.validate(
            NAME, here.release(2, octets, networks=(), block_devices=(BlockDevice("storage", path="data"),))
        )


def test_what_albatross_has_no_words_for_is_refused(here: AlbatrossNode) -> None:
    said = refused(here, environment={"A": "b"}, working_directory="/tmp")
    assert "an environment was declared" in said and "a working directory was declared" in said


@pytest.mark.skipif(not SEES_CHAINS, reason="before Python 3.10 the double's endpoint sees no tenants")
def test_the_policy_of_a_tenant_is_looked_at_first(tmp_path: Path, albatross: Albatross) -> None:
    tenant = albatross.tenant("dev", Policy((0,), 1, 64, (BRIDGE,), None))
    node = AlbatrossNode(tmp_path / "node", over_tls(albatross, "dev", tenant))
    first = node.release(1)
    node.driver.validate(NAME, first)
    node.driver.swap(NAME, None, first)
    for configuration, words in (
        ({"memory_mib": 65}, "the policy of its path allows 64 MiB of memory, 0 MiB are used by others"),
        ({"cpus": (1,)}, "the policy of its path does not offer the CPUs 1"),
        ({"networks": (Network("service", "br-other"),)}, "the policy of its path does not know the bridge br-other"),
    ):
        with pytest.raises(ReleaseRefused, match=words):
            node.driver.validate(NAME, node.release(2, **configuration))  # type: ignore[arg-type]
    # It does not stand in its own way, and another one does.
    node.driver.validate(NAME, node.release(2))
    other = AlbatrossDriver(node.layout, node.store, Places(node.layout, {"shop": node.place}))
    with pytest.raises(ReleaseRefused, match="allows 1 unikernels, and 1 others run"):
        other.validate("shop", node.release(1))
    assert alive(node)[0].works


# --- the console daemon, without which albatrossd kills and starts nothing


def test_a_console_daemon_that_is_gone_is_found_out_before_the_kill(node: AlbatrossNode, albatross: Albatross) -> None:
    first, second = node.release(1), node.release(2)
    node.driver.swap(NAME, None, first)
    before = alive(node)[0].identity
    albatross.kill_console()
    with pytest.raises(ReleaseRefused, match=r"console daemon does not answer.*restart albatross-console first"):
        node.driver.validate(NAME, second)
    with pytest.raises(Hindered, match=r"console daemon does not answer.*What ran before still runs"):
        node.driver.swap(NAME, first, second)
    assert alive(node)[0].identity == before


def test_a_console_daemon_that_albatrossd_has_lost_is_found_out_before_the_kill(
    node: AlbatrossNode, albatross: Albatross
) -> None:
    first, second = node.release(1), node.release(2)
    node.driver.swap(NAME, None, first)
    before = alive(node)[0].identity
    albatross.kill_console()
    albatross.start_console()
    with pytest.raises(ReleaseRefused, match="has never heard of :web, which runs"):
        node.driver.validate(NAME, second)
    with pytest.raises(Hindered, match=r"has never heard of :web.*What ran before still runs"):
        node.driver.swap(NAME, first, second)
    assert alive(node)[0].identity == before
    albatross.stop_daemon()
    albatross.start_daemon()
    node.driver.validate(NAME, second)
    swapped = node.driver.swap(NAME, first, second)
    assert swapped is not None and swapped.works


def test_without_its_console_daemon_nothing_is_deployed_for_the_first_time(
    node: AlbatrossNode, albatross: Albatross
) -> None:
    albatross.kill_console()
    with pytest.raises(ReleaseRefused, match="console daemon does not answer"):
        node.driver.validate(NAME, node.release(1))


def test_a_console_daemon_that_is_younger_than_albatrossd_is_found_out_by_their_processes(tmp_path: Path) -> None:
    with Albatross(tmp_path / "albatross", bridges=(BRIDGE,), own_processes=True) as albatross:
        here = AlbatrossNode(tmp_path / "node", over_sockets(albatross))
        release = here.release(1)
        here.driver.validate(NAME, release)
        albatross.kill_console()
        albatross.start_console()
        with pytest.raises(ReleaseRefused, match="console daemon was started later than albatrossd"):
            here.driver.validate(NAME, release)
        albatross.stop_daemon()
        albatross.start_daemon()
        here.driver.validate(NAME, release)


@pytest.mark.parametrize("asked", [over_sockets, over_tls])
def test_an_old_albatross_that_does_not_know_the_question_is_not_refused(
    tmp_path: Path, asked: Callable[[Albatross], Place]
) -> None:
    with Albatross(tmp_path / "a", bridges=(BRIDGE,), tls_port=0, generation=Generation.V2_5) as albatross:
        node = AlbatrossNode(tmp_path / "node", replace(asked(albatross), generation=Generation.V2_5))
        first = node.release(1)
        node.driver.validate(NAME, first)
        node.driver.swap(NAME, None, first)
        node.driver.validate(NAME, node.release(2))


def test_a_start_that_fails_for_the_console_daemon_says_what_to_do(node: AlbatrossNode, albatross: Albatross) -> None:
    albatross.kill_console()
    with pytest.raises(Hindered, match=r"console failed. albatrossd has lost its console daemon") as failed:
        node.driver.swap(NAME, None, node.release(1))
    assert "What ran before" not in str(failed.value)
    assert "restart albatross-console first, then albatrossd" in str(failed.value)


# --- what albatross does not say


def test_a_guest_that_ends_right_after_its_start_is_no_success(node: AlbatrossNode) -> None:
    """albatross answers that it was created, sometimes before and sometimes after its end."""
    try:
        node.driver.swap(NAME, None, node.release(1, program(1, ENDS)))
    except DriverError as error:
        assert "ended right after its start" in str(error)
        assert "last words: version 1 has no configuration" in str(error)
    until(lambda: not alive(node))
    instance = node.driver.inspect([NAME])[NAME][0]
    assert not instance.alive and instance.exit is not None
    assert "does not tell how it ended; its last words: version 1 has no configuration" in instance.exit.meaning
    assert node.driver.console(NAME, 1, 10)[-1] == "version 1 has no configuration"


def test_the_console_of_a_release_holds_what_it_said_itself(node: AlbatrossNode) -> None:
    first, second = node.release(1), node.release(2)
    node.driver.swap(NAME, None, first)
    until(lambda: "version 1 is up" in node.driver.console(NAME, 1, 10))
    node.driver.swap(NAME, first, second)
    until(lambda: "version 2 is up" in node.driver.console(NAME, 2, 10))
    assert "version 1 is up" not in node.driver.console(NAME, 2, 10)
    assert "version 2 is up" not in node.driver.console(NAME, 1, 10)


def test_a_restart_behind_our_back_is_another_identity(here: AlbatrossNode) -> None:
    first = here.driver.swap(NAME, None, here.release(1))
    here.place.client().restart(here.full)
    again = alive(here)[0]
    assert first is not None and again.works and again.identity != first.identity and again.restarts == 1


def test_a_guest_that_albatross_restarts_over_and_over_is_seen(here: AlbatrossNode) -> None:
    first = here.driver.swap(NAME, None, here.release(1, program(1, RESTARTS), restart=RestartPolicy.ALWAYS))
    assert first is not None
    until(lambda: [one.restarts for one in alive(here)] == [1])


def test_another_image_behind_our_back_is_drift(node: AlbatrossNode) -> None:
    node.driver.swap(NAME, None, node.release(1))
    node.create_by_hand(program(9))
    found = alive(node)[0]
    assert found.release == 1 and not found.works and found.altered is not None
    assert "somebody else changed it on albatross" in found.altered and "its image is" in found.altered


def test_another_configuration_behind_our_back_is_drift_and_arguments_are_not_shown(node: AlbatrossNode) -> None:
    node.driver.swap(NAME, None, node.release(1, secret_arguments=("--key=secret",)))
    node.create_by_hand(program(1), memory_mib=99, arguments=("--key=changed",))
    altered = alive(node)[0].altered
    assert altered is not None and "its memory: 99 MiB instead of 32 MiB; its arguments are others" in altered
    assert "secret" not in altered and "changed" not in altered.replace("somebody else changed", "")


def test_what_somebody_else_put_there_can_be_gone_back_to(node: AlbatrossNode) -> None:
    """Its image is fetched before it is killed."""
    first = node.release(1)
    node.driver.swap(NAME, None, first)
    foreign = program(9)
    node.create_by_hand(foreign)
    node.driver.swap(NAME, first, first)
    assert node.runs() == first.image.sha256
    assert node.store.holds(hashlib.sha256(foreign).hexdigest())


def test_destroyed_by_others_is_an_end_and_stopping_it_again_is_no_error(node: AlbatrossNode) -> None:
    node.driver.swap(NAME, None, node.release(1))
    node.place.client().destroy(node.full)
    assert alive(node) == []
    node.driver.stop(NAME, 1)
    node.driver.swap(NAME, node.release(1), None)
    node.driver.discard(NAME, 1)
    assert node.driver.inspect([NAME])[NAME] == ()


def test_a_living_instance_is_not_discarded(here: AlbatrossNode) -> None:
    here.driver.swap(NAME, None, here.release(1))
    with pytest.raises(DriverError, match="runs on the path"):
        here.driver.discard(NAME, 1)
    assert alive(here)[0].works


def test_a_refusal_after_the_kill_says_so(here: AlbatrossNode, albatross: Albatross) -> None:
    """A bridge that is gone since albatross was started: the double runs where its interfaces are not ours."""
    first = here.release(1)
    here.driver.swap(NAME, None, first)
    albatross.remove_bridge("br-other")
    with pytest.raises(DriverError, match=r"br-other does not exist.*What ran before was killed"):
        here.driver.swap(NAME, first, here.release(2, networks=(Network("service", "br-other"),)))
    assert alive(here) == []
    back = here.driver.swap(NAME, here.release(2), first)
    assert back is not None and back.works


# --- lost answers


def test_the_answer_that_albatross_never_gives_is_made_good_by_what_runs(here: AlbatrossNode) -> None:
    """Of two force creates at once it answers only the second."""
    slow = "#!/bin/sh\ntrap 'sleep 0.6; exit 0' TERM\necho up\nwhile :; do sleep 0.05; done\n"
    here.driver.swap(NAME, None, here.release(1, program(1, slow)))
    until(lambda: "up" in here.driver.console(NAME, 1, 5))
    impatient = AlbatrossNode(here.layout.root, replace(here.place, timeout_s=1.5))
    release = here.release(2)
    thread = threading.Thread(target=lambda: (time.sleep(0.2), here.create_by_hand(program(2), memory_mib=32)))
    thread.start()
    instance = impatient.driver.swap(NAME, None, release)
    thread.join()
    assert instance is not None and instance.works and instance.release == 2


def test_when_nothing_came_of_it_that_is_said_after_a_bounded_time(
    here: AlbatrossNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver_module, "SETTLES_WITHIN_S", 0.5)
    stubborn = "#!/bin/sh\ntrap '' TERM\necho up\nwhile :; do sleep 0.05; done\n"
    first = here.release(1, program(1, stubborn))
    here.driver.swap(NAME, None, first)
    until(lambda: "up" in here.driver.console(NAME, 1, 5))
    impatient = AlbatrossNode(here.layout.root, replace(here.place, timeout_s=0.5))
    begun = time.monotonic()
    with pytest.raises(DriverError, match="its answer was lost"):
        impatient.driver.swap(NAME, first, here.release(2))
    assert time.monotonic() - begun < 5


def test_a_silent_albatross_is_an_error_and_not_an_empty_one(here: AlbatrossNode, albatross: Albatross) -> None:
    here.driver.swap(NAME, None, here.release(1))
    albatross.kill_daemon()
    with pytest.raises(DriverError, match=r"Start albatross|no such socket"):
        here.driver.inspect([NAME])


# --- what is on the disk


def test_a_record_that_cannot_be_read_is_not_guessed(here: AlbatrossNode) -> None:
    here.driver.swap(NAME, None, here.release(1))
    (here.layout.instance(NAME, 1) / "created.json").write_text("{", encoding="ascii")
    with pytest.raises(DriverError, match="cannot be read"):
        here.driver.inspect([NAME])


def test_a_start_that_nobody_wrote_down_is_recognised(here: AlbatrossNode) -> None:
    """As after a kill between the request and the note of its answer."""
    first, second = here.release(1), here.release(2)
    here.driver.swap(NAME, None, first)
    before = here.written(1)["started"]
    here.driver.swap(NAME, first, second)
    records = Records(here.layout, NAME)
    made = records.of(2)
    assert isinstance(made, Created)
    records.put(replace(made, started=None, before=before))
    first_record = records.of(1)
    assert first_record is not None
    records.put(replace(first_record, ended=""))
    assert [(one.release, one.works) for one in alive(here)] == [(2, True)]


def test_a_request_that_was_never_carried_out_is_not_taken_for_the_new_release(here: AlbatrossNode) -> None:
    first = here.release(1)
    here.driver.swap(NAME, None, first)
    records = Records(here.layout, NAME)
    made = records.of(1)
    assert made is not None
    # The same image, asked for again as release 2, and killed before the request was sent.
    second = replace(first, number=2)
    asked = replace(made, number=2, order=2, started=None, before=made.started)
    records.begin(asked, second, here.store.verify(first.image))
    assert [(one.release, one.works) for one in alive(here)] == [(1, True)]


# --- adoption


def test_what_somebody_else_started_becomes_a_release(node: AlbatrossNode) -> None:
    octets = program(1)
    node.create_by_hand(octets, memory_mib=64, arguments=("--ipv4=10.0.0.2/24",), fail_behaviour=FailBehaviour(True))
    assert node.driver.inspect([NAME])[NAME] == ()
    seen = node.driver.discovered(NAME, 1)
    assert seen is not None and not node.store.holds(seen.image.sha256)
    adopted = node.driver.fetch_image(NAME, 1)
    assert adopted is not None
    release = adopted[0]
    configuration = release.configuration
    assert (configuration.memory_mib, configuration.arguments) == (64, ("--ipv4=10.0.0.2/24",))
    assert configuration.networks == NETWORKS and configuration.restart is RestartPolicy.ALWAYS
    assert configuration.albatross.add_name and configuration.cpus == (0,)
    assert release.abi == Abi("hvt", 2) and node.store.verify(release.image).read_bytes() == octets
    assert replace(seen, image=release.image, abi=release.abi, devices=release.devices) == release
    assert [(one.release, one.works) for one in alive(node)] == [(1, True)]


def test_restart_codes_that_have_no_word_of_ours_are_no_drift(here: AlbatrossNode) -> None:
    here.create_by_hand(program(1), fail_behaviour=FailBehaviour(True, (3, 5)))
    here.driver.fetch_image(NAME, 1)
    assert alive(here)[0].works


def test_a_lost_state_is_made_good_from_the_record_secrets_included(here: AlbatrossNode) -> None:
    release = here.release(4, secret_arguments=("--key=secret",))
    here.driver.swap(NAME, None, release)
    assert here.driver.fetch_image(NAME, 1) == (release, release.image)
