# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The node's side of the module ``image``, without Ansible around it."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.image import ARGUMENTS, bring_or_prune
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import (
    FleetError,
    ImageError,
    InvalidDeclaration,
)
from ansible_collections.unikernel.fleet.tests.support.image_server import image_server
from ansible_collections.unikernel.fleet.tests.support.solo5_image import NET_BASIC, abi_note, elf, manifest_note

CONTENT = elf([abi_note(1, 2), manifest_note([(b"service", NET_BASIC)])])
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def run(root: Path, check_mode: bool = False, **given: Any) -> dict[str, Any]:
    parameters = {option.name: option.default for option in ARGUMENTS}
    parameters.update({"root": str(root), "sha256": SHA256, "size": len(CONTENT), "retries": 0, "proxy": ""})
    parameters.update(given)
    return bring_or_prune(parameters, check_mode)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(CONTENT)
    return path


def test_a_node_that_cannot_connect_asks_for_a_push_and_has_nothing(tmp_path: Path) -> None:
    result = run(tmp_path / "node", url="http://127.0.0.1:1/image")
    assert result["needs_push"] and "cannot be reached" in result["push_reason"]
    assert list((tmp_path / "node" / "images").iterdir()) == []


def test_a_node_is_not_helped_when_the_answer_is_final_or_the_user_says_so(tmp_path: Path) -> None:
    with image_server(CONTENT) as server:
        for url, method in ((f"{server.url}/wrong-bytes", "auto"), ("http://127.0.0.1:1/image", "node")):
            with pytest.raises(ImageError):
                run(tmp_path / "node", url=url, method=method)


def test_check_mode_looks_at_the_file_that_would_be_copied(tmp_path: Path, source: Path) -> None:
    assert run(tmp_path / "node", check_mode=True, src=str(source))["how"] == "copied"
    with pytest.raises(ImageError, match="instead of"):
        run(tmp_path / "node", check_mode=True, src=str(source), size=1)
    with pytest.raises(ImageError, match="Solo5 spt"):
        run(tmp_path / "node", check_mode=True, src=str(source), abi={"target": "spt", "version": 2})
    assert not (tmp_path / "node").exists()


def test_an_image_that_is_there_is_inspected_too(tmp_path: Path, source: Path) -> None:
    run(tmp_path / "node", src=str(source))
    with pytest.raises(ImageError, match="says no devices"):
        run(tmp_path / "node", devices=[])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "neither url nor src"),
        ({"url": "/srv/image", "method": "node"}, "no http"),
        ({"sha256": "xyz"}, "SHA-256"),
        ({"size": 0}, "0 bytes"),
        ({"url": "http://127.0.0.1:1/", "method": "controller", "size": 2 << 30}, "max_bytes"),
    ],
)
def test_what_cannot_be_meant_is_refused(given: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises((ImageError, InvalidDeclaration), match=says):
        run(tmp_path / "node", **given)


def test_pruning_keeps_what_a_state_names_and_stops_when_one_cannot_be_read(tmp_path: Path, source: Path) -> None:
    node = tmp_path / "node"
    run(node, src=str(source))
    other = tmp_path / "other"
    other.write_bytes(b"other")
    unneeded = run(node, src=str(other), sha256=hashlib.sha256(b"other").hexdigest(), size=5)
    state = node / "unikernels" / "web" / "state.json"
    state.parent.mkdir(parents=True)
    state.write_text(f'{{"current": {{"image": {{"sha256": "{SHA256}", "size": 1}}}}}}')
    assert run(node, state="pruned")["changed"] is False, "both were staged a moment ago"
    for image in (node / "images").iterdir():
        os.utime(image, (time.time() - 7200,) * 2)
    broken = node / "unikernels" / "dns" / "state.json"
    broken.parent.mkdir()
    broken.write_text('{"cur')
    with pytest.raises(FleetError, match=str(broken)):
        run(node, state="pruned")
    broken.unlink()
    promised = run(node, state="pruned", check_mode=True)
    assert Path(unneeded["path"]).exists()
    assert run(node, state="pruned") == promised
    assert promised["removed"] == [{"sha256": unneeded["sha256"], "size": 5}]
    assert [entry.name for entry in (node / "images").iterdir()] == [SHA256]
