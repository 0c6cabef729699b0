# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inventory plugin ``albatross``: real runs of ``ansible-inventory`` against doubles of albatross."""

from __future__ import annotations

import inspect
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import (
    BlockUse,
    FailBehaviour,
    Generation,
    Policy,
)
from ansible_collections.unikernel.fleet.tests.support.albatross.double import Albatross
from ansible_collections.unikernel.fleet.tests.support.albatross.images import image
from ansible_collections.unikernel.fleet.tests.support.albatross_asking import LIVES, client_of, config

COLLECTIONS = Path(inspect.getfile(Albatross)).parents[6]
WWW, HELLO = Name(("dev", "web"), "www"), Name((), "hello")


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Albatross]:
    """A node with two unikernels, one of them deep in a path."""
    with Albatross(tmp_path / "here", bridges=("br0",), tls_port=0) as double:
        client = client_of(double)
        client.add_block(Name(("dev", "web"), "disk"), 1)
        client.create(HELLO, config(arguments=("--motd={{ 6 * 7 }}", "--raw=\udcff"), memory_mib=20, cpus=(0, 1)))
        with_disk = image("#!/bin/sh\nexec sleep 300\n", blocks=("data",))
        restarts = FailBehaviour(True, (2, 3))
        used = (BlockUse("data", "disk"),)
        client.create(WWW, config(with_disk, blocks=used, fail_behaviour=restarts, startup=7))
        yield double


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Albatross]:
    """Another node, with a unikernel of the same name."""
    with Albatross(tmp_path / "there", bridges=("br0",), tls_port=0) as double:
        client_of(double).create(HELLO, config())
        yield double


def over_tls(double: Albatross, name: str, **more: Any) -> dict[str, Any]:
    root = double.root
    files = {"server_ca": root.certificates, "certificates": root.certificates, "key": root.key}
    told = {key: str(path) for key, path in files.items()}
    return {"name": name, "address": "127.0.0.1", "port": double.tls_port, **told, **more}


def _without_mark(found: dict[str, Any]) -> Any:
    """How ansible-inventory shows a text that is no template."""
    return found["__ansible_unsafe"] if set(found) == {"__ansible_unsafe"} else found


