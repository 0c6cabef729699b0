# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs in network namespaces of their own, swapped on a real bridge while somebody keeps asking."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.guest import Guest
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.process_driver import ProcessDriver
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.unix import UnixGuest
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import DriverError, ReleaseRefused
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.images.store import ImageStore
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import (
    Configuration,
    Instance,
    Network,
    Release,
    SwapMethod,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.detached import DetachedSupervisor
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.ports import ports_of
from ansible_collections.unikernel.fleet.tests.support import network_lab as lab_support
from ansible_collections.unikernel.fleet.tests.support.guest_answers import answering_version, asking, serves
from ansible_collections.unikernel.fleet.tests.support.network_lab import (
    BRIDGE,
    GUEST_V4,
    GUEST_V6,
    Lab,
    ip,
    master_of,
    network_lab,
)
from ansible_collections.unikernel.fleet.tests.support.programs import end_all_instances, write_program
from ansible_collections.unikernel.fleet.tests.support.requests_without_end import Client
from ansible_collections.unikernel.fleet.tests.support.web_program import web_program

WHY_NOT = lab_support.why_not_here()
pytestmark = [pytest.mark.skipif(bool(WHY_NOT), reason=f"a real bridge: {WHY_NOT}")]

NAME = "hello"
READY = {"http": {"url": f"http://{GUEST_V4}/health"}, "within": 5}
SERVICE = Network("service", BRIDGE, addresses=(f"{GUEST_V4}/24", f"{GUEST_V6}/64"), gateway="192.0.2.1")


class Node:
    """A state folder and the driver on it."""

    def __init__(self, root: Path, guest: Optional[Guest] = None) -> None:
        self.layout = NodeLayout(root / "state")
        self.store = ImageStore(self.layout)
        self.driver = ProcessDriver(guest or UnixGuest(), self.layout, self.store, DetachedSupervisor())
        self._incoming = root

    def release(self, number: int, behaviour: str = "well", **configuration: Any) -> Release:
        source = write_program(self._incoming / "incoming", web_program(f"v{number}", behaviour), 0o755)
        image = self.store.add_file(source)
        source.unlink()
        given: dict[str, Any] = {"networks": (SERVICE,), "ready": READY, "stop_grace_s": 2.0, **configuration}
        return Release(number, image, Configuration(**given))

    def swap(self, old: Optional[Release], new: Optional[Release]) -> Optional[Instance]:
        return self.driver.swap(NAME, old, new)

    def instances(self) -> dict[int, Instance]:
        return {instance.release: instance for instance in self.driver.inspect([NAME])[NAME]}

    def port(self, release: Release) -> str:
        return ports_of(str(self.layout.root), NAME, release, UnixGuest.port_kind)[0].interface


@pytest.fixture
def lab() -> Iterator[Lab]:
    with network_lab() as made:
        yield made


@pytest.fixture
def node(lab: Lab, tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    lab.watch_over(made.layout.root, NAME)
    yield made
    end_all_instances(tmp_path)


def test_it_comes_with_its_addresses_and_goes_without_a_trace(node: Node, lab: Lab) -> None:
    first = node.release(1)
    node.driver.validate(NAME, first)
    node.swap(None, first)
    serves("v1")
    serves("v1", GUEST_V6)
    assert node.instances()[1].serving and lab.leftovers()
    node.swap(first, None)
    assert lab.leftovers() == []


def test_the_first_request_after_a_failed_one_does_not_wait_for_an_arp_retry(node: Node) -> None:
    with Client(GUEST_V4, every_s=0.05, limit_s=0.04):
        time.sleep(0.2)
        node.swap(None, node.release(1))
        begun = time.monotonic()
        serves("v1")
    assert time.monotonic() - begun < 0.9


def test_a_cut_over_loses_no_request(node: Node) -> None:
    first, second = node.release(1), node.release(2)
    node.swap(None, first)
    serves("v1")
    with asking() as client:
        time.sleep(0.1)
        node.swap(first, second)
        time.sleep(0.1)
    assert client.failed() == []
    assert {r.body for r in client.requests} == {b"v1", b"v2"}
    found = node.instances()
    assert found[2].serving and found[1].alive and not found[1].serving, "the old one is parked"
    assert master_of(node.port(first)) is None and master_of(node.port(second)) == BRIDGE


def test_going_back_to_a_parked_release_is_a_matter_of_ports(node: Node, lab: Lab) -> None:
    first, second = node.release(1), node.release(2)
    before = node.swap(None, first)
    node.swap(first, second)
    after = node.swap(second, first)
    assert before is not None and after is not None and after.identity == before.identity and after.serving
    assert answering_version() == "v1" and not node.instances()[2].alive
    node.swap(first, None)
    assert lab.leftovers() == []


def test_stopping_the_parked_one_confirms_the_new_one(node: Node) -> None:
    first, second = node.release(1), node.release(2)
    node.swap(None, first)
    node.swap(first, second)
    node.driver.stop(NAME, 1)
    assert answering_version() == "v2" and not node.instances()[1].alive
    assert node.port(first) not in lab_support.links()


@pytest.mark.parametrize("behaviour", ["crash", "sick", "hang"])
def test_a_new_release_that_is_never_ready_costs_nothing(node: Node, lab: Lab, behaviour: str) -> None:
    ready = {**READY, "within": 0.5}
    first, second = node.release(1), node.release(2, behaviour, ready=ready)
    node.swap(None, first)
    serves("v1")
    before = lab.leftovers()
    with asking() as client, pytest.raises(DriverError, match="did not take over"):
        node.swap(first, second)
    assert client.failed() == [] and {r.body for r in client.requests} == {b"v1"}
    assert node.instances()[1].serving and not node.instances()[2].alive
    assert lab.leftovers() == before


def test_stop_start_replaces_it_too(node: Node, lab: Lab) -> None:
    first, second = node.release(1), node.release(2, swap=SwapMethod.STOP_START)
    node.swap(None, first)
    serves("v1")
    node.swap(first, second)
    serves("v2")
    assert not node.instances()[1].alive and node.port(first) not in lab_support.links()


def test_nothing_is_left_behind_after_a_failed_start(node: Node, lab: Lab) -> None:
    broken = node.release(1)
    path = write_program(node.layout.root / "broken", "#!/no/such/interpreter\n", 0o755)
    broken = Release(1, node.store.add_file(path), broken.configuration)
    with pytest.raises(DriverError, match="was not started"):
        node.swap(None, broken)
    assert lab.leftovers() == []


def test_an_interface_of_somebody_else_is_left_alone(node: Node) -> None:
    release = node.release(1)
    ip("link", "add", node.port(release), "type", "bridge")
    with pytest.raises(DriverError, match=r"is not ours.*left alone"):
        node.swap(None, release)
    assert node.port(release) in lab_support.links()


def test_a_deleted_port_is_noticed_and_mended_by_a_new_start(node: Node) -> None:
    release = node.release(1)
    first = node.swap(None, release)
    ip("link", "delete", node.port(release))
    found = node.instances()[1]
    assert found.alive and not found.works and "was deleted" in str(found.unreachable)
    second = node.swap(None, release)
    assert first is not None and second is not None and second.identity != first.identity
    serves("v1")


def test_a_port_that_was_taken_off_its_bridge_is_put_back(node: Node) -> None:
    release = node.release(1)
    first = node.swap(None, release)
    ip("link", "set", node.port(release), "nomaster")
    assert not node.instances()[1].serving
    second = node.swap(None, release)
    assert first is not None and second is not None and second.identity == first.identity and second.serving
    serves("v1")


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (Network("service", "br-none"), "the bridge br-none does not exist on this node"),
        (Network("service", "lo"), "the bridge lo is no bridge"),
        (Network("service", "br lab"), "is no name of a bridge"),
        (Network("service", BRIDGE, addresses=("192.0.2.300/24",)), "is none"),
        (Network("service", BRIDGE, addresses=("192.0.2.30",)), "without the length of its prefix"),
        (Network("service", BRIDGE, gateway="192.0.2.1"), "no address of that kind"),
        (Network("service", BRIDGE, mac="01:00:00:00:00:01"), "is a multicast address"),
        (Network("a-name-that-is-too-long", BRIDGE), "more than 15 characters"),
    ],
)
def test_what_cannot_be_plugged_in_is_refused_beforehand(node: Node, network: Network, reason: str) -> None:
    with pytest.raises(ReleaseRefused, match=reason):
        node.driver.validate(NAME, node.release(1, networks=(network,)))


def test_a_bridge_that_is_down_is_refused(node: Node) -> None:
    ip("link", "set", BRIDGE, "down")
    with pytest.raises(ReleaseRefused, match=f"the bridge {BRIDGE} is down"):
        node.driver.validate(NAME, node.release(1))


@pytest.mark.parametrize(
    ("configuration", "reason"),
    [
        ({"ready": None}, "no ready check is declared"),
        ({"networks": (Network("service", BRIDGE),)}, "declares its addresses"),
        ({"networks": ()}, "no networks of its own"),
    ],
)
def test_a_cut_over_that_cannot_be_is_refused(node: Node, configuration: dict[str, Any], reason: str) -> None:
    release = node.release(1, swap=SwapMethod.CUT_OVER, **configuration)
    with pytest.raises(ReleaseRefused, match=f"cut_over is not possible.*{reason}"):
        node.driver.validate(NAME, release)
