# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cores of Solo5 guests, from the refusal to the evidence, with a program that does what ``solo5-hvt-debug`` does.
The real one: ``tests/live/test_solo5_cores.py``."""

from __future__ import annotations

import json
import os
import stat
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.declaration import checks_from
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.clock import SystemClock
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers import solo5
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.process_driver import ProcessDriver
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.solo5 import Solo5Guest
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import InvalidDeclaration, ReleaseRefused
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.images.store import ImageStore
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import Configuration, Image, Release
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.kept_core import keep_core
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.node import Node
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.proposal import Declaration, merged
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import Holder
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import TrialOptions, locked
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime import scratch, systemd
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.detached import DetachedSupervisor
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.supervisor import ProcessSpec
from ansible_collections.unikernel.fleet.tests.support.programs import end_all_instances, until, write_program
from ansible_collections.unikernel.fleet.tests.support.solo5_image import abi_note, elf, manifest_note

NAME = "hello"
HVT, SPT = 1, 2
TENDER = """#!/bin/sh
# As solo5-hvt-debug: what its guest is told to do, the guest does.
case $1 in
--version) echo 'solo5-hvt tender, version v0.12.1'; echo 'ABI version 2'; exit ;;
--help) echo '@HELP@'; exit ;;
esac
for word; do
    case $word in
    --dumpcore=*) folder=${word#--dumpcore=} ;;
    abort) act=abort ;;
    esac
done
if [ "$act" = abort ]; then
    echo 'Solo5: solo5_abort() called'
    if [ -n "$folder" ]; then
        umask 077
        echo 'solo5-hvt-debug: dumpcore: dumping guest core' >&2
        echo 'memory and secrets' >"$folder/core.solo5-hvt.$$" || exit 3
    fi
    exit 255
fi
echo 'httpd: ready'
exec sleep 300
"""
DUMPS = "--dumpcore=DIR (enable guest core dump on abort/trap)"
WANTED = {"enabled": True, "most_mib": 32}


class World:
    """A node whose tenders are scripts."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layout = NodeLayout(root / "state")
        self.layout.root.mkdir()
        self.ordinary = write_program(root / "solo5-hvt", TENDER.replace("@HELP@", "no modules"))
        self.debug = write_program(root / "solo5-hvt-debug", TENDER.replace("@HELP@", DUMPS))
        self.tenders(hvt=self.ordinary, spt=self.ordinary, **{"hvt-debug": self.debug})
        self.store = ImageStore(self.layout)
        self.driver = ProcessDriver(Solo5Guest(self.layout), self.layout, self.store, DetachedSupervisor())
        self.node = Node(self.layout, self.store, lambda name: self.driver, SystemClock())

    def tenders(self, **paths: Path) -> None:
        recorded = {kind: str(path) for kind, path in paths.items()}
        self.layout.tenders.write_text(json.dumps(recorded), encoding="utf-8")

    def image(self, target: int = HVT) -> Path:
        path = self.root / f"image-{target}"
        path.write_bytes(elf([abi_note(target, 2), manifest_note(())]))
        return path

    def refusals(self, target: int = HVT, **configuration: Any) -> list[str]:
        given = {"driver": "solo5", "core_dump": {"enabled": True}, **configuration}
        release = Release(1, Image("0" * 64, 10), decoded(given))
        return Solo5Guest(self.layout).refusals(release, self.image(target))

    def declare(self, *arguments: str, **configuration: Any) -> None:
        given = {"driver": "solo5", "memory_mib": 32, "arguments": list(arguments), "stop_grace_s": 1.0}
        declaration = Declaration(image=self.store.add_file(self.image()), configuration={**given, **configuration})
        timeout_s = 60.0 if "abort" in arguments else 0.0
        trial = TrialOptions(timeout_s=timeout_s, checks=checks_from([{"process": {}, "name": "it lives"}], None))
        with locked(self.node, NAME, Holder(who="the test")) as transaction:
            transaction.declare(declaration, trial, arm=None)

    def failed(self, *arguments: str, **configuration: Any) -> Path:
        """The evidence of a trial whose release ends by itself."""
        self.declare(*arguments, **configuration)
        until(lambda: not any(i.alive and i.release != 1 for i in self.driver.inspect([NAME])[NAME]))
        with locked(self.node, NAME, Holder(who="the guard")) as transaction:
            ended = transaction.state.ended
        assert ended is not None and ended.outcome == "rolled_back" and ended.evidence is not None
        return Path(ended.evidence)