class Run:
    """One run of ansible-inventory."""

    def __init__(self, folder: Path, *nodes: dict[str, Any], flush: bool = False, **options: Any) -> None:
        source = folder / "lab.albatross.yml"
        source.write_text(
            yaml.safe_dump({"plugin": "unikernel.fleet.albatross", "nodes": list(nodes), **options}), encoding="utf-8"
        )
        command = [str(Path(sys.executable).with_name("ansible-inventory")), "-i", str(source), "--list"]
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_HOME": str(folder / "ansible"),
            "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
            "ANSIBLE_NOCOLOR": "true",
            "COLUMNS": "1000",
        }
        done = subprocess.run(
            [*command, *(["--flush-cache"] if flush else [])],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.status, self.errors = done.returncode, " ".join(done.stderr.split())
        self.listing: dict[str, Any] = json.loads(done.stdout, object_hook=_without_mark) if self.status == 0 else {}

    @property
    def hosts(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = self.listing["_meta"]["hostvars"]
        return found

    def members(self, group: str) -> set[str]:
        return set(self.listing.get(group, {}).get("hosts", ()))

    def children(self, group: str) -> set[str]:
        return set(self.listing.get(group, {}).get("children", ()))


def test_every_unikernel_is_a_host_with_what_albatross_tells_of_it(here: Albatross, tmp_path: Path) -> None:
    run = Run(tmp_path, {"name": "dom0-a", "sockets": "here"})
    assert run.errors == ""
    info = client_of(here).unikernel(WWW)
    assert info is not None
    www = dict(run.hosts["dev_web_www@dom0-a"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00", www.pop("albatross_started"))
    assert www == {
        "unikernel_name": "www",
        "unikernel_path": "dev:web",
        "unikernel_node": "dom0-a",
        "albatross_name": "dev:web:www",
        "albatross_type": "solo5",
        "albatross_digest": info.digest.hex(),
        "albatross_memory_mib": 32,
        "albatross_cpus": [0],
        "albatross_arguments": [],
        "albatross_bridges": ["br0"],
        "albatross_networks": [{"name": "service", "bridge": "br0", "mac": info.networks[0].mac}],
        "albatross_blocks": [{"name": "data", "volume": "disk", "sector_size": 512}],
        "albatross_restart": True,
        "albatross_restart_codes": [2, 3],
        "albatross_startup": 7,
    }


def test_groups_are_by_node_and_by_path(here: Albatross, there: Albatross, tmp_path: Path) -> None:
    run = Run(tmp_path, over_tls(here, "dom0-a"), {"name": "dom0.b", "sockets": str(there.folder)})
    everything = {"hello@dom0-a", "dev_web_www@dom0-a", "hello@dom0.b"}
    assert set(run.hosts) == run.members("albatross_unikernels") == everything
    assert run.members("unikernels") == set()
    assert run.members("albatross_node_dom0_a") == {"hello@dom0-a", "dev_web_www@dom0-a"}
    assert run.members("albatross_node_dom0_b") == {"hello@dom0.b"}
    assert run.children("albatross_path_dev") == {"albatross_path_dev_web"}
    assert run.members("albatross_path_dev_web") == {"dev_web_www@dom0-a"}


def test_they_are_in_the_group_of_ones_choice(here: Albatross, tmp_path: Path) -> None:
    run = Run(tmp_path, {"name": "a", "sockets": "here"}, group="unikernels", host_names="label")
    assert run.members("unikernels") == {"hello", "www"}
    assert run.members("albatross_unikernels") == set()


def test_two_nodes_never_share_a_group(tmp_path: Path) -> None:
    run = Run(tmp_path, {"name": "dom0-a", "sockets": "here"}, {"name": "dom0.a", "sockets": "there"})
    assert run.status != 0
    assert "'dom0-a' and 'dom0.a' would share the group 'albatross_node_dom0_a'" in run.errors


def test_groups_and_variables_are_constructed(here: Albatross, tmp_path: Path) -> None:
    run = Run(
        tmp_path,
        {"name": "a", "sockets": "here"},
        keyed_groups=[{"key": "albatross_bridges", "prefix": "bridge"}],
        groups={"restarting": "albatross_restart"},
        compose={"short": "albatross_digest[:8]"},
        strict=True,
    )
    assert run.members("bridge_br0") == {"hello@a", "dev_web_www@a"}
    assert run.members("restarting") == {"dev_web_www@a"}
    assert run.hosts["hello@a"]["short"] == run.hosts["hello@a"]["albatross_digest"][:8]
    assert Run(tmp_path, {"sockets": "here"}, compose={"x": "no_such_variable"}, strict=True).status != 0
    assert Run(tmp_path, {"sockets": "here"}, compose={"x": "no_such_variable"}, strict=False).status == 0


def test_arguments_are_never_evaluated(here: Albatross, tmp_path: Path) -> None:
    run = Run(tmp_path, {"name": "a", "sockets": "here"}, compose={"first": "albatross_arguments[0]"})
    assert run.hosts["hello@a"]["albatross_arguments"] == ["--motd={{ 6 * 7 }}", "--raw=\\xff"]
    assert run.hosts["hello@a"]["first"] == "--motd={{ 6 * 7 }}"


def test_a_silent_node_is_an_error_or_a_warning_but_never_an_empty_one(here: Albatross, tmp_path: Path) -> None:
    nodes = [{"name": "a", "sockets": "here"}, {"name": "gone", "sockets": "nowhere"}]
    failed = Run(tmp_path, *nodes)
    assert failed.status != 0
    assert "Node 'gone' did not say what it runs." in failed.errors
    assert "there is no such socket" in failed.errors
    warned = Run(tmp_path, *nodes, unreachable="warn")
    assert set(warned.hosts) == {"hello@a", "dev_web_www@a"}
    assert "Its unikernels are missing from the inventory." in warned.errors


def test_certificates_of_one_node_that_are_of_no_use_cost_that_node_only(
    here: Albatross, there: Albatross, tmp_path: Path
) -> None:
    bad = over_tls(there, "bad")
    Path(bad["key"]).chmod(0o644)
    run = Run(tmp_path, over_tls(here, "good"), bad, unreachable="warn")
    assert set(run.hosts) == {"hello@good", "dev_web_www@good"}
    assert "Node 'bad' did not say what it runs" in run.errors and "have the key issued anew" in run.errors


def test_a_node_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        (tmp_path / "mute").mkdir()
        listener.bind(str(tmp_path / "mute" / "vmmd.sock"))
        listener.listen(1)
        run = Run(tmp_path, {"sockets": "mute"}, timeout=0.5)
    assert run.status != 0 and "took the request and did not answer in time" in run.errors


def test_what_was_cached_is_used_until_it_is_flushed(here: Albatross, tmp_path: Path) -> None:
    cache = {"cache": True, "cache_plugin": "ansible.builtin.jsonfile", "cache_connection": str(tmp_path / "cache")}
    node = {"name": "a", "sockets": "here"}
    first = Run(tmp_path, node, **cache)
    client_of(here).destroy(HELLO)
    assert Run(tmp_path, node, **cache).listing == first.listing
    assert set(Run(tmp_path, node, cache=False).hosts) == {"dev_web_www@a"}
    # Other nodes are not what was cached.
    assert set(Run(tmp_path, {"name": "b", "sockets": "here"}, **cache).hosts) == {"dev_web_www@b"}
    Run(tmp_path, node, flush=True, **cache)
    here.stop_daemon()
    assert set(Run(tmp_path, node, **cache).hosts) == {"dev_web_www@a"}


@pytest.mark.parametrize("content", ["[]", '"text"', "7", "{broken", "\xff\xfe", "", '{"__payload__": "[1]"}', "{}"])
def test_a_cache_that_cannot_be_understood_is_warned_of_and_replaced(
    here: Albatross, tmp_path: Path, content: str
) -> None:
    cache = {"cache": True, "cache_plugin": "ansible.builtin.jsonfile", "cache_connection": str(tmp_path / "cache")}
    node = {"name": "a", "sockets": "here"}
    first = Run(tmp_path, node, **cache)
    (kept,) = (tmp_path / "cache").iterdir()
    whole = kept.read_text(encoding="utf-8")
    kept.write_bytes(content.encode("latin-1"))
    again = Run(tmp_path, node, **cache)
    assert again.listing == first.listing, again.errors
    if content != "{}":  # which ansible-core from 2.19 on passes over by itself, and without a word
        assert "cannot be understood" in again.errors and "the nodes are asked" in again.errors
    assert kept.read_text(encoding="utf-8") == whole
    assert Run(tmp_path, node, **cache).errors == ""


def test_what_a_silent_node_left_out_is_not_cached(here: Albatross, there: Albatross, tmp_path: Path) -> None:
    cache = {"cache": True, "cache_plugin": "ansible.builtin.jsonfile", "cache_connection": str(tmp_path / "cache")}
    nodes = [{"name": "a", "sockets": "here"}, {"name": "b", "sockets": "there"}]
    there.stop_daemon()
    assert len(Run(tmp_path, *nodes, unreachable="warn", **cache).hosts) == 2
    there.start_daemon()
    assert len(Run(tmp_path, *nodes, unreachable="warn", **cache).hosts) == 3


def test_hosts_can_be_named_by_label_as_long_as_no_two_have_it(
    here: Albatross, there: Albatross, tmp_path: Path
) -> None:
    nodes = [{"name": "a", "sockets": "here"}, {"name": "b", "sockets": "there"}]
    assert set(Run(tmp_path, nodes[0], host_names="label").hosts) == {"hello", "www"}
    both = Run(tmp_path, *nodes, host_names="label")
    assert both.status != 0
    assert "Two unikernels are called 'hello': :hello of a and :hello of b." in both.errors


def test_a_tenant_sees_its_path_and_sockets_can_be_asked_for_one(here: Albatross, tmp_path: Path) -> None:
    policy = Policy((0, 1), 5, 500, ("br0",), 10)
    tenant = here.tenant("dev", policy)
    files = {"certificates": str(tenant.certificates), "key": str(tenant.key)}
    run = Run(tmp_path, over_tls(here, "a", **files), {"name": "b", "sockets": "here", "path": "dev"})
    assert set(run.hosts) == {"dev_web_www@a", "dev_web_www@b"}


@pytest.mark.parametrize("generation", ["2.5", "2.6"])
def test_older_generations_are_asked_in_their_words(generation: str, tmp_path: Path) -> None:
    with Albatross(tmp_path / "old", bridges=("br0",), generation=Generation(generation)) as old:
        client_of(old).create(HELLO, config(LIVES))
        assert set(Run(tmp_path, {"name": "a", "sockets": "old", "generation": generation}).hosts) == {"hello@a"}
        wrong = Run(tmp_path, {"name": "a", "sockets": "old"})
    assert wrong.status != 0
    assert "is it of another generation than was configured?" in wrong.errors


def test_a_source_that_is_wrong_is_refused_before_anybody_is_asked(tmp_path: Path) -> None:
    run = Run(tmp_path, {"sockets": "a", "address": "b"})
    assert run.status != 0
    assert "nodes[0]: either 'sockets' (a folder of this machine) or 'address' (over TLS) is needed" in run.errors
