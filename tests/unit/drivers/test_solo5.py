# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the driver ``solo5`` reads from an image, refuses, and gives to a tender. Real tenders: ``tests/live``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers import solo5
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.solo5 import Solo5Guest
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import ReleaseRefused
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import (
    Abi,
    BlockDevice,
    Configuration,
    Exit,
    Image,
    Network,
    Release,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.ports import PortKind, ports_of
from ansible_collections.unikernel.fleet.tests.support.programs import write_program
from ansible_collections.unikernel.fleet.tests.support.solo5_image import (
    BLOCK_BASIC,
    NET_BASIC,
    abi_note,
    elf,
    manifest_note,
)

HVT, SPT, XEN = 1, 2, 6
SERVICE = Network("service", "br0", addresses=("192.0.2.10/24",))


@pytest.fixture
def layout(tmp_path: Path) -> NodeLayout:
    layout = NodeLayout(tmp_path / "state")
    layout.root.mkdir()
    tender = write_program(
        tmp_path / "solo5-spt", "#!/bin/sh\necho solo5-spt tender, version v0.12.1\necho ABI version 2\n"
    )
    layout.tenders.write_text(json.dumps({"spt": str(tender), "hvt": str(tmp_path / "missing")}), encoding="utf-8")
    return layout


def image(folder: Path, target: int = SPT, version: int = 2, devices: Any = ((b"service", NET_BASIC),)) -> Path:
    path = folder / "image"
    path.write_bytes(elf([abi_note(target, version), manifest_note(devices)]))
    return path


def release(**configuration: Any) -> Release:
    given: dict[str, Any] = {"driver": "solo5", "networks": (SERVICE,), **configuration}
    return Release(1, Image("0" * 64, 10), Configuration(**given))


def test_what_fits_is_not_refused(layout: NodeLayout, tmp_path: Path) -> None:
    assert Solo5Guest(layout).refusals(release(memory_mib=32), image(tmp_path)) == []


@pytest.mark.parametrize(
    ("made", "configuration", "reason"),
    [
        ({"target": XEN}, {}, "is for the Solo5 target xen, and this driver runs hvt and spt"),
        ({"target": HVT}, {}, "missing, which .*tenders.json names, cannot be executed"),
        ({"version": 3}, {}, r"is for spt \(ABI 3\), and .*solo5-spt speaks ABI 2"),
        ({}, {"networks": ()}, "wants the network 'service', and none is declared"),
        ({}, {"networks": (SERVICE, Network("other", "br0"))}, "has no network 'other', and one is declared"),
        ({"devices": ()}, {}, "has no network 'service', and one is declared"),
        (
            {"devices": ((b"service", NET_BASIC), (b"data", BLOCK_BASIC))},
            {},
            "wants the block device 'data', and none is declared",
        ),
        ({}, {"block_devices": (BlockDevice("data", "/no/such"),)}, "has no block device 'data', and one is declared"),
        ({}, {"environment": {"A": "b"}}, "an environment was declared"),
        ({}, {"working_directory": "/"}, "a working directory was declared"),
        ({}, {"arguments": ("x" * 4096,) * 2}, "longer than 8191 bytes"),
    ],
)
def test_what_cannot_run_is_refused_from_the_image_itself(
    layout: NodeLayout, tmp_path: Path, made: dict[str, Any], configuration: dict[str, Any], reason: str
) -> None:
    reasons = Solo5Guest(layout).refusals(release(**configuration), image(tmp_path, **made))
    assert any(re.search(reason, one) for one in reasons), reasons


def test_hvt_without_kvm_is_refused(layout: NodeLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solo5, "KVM", str(tmp_path / "kvm"))
    reasons = Solo5Guest(layout).refusals(release(), image(tmp_path, target=HVT))
    assert any("needs" in one and "is not on this node" in one and "spt needs none" in one for one in reasons)


def test_a_build_that_says_something_else_is_refused(layout: NodeLayout, tmp_path: Path) -> None:
    declared = Release(1, Image("0" * 64, 10), release().configuration, abi=Abi("hvt", 2))
    (reason,) = Solo5Guest(layout).refusals(declared, image(tmp_path))
    assert reason == "its build says hvt (ABI 2), its image spt (ABI 2)"


@pytest.mark.parametrize("content", [b"#!/bin/sh\n", b"", b"\x7fELF\x02\x01" + bytes(80)])
def test_what_is_no_solo5_image_is_refused(layout: NodeLayout, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "image"
    path.write_bytes(content)
    assert "no Solo5 image" in Solo5Guest(layout).refusals(release(), path)[0]


def test_a_cut_image_is_refused(layout: NodeLayout, tmp_path: Path) -> None:
    path = image(tmp_path)
    path.write_bytes(path.read_bytes()[:-40])
    assert "cut or damaged" in Solo5Guest(layout).refusals(release(), path)[0]


def test_a_missing_tender_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("shutil.which", lambda name, path: None)
    reasons = Solo5Guest(NodeLayout(tmp_path)).refusals(release(), image(tmp_path))
    assert len(reasons) == 1 and "the tender solo5-spt is not on this node" in reasons[0]


def test_a_garbled_list_of_tenders_is_an_error(layout: NodeLayout, tmp_path: Path) -> None:
    layout.tenders.write_text("{", encoding="utf-8")
    with pytest.raises(ReleaseRefused, match=r"tenders\.json cannot be read.*Nothing was stopped"):
        Solo5Guest(layout).refusals(release(), image(tmp_path))


def test_the_tenders_command_line(layout: NodeLayout, tmp_path: Path) -> None:
    wanted = release(memory_mib=64, arguments=("--ipv4=192.0.2.10/24",), secret_arguments=("--key=geheim",))
    ports = ports_of(str(layout.root), "hello", wanted, PortKind.TAP)
    spec = Solo5Guest(layout).process_spec("hello", wanted, image(tmp_path), tmp_path, ports)
    assert spec.program.endswith("/solo5-spt") and spec.limits == {}
    assert spec.argv == (
        "solo5-spt",
        "--mem=64",
        f"--net:service={ports[0].interface}",
        "--net-mac:service=00:80:41:cd:8a:eb",
        "--",
        str(tmp_path / "image"),
        "--ipv4=192.0.2.10/24",
        "--key=geheim",
    )


def test_an_end_is_explained_and_a_supervisors_remark_stays(layout: NodeLayout) -> None:
    end = Exit(status=64, meaning="exited with status 64; given up after 10 restarts in a row")
    told = Solo5Guest(layout).explained(None, end, lambda lines: ("Solo5: solo5_exit(64) called",))
    assert told.meaning == (
        "exited with status 64: the guest ended by itself (solo5_exit(64)); given up after 10 restarts in a row"
    )