def decoded(given: dict[str, Any]) -> Configuration:
    return merged(None, given)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    (tmp_path / "kvm").touch()
    monkeypatch.setattr(solo5, "KVM", str(tmp_path / "kvm"))
    yield World(tmp_path)
    end_all_instances(tmp_path)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- refusing -------------------------------------------------------------------------------------------------


def test_what_can_leave_a_core_is_not_refused(world: World) -> None:
    assert world.refusals(memory_mib=64) == []


def test_an_ordinary_tender_will_do_if_it_was_built_with_the_module(world: World) -> None:
    world.tenders(hvt=world.debug, **{"hvt-debug": world.root / "missing"})
    assert world.refusals() == []


@pytest.mark.parametrize(
    ("target", "configuration", "reason"),
    [
        (SPT, {}, "its image is for spt, whose tender leaves none (build it for hvt"),
        (HVT, {"memory_mib": 65}, "would have 65 MiB, as its memory, and core_dump.most_mib allows 64"),
        (HVT, {"limits": {"file_size_mib": 32}}, "limits.file_size_mib allows files of 32"),
    ],
)
def test_a_guest_that_cannot_leave_one_is_refused(
    world: World, target: int, configuration: dict[str, Any], reason: str
) -> None:
    (said,) = world.refusals(target, **configuration)
    assert reason in said


def test_a_node_without_such_a_tender_is_told_what_to_install(world: World) -> None:
    world.tenders(hvt=world.ordinary, **{"hvt-debug": world.ordinary})
    (said,) = world.refusals()
    assert "no tender on this node has the module dumpcore" in said and "solo5-hvt-debug" in said


def test_a_disk_without_room_for_it_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = namedtuple("disk", "f_bavail f_frsize")
    monkeypatch.setattr(os, "statvfs", lambda path: disk(90 << 8, 4096))
    (said,) = world.refusals()
    assert "which has 90 MiB left, and 64 have to stay free" in said


def test_the_refusal_comes_before_anything_is_stopped(world: World) -> None:
    world.declare("serve")
    with pytest.raises(ReleaseRefused, match=r"most_mib allows 8.*Nothing was stopped"):
        world.declare("abort", core_dump={"enabled": True, "most_mib": 8})
    assert [i.release for i in world.driver.inspect([NAME])[NAME] if i.alive] == [1]


def test_a_bound_of_nothing_is_no_bound() -> None:
    with pytest.raises(InvalidDeclaration, match=r"core_dump\.most_mib is 0"):
        decoded({"core_dump": {"most_mib": 0}})


# --- leaving one ------------------------------------------------------------------------------------------------


def test_without_being_asked_for_the_ordinary_tender_runs_and_no_place_is_made(world: World) -> None:
    world.declare("serve")
    spec = json.loads((world.layout.instance(NAME, 1) / "spec.json").read_bytes())
    assert spec["program"] == str(world.ordinary) and spec["scratch"] is None
    assert not (world.layout.root / "scratch").exists()


def test_the_core_of_a_failed_trial_is_evidence_and_nobody_elses(world: World) -> None:
    world.declare("serve", core_dump=WANTED)
    place = world.layout.scratch(NAME, 1)
    assert mode(place) & 0o007 == 0 and mode(place.parent) == mode(place.parent.parent) == 0o711
    evidence = world.failed("abort", core_dump=WANTED)
    core = evidence / "core"
    assert core.read_text(encoding="ascii") == "memory and secrets\n" and mode(core) == 0o600
    report = json.loads((evidence / "report.json").read_bytes())
    assert report["core"]["file"] == "core" and report["core"]["size"] == core.stat().st_size
    assert "secrets included" in report["core"]["remark"]
    assert "dumping guest core" in (evidence / "console.txt").read_text(encoding="ascii")
    assert sorted(path.name for path in place.parent.iterdir()) == ["1"], "the place of what failed is gone"


def test_a_report_holds_all_that_the_evidence_is_made_of(world: World) -> None:
    world.declare("serve")
    report = json.loads((world.failed("abort") / "report.json").read_bytes())
    (failed,) = [instance for instance in report["instances"] if instance["release"] == 2]
    assert failed["exit"]["status"] == 255 and "the guest aborted (solo5_abort)" in failed["exit"]["meaning"]
    assert report["release"]["configuration"]["arguments"] == ["abort"]
    assert [check["name"] for check in report["checks"]] == ["it lives"]
    assert report["core"] is None


def test_only_the_newest_core_is_kept(world: World) -> None:
    world.declare("serve", core_dump=WANTED)
    first = world.failed("abort", "once", core_dump=WANTED)
    second = world.failed("abort", "twice", core_dump=WANTED)
    assert first != second and (first / "report.json").exists()
    assert not (first / "core").exists() and (second / "core").exists()


