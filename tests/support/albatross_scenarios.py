# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must hold of albatross as our client sees it, whichever one it is: the double, or a real one (tests/live)."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Optional

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.client import Client
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.errors import AnswerLost, Refused
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import (
    BlockUse,
    NamedInfo,
    NetworkUse,
    UnikernelArguments,
    UnikernelConfig,
    UnikernelInfo,
    moment,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import DriverError
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.mac import derived_mac
from ansible_collections.unikernel.fleet.tests.support.programs import until

ADDRESS = "--ipv4=192.0.2.77/24"
NO_CPU = 4_095
"""More than any machine of a test has."""


@dataclass(frozen=True)
class Place:
    """A server, and images that it can run. The unikernels have one network, named ``service``."""

    client: Client
    bridge: str
    first: bytes = field(repr=False)
    second: bytes = field(repr=False)
    path: tuple[str, ...] = ()
    """In which all that the scenarios make lies."""

    def name(self, what: str) -> Name:
        return Name(self.path, f"fleet-test-{os.getpid()}-{what}")

    def config(self, image: bytes, *arguments: str, **more: Any) -> UnikernelConfig:
        networks = (NetworkUse("service", self.bridge),)
        return UnikernelConfig(image=image, networks=networks, arguments=arguments or (ADDRESS,), **more)

    @contextmanager
    def running(self, what: str, **more: Any) -> Iterator[Name]:
        """The first image, until the scenario is over."""
        name = self.name(what)
        self.client.create(name, self.config(self.first, **more))
        try:
            yield name
        finally:
            self.client.destroy(name)

    def info(self, name: Name) -> UnikernelInfo:
        found = self.client.unikernel(name)
        assert found is not None, f"{name} does not run"
        return found

    def lines(self, name: Name, count: int = 100) -> list[str]:
        return [line.line for line in self.client.console(name, count)]


def sha256(image: bytes) -> bytes:
    return hashlib.sha256(image).digest()


# --- scenarios -----------------------------------------------------------------------------------


def what_is_created_runs_as_it_was_declared_until_it_is_destroyed(place: Place) -> None:
    with place.running("a", memory_mib=20) as name:
        info = place.info(name)
        assert (info.digest, info.memory_mib, info.cpus) == (sha256(place.first), 20, (0,))
        assert info.arguments == (ADDRESS,)
        (network,) = info.networks
        assert (network.guest_device, network.bridge) == ("service", place.bridge)
        assert network.mac == derived_mac("service", name.label or "", ":".join(name.path))
        assert info.started is not None and moment(info.started)
        assert place.client.destroy(name) is True
        assert place.client.unikernel(name) is None
        # One more success, and only then the truth.
        assert [place.client.destroy(name), place.client.destroy(name)] == [True, False]


def a_second_one_of_the_same_name_is_refused_and_the_first_lives(place: Place) -> None:
    with place.running("b") as name:
        before = place.info(name)
        with pytest.raises(Refused, match="Unikernel with same name is already running"):
            place.client.create(name, place.config(place.second))
        assert place.info(name) == before


def force_create_replaces_the_image_and_keeps_the_mac(place: Place) -> None:
    with place.running("c") as name:
        before = place.info(name)
        place.client.force_create(name, place.config(place.second))
        after = place.info(name)
        assert (after.digest, after.networks) == (sha256(place.second), before.networks)
        assert after.started != before.started


def what_a_policy_forbids_is_refused_before_anything_is_killed(place: Place) -> None:
    """Needs a policy for the path; the root has one."""
    with place.running("d") as name:
        before = place.info(name)
        with pytest.raises(Refused, match=f"CPUids? {NO_CPU} (is|are) not allowed by policy"):
            place.client.force_create(name, place.config(place.second, cpus=(NO_CPU,)))
        assert place.info(name) == before


def what_is_wrong_with_an_image_is_found_only_after_the_kill(place: Place) -> None:
    with place.running("e") as name:
        with pytest.raises(Refused, match="error during ELF parsing"):
            place.client.force_create(name, place.config(os.urandom(5_000)))
        assert place.client.unikernel(name) is None


def devices_that_the_manifest_does_not_name_cost_the_old_unikernel(place: Place) -> None:
    with place.running("f") as name:
        wrong = replace(place.config(place.second), networks=(NetworkUse("othernet", place.bridge),))
        with pytest.raises(Refused, match="does not match with the manifest"):
            place.client.force_create(name, wrong)
        assert place.client.unikernel(name) is None


def a_restart_starts_the_same_image_anew(place: Place) -> None:
    with place.running("g") as name:
        before = place.info(name)
        place.client.restart(name)
        after = place.info(name)
        assert replace(after, started=before.started) == before
        assert after.started != before.started


def a_restart_can_replace_the_arguments(place: Place) -> None:
    with place.running("h") as name:
        arguments = UnikernelArguments(
            memory_mib=place.info(name).memory_mib,
            networks=(NetworkUse("service", place.bridge),),
            arguments=("--ipv4=192.0.2.78/24",),
        )
        place.client.restart(name, arguments)
        after = place.info(name)
        assert (after.digest, after.arguments) == (sha256(place.first), ("--ipv4=192.0.2.78/24",))


def a_restart_of_what_does_not_run_is_refused(place: Place) -> None:
    with pytest.raises(Refused, match="destroy: not found"):
        place.client.restart(place.name("nothing"))


def the_image_that_runs_can_be_fetched(place: Place) -> None:
    with place.running("i") as name:
        assert place.client.image(name, level=0) == place.first
        assert place.client.image(name, level=9) == place.first
    assert place.client.image(name) is None


def the_console_outlives_the_unikernel(place: Place) -> None:
    with place.running("j") as name:
        until(lambda: place.lines(name))
        before = place.lines(name)
    assert place.lines(name)[: len(before)] == before


def what_ends_at_once_was_created_and_leaves_its_last_words(place: Place) -> None:
    """Without an address: both kinds of images end with 64, and add_name is off, so that it is not tried again."""
    name = place.name("k")
    config = replace(place.config(place.first), arguments=(), add_name=False)
    assert place.client.create(name, config) == "created unikernel"
    until(lambda: place.client.unikernel(name) is None)
    until(lambda: any("solo5_exit(64)" in line for line in place.lines(name)))


def lines_come_while_a_console_is_followed(place: Place) -> None:
    name = place.name("l")
    heard: list[str] = []

    def follow() -> None:
        # A listener that nobody speaks to any more is let go of when its time is over.
        with suppress(DriverError):
            for line in place.client.follow_console(name, 10.0, count=0):
                heard.append(line.line)
                return

    listener = threading.Thread(target=follow)
    listener.start()
    try:
        place.client.create(name, place.config(place.first))
        # What it said may have been said before the listener was there; each start gets the time to say something.
        while listener.is_alive() and not heard_within(heard, 2.0):
            place.client.restart(name)
    finally:
        place.client.destroy(name)
        listener.join(15.0)
    assert heard


def heard_within(heard: list[str], seconds: float) -> bool:
    with suppress(AssertionError):
        until(lambda: heard, seconds)
    return bool(heard)


def a_block_device_is_made_filled_read_back_and_removed(place: Place) -> None:
    name = place.name("disk")
    place.client.add_block(name, 1)
    try:
        content = b"0123456789abcdef" * 1_000
        with pytest.raises(Refused, match="already exists"):
            place.client.add_block(name, 1)
        place.client.set_block(name, [content[:5_000], content[5_000:]])
        for level in (0, 9):
            found = b"".join(place.client.dump_block(name, level, 1 << 21))
            assert found == content.ljust(1 << 20, b"\0")
        (device,) = place.client.blocks(name)
        assert (device.name, device.size_mib, device.active) == (name, 1, False)
    finally:
        place.client.remove_block(name)
    with pytest.raises(Refused, match="remove block: not found"):
        place.client.remove_block(name)


def a_block_device_that_is_not_there_is_found_out_before_the_kill(place: Place) -> None:
    with place.running("m") as name:
        before = place.info(name)
        lacking = replace(place.config(place.second), blocks=(BlockUse("storage", "fleet-test-lacking"),))
        with pytest.raises(Refused, match=r"block device .*fleet-test-lacking not found"):
            place.client.force_create(name, lacking)
        assert place.info(name) == before


def a_listing_names_everything_in_full(place: Place) -> None:
    with place.running("n") as one, place.running("o") as other:
        found: dict[Name, NamedInfo] = {entry.name: entry for entry in place.client.unikernels(Name(place.path))}
        assert {one, other} <= set(found)
        assert found[one].info == place.info(one)


def simultaneous_replacements_leave_one_that_runs(place: Place) -> None:
    """The real server never answers the first of two whose kill is the same."""
    with place.running("p") as name:
        outcomes: list[Optional[type[Exception]]] = []

        def replace_it() -> None:
            try:
                impatient = replace(place.client, patience=replace(place.client.patience, answer_s=3.0))
                impatient.force_create(name, place.config(place.second))
                outcomes.append(None)
            except (AnswerLost, Refused) as error:
                outcomes.append(type(error))

        threads = [threading.Thread(target=replace_it) for _unused in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20.0)
        assert len(outcomes) == 2 and None in outcomes
        assert place.info(name).digest == sha256(place.second)


SCENARIOS: tuple[Callable[[Place], None], ...] = (
    what_is_created_runs_as_it_was_declared_until_it_is_destroyed,
    a_second_one_of_the_same_name_is_refused_and_the_first_lives,
    force_create_replaces_the_image_and_keeps_the_mac,
    what_a_policy_forbids_is_refused_before_anything_is_killed,
    what_is_wrong_with_an_image_is_found_only_after_the_kill,
    devices_that_the_manifest_does_not_name_cost_the_old_unikernel,
    a_restart_starts_the_same_image_anew,
    a_restart_can_replace_the_arguments,
    a_restart_of_what_does_not_run_is_refused,
    the_image_that_runs_can_be_fetched,
    the_console_outlives_the_unikernel,
    what_ends_at_once_was_created_and_leaves_its_last_words,
    lines_come_while_a_console_is_followed,
    a_block_device_is_made_filled_read_back_and_removed,
    a_block_device_that_is_not_there_is_found_out_before_the_kill,
    a_listing_names_everything_in_full,
    simultaneous_replacements_leave_one_that_runs,
)
