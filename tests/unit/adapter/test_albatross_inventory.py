# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which nodes an inventory of albatross asks, and what is wrong with a source that cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.albatross_inventory import (
    Answer,
    answers_from,
    ask,
    hosts_of,
    kept_from,
    nodes_from,
    path_groups,
    path_of,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import Generation
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.tls import Tls
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.unix_sockets import UnixSockets
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import InvalidDeclaration
from ansible_collections.unikernel.fleet.tests.support import albatross_certificates as certificates
from ansible_collections.unikernel.fleet.tests.support.albatross.double import Albatross
from ansible_collections.unikernel.fleet.tests.support.albatross_asking import client_of, config
from ansible_collections.unikernel.fleet.tests.support.albatross_certificates import Files, Policy

WRONG: list[tuple[Any, str]] = [
    (None, "nodes: a list with at least one node is needed"),
    ([], "nodes: a list with at least one node is needed"),
    (["a"], r"nodes\[0\]: a node is a dictionary"),
    ([{}], r"nodes\[0\]: either 'sockets' .* or 'address' .* is needed, and not both"),
    ([{"sockets": "a", "address": "b"}], "and not both"),
    ([{"sockets": "a", "key": "k"}], "key is not known of a node that is asked by its sockets"),
    ([{"address": "a", "path": "b"}], "path is not known of a node that is asked over TLS"),
    ([{"address": "a"}], "server_ca, certificates, key is needed to ask a over TLS"),
    ([{"sockets": "a", "generation": "3.0"}], "generation is '3.0'; known are 2.5, 2.6, 2.7"),
    ([{"sockets": "a", "name": "x y"}], "'x y' cannot be part of hosts' names"),
    ([{"sockets": "a", "path": "x_y"}], "'x_y' is no label of albatross"),
    ([{"address": "a", "port": 0, "server_ca": "c", "certificates": "c", "key": "k"}], "0 is no port"),
    ([{"name": "a", "sockets": "x"}, {"name": "a", "sockets": "y"}], "nodes: two are named 'a'"),
]


@pytest.mark.parametrize(("declared", "text"), WRONG, ids=[text for _declared, text in WRONG])
def test_what_is_wrong_with_a_source_is_said(declared: Any, text: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidDeclaration, match=text):
        nodes_from(declared, tmp_path)


def test_a_node_is_asked_by_its_sockets_under_a_path(tmp_path: Path) -> None:
    (node,) = nodes_from([{"sockets": "run", "path": "dev:web:", "generation": 2.6}], tmp_path)
    assert (node.name, node.path, node.generation) == ("localhost", ("dev", "web"), Generation.V2_6)
    assert node.transport == UnixSockets(tmp_path / "run")


def test_a_node_over_tls_is_asked_for_the_path_of_its_certificate(tmp_path: Path) -> None:
    root = certificates.root(tmp_path)
    tenant: Files = certificates.tenant_of(tmp_path, root, "dev", Policy((0,), 1, 64, ()))
    told = {"server_ca": root.certificates.name, "certificates": tenant.certificates.name, "key": tenant.key.name}
    (node,) = nodes_from([{"address": "192.0.2.1", **told}], tmp_path)
    assert (node.name, path_of(node)) == ("192.0.2.1", ("dev",))
    assert node.transport == Tls("192.0.2.1", root.certificates, tenant.certificates, tenant.key, 1025)


def test_a_key_that_cannot_be_read_is_its_nodes_failure_alone(tmp_path: Path) -> None:
    told = {"address": "a", "server_ca": "c", "certificates": "c", "key": "k"}
    (answer,) = ask(nodes_from([told], tmp_path), 1.0)
    assert answer.failure is not None and "k cannot be read" in answer.failure


def test_no_two_unikernels_can_have_the_same_name() -> None:
    def told(name: str, path: str) -> dict[str, str]:
        return {"unikernel_name": name, "unikernel_path": path, "albatross_name": f"{path}:{name}"}

    answers = [
        Answer("a", (told("www", "dev"), told("www", "dev.x"), told("x.www", "dev"), told("www", "dev:x"))),
        Answer("b", (told("www", "dev"),)),
    ]
    names = [host.name for host in hosts_of(answers, by_label=False)]
    assert names == ["dev_www@a", "dev.x_www@a", "dev_x.www@a", "dev_x_www@a", "dev_www@b"]


def test_a_unikernel_is_one_under_either_of_its_labels(tmp_path: Path) -> None:
    """At a cut-over it runs under both for a moment; afterwards under one, which may be the second."""
    with Albatross(tmp_path / "a", bridges=("br0",)) as double:
        client = client_of(double)
        (node,) = nodes_from([{"sockets": str(double.folder)}], tmp_path)
        client.create(Name((), "hello.fleet-2"), config())
        (alone,) = ask([node], 5.0)[0].unikernels
        client.create(Name((), "hello"), config())
        client.create(Name(("dev",), "hello.fleet-2"), config())
        both = ask([node], 5.0)[0].unikernels
    assert (alone["unikernel_name"], alone["albatross_name"]) == ("hello", ":hello.fleet-2")
    assert sorted(one["albatross_name"] for one in both) == [":hello", "dev:hello.fleet-2"]
    hosts = hosts_of([Answer("a", both)], by_label=False)
    assert sorted(host.name for host in hosts) == ["dev_hello@a", "hello@a"]


def test_groups_of_a_path_begin_with_the_outermost() -> None:
    assert path_groups(("a", "b")) == ["albatross_path_a", "albatross_path_a_b"]
    assert path_groups(()) == []


ONE: dict[str, Any] = {"unikernel_name": "web", "unikernel_path": "dev", "albatross_name": "dev:web"}
NODES = [{"name": "a", "sockets": "here"}]


def test_what_was_kept_is_what_was_answered_and_only_of_the_same_nodes() -> None:
    answers = [Answer("a", (ONE,)), Answer("b")]
    assert answers_from(kept_from(answers, NODES), NODES) == answers
    assert answers_from(kept_from(answers, NODES), [{"name": "a", "sockets": "there"}]) is None
    assert answers_from(None, NODES) is None


@pytest.mark.parametrize(
    "kept",
    [
        [],
        "text",
        {},
        {"nodes": NODES},
        {"answers": []},
        {"nodes": NODES, "answers": {}},
        {"nodes": NODES, "answers": ["a"]},
        {"nodes": NODES, "answers": [{"node": 1, "unikernels": []}]},
        {"nodes": NODES, "answers": [{"node": "a", "unikernels": "web"}]},
        {"nodes": NODES, "answers": [{"node": "a", "unikernels": [{**ONE, "albatross_name": None}]}]},
    ],
)
def test_what_was_not_kept_by_this_plugin_is_told_from_what_is_not_there(kept: Any) -> None:
    with pytest.raises(ValueError, match=r"it is no mapping|it does not hold what nodes answered"):
        answers_from(kept, NODES)