def test_a_release_comes_back_without_when_the_tender_for_it_is_gone(world: World) -> None:
    release = Release(1, Image("0" * 64, 10), decoded({"driver": "solo5", "core_dump": WANTED}))
    world.debug.unlink()
    spec = Solo5Guest(world.layout).process_spec(NAME, release, world.image(), world.layout.instance(NAME, 1), ())
    assert spec.program == str(world.ordinary) and spec.scratch is None
    assert not any(word.startswith("--dumpcore") for word in spec.argv)


def test_restarts_leave_no_more_than_the_newest(world: World) -> None:
    folder, place = world.layout.instance(NAME, 7), world.layout.scratch(NAME, 7)
    script = f"touch {place}/core.solo5-hvt.$$; exit 1"
    spec = ProcessSpec("/bin/sh", ("tiny", "-c", script), {"PATH": os.environ["PATH"]}, scratch=str(place))
    quick = {"restart": "always", "restart_delay_s": 0.0, "restart_delay_max_s": 0.0, "restart_limit": 3}
    supervisor = DetachedSupervisor()
    supervisor.start(folder, replace(spec, **quick))
    until(lambda: "given up" in str(supervisor.inspect(folder).exit))
    assert len(list(place.iterdir())) == 1
    supervisor.stop(folder)


def test_the_sandbox_lets_an_instance_write_to_that_place_and_no_other(tmp_path: Path) -> None:
    links, place = tmp_path / "links", tmp_path / "scratch"
    spec = ProcessSpec("/bin/true", ("true",), scratch=str(place))
    systemd._make_links(links, tmp_path / "records", spec)
    assert {link.name: os.readlink(link) for link in links.iterdir()} == {
        "records": str(tmp_path / "records"),
        "writable-0": str(place),
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="another user's folder: only root makes one")
def test_the_place_belongs_to_the_user_of_the_tender_and_is_open_to_nobody_else(tmp_path: Path) -> None:
    place = tmp_path / "scratch" / NAME / "1"
    scratch.make_scratch(place, 12345)
    (place / "core.old").touch()
    scratch.make_scratch(place, 12345)
    shown = place.stat()
    assert (shown.st_uid, shown.st_gid, stat.S_IMODE(shown.st_mode)) == (12345, os.getegid(), 0o770)
    assert list(place.iterdir()) == []


# --- keeping it -------------------------------------------------------------------------------------------------


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    folder = tmp_path / "evidence" / "trial"
    folder.mkdir(parents=True)
    return folder


def kept(core: Path, evidence: Path, most_mib: int = 1) -> Optional[str]:
    found = keep_core(core, evidence, most_mib)
    assert found.file == ("core" if (evidence / "core").exists() else None)
    return None if found.file else found.remark


def test_a_core_is_moved_and_made_our_own(tmp_path: Path, evidence: Path) -> None:
    core = tmp_path / "core.1"
    core.write_bytes(b"memory")
    core.chmod(0o666)
    assert kept(core, evidence) is None
    assert not core.exists() and mode(evidence / "core") == 0o600


def test_one_that_is_larger_than_declared_is_not_kept(tmp_path: Path, evidence: Path) -> None:
    core = tmp_path / "core.1"
    with open(core, "wb") as file:
        file.truncate((2 << 20) + 1)
    assert "bytes, and 2097152 are allowed" in str(kept(core, evidence))
    assert not core.exists()


@pytest.mark.parametrize("how", ["symlink", "link", "mkfifo", "mkdir"])
def test_what_only_looks_like_a_core_is_not_followed_and_not_kept(tmp_path: Path, evidence: Path, how: str) -> None:
    other = tmp_path / "somebody's"
    other.write_bytes(b"not a core")
    other.chmod(0o644)
    core = tmp_path / "core.1"
    getattr(os, how)(*((other, core) if "link" in how else (core,)))
    assert kept(core, evidence) is not None
    assert other.read_bytes() == b"not a core" and mode(other) == 0o644


def test_a_place_is_only_searched_for_files(tmp_path: Path) -> None:
    assert scratch.newest_core(tmp_path / "missing") is None
    (tmp_path / "core.link").symlink_to("/etc/passwd")
    (tmp_path / "other").touch()
    assert scratch.newest_core(tmp_path) is None
    (tmp_path / "core.1").touch()
    assert scratch.newest_core(tmp_path) == tmp_path / "core.1"
