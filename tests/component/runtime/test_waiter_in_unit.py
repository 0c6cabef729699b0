# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The waiter as the main process of a unit: it begins nothing without a starter that gives its word."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet import codec
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime import detached, systemd, waiter
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.supervisor import Phase, ProcessSpec
from ansible_collections.unikernel.fleet.tests.support import programs

SPEC = ProcessSpec(program="/bin/sh", argv=("tiny", "-c", "echo up; exec sleep 300"), environment={"PATH": "/bin"})


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    folder = NodeLayout(tmp_path).instance("tiny", 1)
    folder.mkdir(parents=True)
    written = {**codec.encode(SPEC), "token": "t" * 32, "boot_id": waiter.boot_id()}
    (folder / waiter.SPEC).write_text(json.dumps(written), encoding="ascii")
    yield folder
    programs.end_all_instances(tmp_path)


def launch(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-I", "-S", waiter.__file__, "waiter-unit", str(folder)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_unit_that_is_started_by_hand_starts_nothing(folder: Path) -> None:
    with launch(folder) as process:
        _said, complaint = process.communicate(timeout=10)
    assert process.returncode == 2
    assert b"Only the guard starts instances" in complaint
    assert not (folder / waiter.RUN).exists()


def test_a_starter_that_dies_before_its_word_leaves_nothing_running(folder: Path) -> None:
    answers, go = systemd._make_pipes(folder)
    with launch(folder) as process:
        programs.until(lambda: _read(answers))
        os.close(go)
        assert process.wait(timeout=10) == 0
    os.close(answers)
    assert not (folder / waiter.RUN).exists()


def test_it_says_ready_and_begins_at_the_word_and_stays_until_the_end(folder: Path) -> None:
    supervisor = detached.DetachedSupervisor()
    answers, go = systemd._make_pipes(folder)
    with launch(folder) as process:
        programs.until(lambda: _read(answers))
        assert supervisor.inspect(folder).phase is Phase.NEVER
        os.write(go, b"!")
        programs.until(lambda: supervisor.inspect(folder).phase is Phase.RUNNING)
        assert process.poll() is None
        ended = supervisor.stop(folder)
        assert process.wait(timeout=10) == 0
    os.close(answers)
    os.close(go)
    assert ended is not None and ended.signal == 15


def test_identities_are_of_the_boot_that_the_starter_sees(folder: Path) -> None:
    """In a container, a unit with a /proc of its own sees the boot id of the host."""
    written = json.loads((folder / waiter.SPEC).read_bytes())
    (folder / waiter.SPEC).write_text(json.dumps({**written, "boot_id": "another-boot"}), encoding="ascii")
    assert waiter.Waiter(str(folder)).boot == "another-boot"


def test_what_it_may_write_to_is_linked_for_its_unit(tmp_path: Path) -> None:
    links = tmp_path / "links"
    systemd._make_links(links, tmp_path, replace(SPEC, directory="/srv", writable=("/var/a", "/srv")))
    assert {link.name: os.readlink(link) for link in links.iterdir()} == {
        "records": str(tmp_path),
        "writable-0": "/srv",
        "writable-1": "/var/a",
    }
    systemd._make_links(links, tmp_path, SPEC)
    assert [link.name for link in links.iterdir()] == ["records"]


def _read(descriptor: int) -> bool:
    try:
        return b"ready" in os.read(descriptor, 100)
    except BlockingIOError:
        return False
