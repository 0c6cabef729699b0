# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names, policies and generations as the real albatross has them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross import wire
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.client import Client
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.errors import (
    ClosedUnanswered,
    Refused,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import (
    Generation,
    Policy,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.unix_sockets import UnixSockets
from ansible_collections.unikernel.fleet.tests.support.albatross.double import Albatross
from ansible_collections.unikernel.fleet.tests.support.albatross_asking import (
    DEV,
    HELLO,
    LIST,
    LIST_2_5,
    LIST_2_6,
    NETWORK,
    OTHER,
    client_of,
    config,
    lines,
    raw,
)
from ansible_collections.unikernel.fleet.tests.support.programs import until


def test_a_path_is_listed_with_names_relative_to_it(double: Albatross, client: Client) -> None:
    for name in (HELLO, Name(("dev",), "a"), Name(("dev",), "b"), Name(("dev", "sub"), "c"), Name((), "dev")):
        client.create(name, config(networks=NETWORK))
    told = wire.decode(raw(double, LIST, name=b"dev:")[4:])
    # Among them the unikernel that is named as the path, as if it were the path.
    assert [str(entry.name) for entry in told.payload.entries] == [":", "sub:c", ":b", ":a"]  # type: ignore[union-attr]
    assert [str(entry.name) for entry in client.unikernels()] == [":hello", ":dev", "dev:sub:c", "dev:b", "dev:a"]


def test_a_policy_for_a_label_acts_on_the_path_that_it_lies_in(double: Albatross, client: Client) -> None:
    remove = bytes.fromhex("a404a2020500")
    raw(double, remove, name=b":dev")
    assert client.policies() == ()


def test_policies_fit_into_those_above_and_what_runs_fits_into_them(client: Client) -> None:
    client.add_policy(DEV, Policy((0,), 2, 64, ("br0",), 10))
    client.create(Name(("dev",), "a"), config(memory_mib=40))
    for path, policy, text in (
        (
            Name(("dev", "sub")),
            Policy((0,), 3, 64, ("br0",)),
            "policy above allows 2 unikernels, which is fewer",
        ),
        (Name(("dev", "sub")), Policy((0,), 2, 64, ("br1",)), "policy above allows bridge(s) br0, which is not"),
        (Name(("dev", "sub")), Policy((0,), 2, 64, (), 11), "policy above allows 10 MB block storage"),
        (DEV, Policy((0,), 2, 32, ("br0",)), "running memory limit set by policy to 32 MB, used 40 MB"),
        (DEV, Policy((1,), 2, 64, ("br0",)), "policy does not allow CPUids 0"),
    ):
        with pytest.raises(Refused) as refused:
            client.add_policy(path, policy)
        assert text in refused.value.text
    with pytest.raises(Refused, match=r"maximum allowed memory \(64, used 40\) would be exceeded \(requesting 40\)"):
        client.create(Name(("dev",), "b"), config(memory_mib=40))
    client.remove_policy(DEV)
    with pytest.raises(Refused, match="unknown policy"):
        client.remove_policy(DEV)


@pytest.mark.parametrize("generation", list(Generation))
def test_each_generation_answers_in_its_own_words(generation: Generation, tmp_path: Path) -> None:
    with Albatross(tmp_path / "s", bridges=("br0",), generation=generation) as double:
        client = client_of(double)
        client.create(HELLO, config())
        (entry,) = client.unikernels()
        assert entry.info.cpus == (0,)
        until(lambda: lines(client))
        assert lines(client) == ["up " if generation is Generation.V2_5 else "up --name=hello"]
        client.restart(HELLO, replace(config(), arguments=("--y",)))
        client.force_create(HELLO, config(OTHER))
        newest = Client(UnixSockets(double.folder))
        if generation is not Generation.V2_7:
            with pytest.raises(ClosedUnanswered):
                newest.unikernels()
        assert double.lives


def test_a_newer_server_is_asked_in_older_words_and_answers_in_them(double: Albatross, client: Client) -> None:
    client.create(HELLO, config(startup=7))
    for words, form in ((LIST_2_5, Generation.V2_5), (LIST_2_6, Generation.V2_6)):
        told = wire.decode(raw(double, words)[4:]).payload
        assert told.form is form  # type: ignore[union-attr]
        (entry,) = told.entries  # type: ignore[union-attr]
        assert entry.info.startup == (7 if form is Generation.V2_6 else None)
