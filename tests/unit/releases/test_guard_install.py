# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The installed guard: one stable name for the newest, and one guard per trial."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest
import yaml

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet import version
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases import guard_cli, guard_install

COLLECTION = Path(__file__).resolve().parents[3]


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NodeLayout:
    monkeypatch.setattr(guard_install, "uses_systemd", lambda machine: False)
    return NodeLayout(tmp_path)


def other_guard(layout: NodeLayout, of_version: str) -> Path:
    path = layout.guards / f"{'0' * 16}.pyz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.comment = of_version.encode("ascii")
    layout.guard.symlink_to(path.relative_to(layout.root))
    return path


def test_the_version_is_that_of_the_collection() -> None:
    assert yaml.safe_load((COLLECTION / "galaxy.yml").read_text(encoding="utf-8"))["version"] == version.VERSION


@pytest.mark.parametrize(("older", "newer"), [("0.1.0", "0.2.0"), ("0.9.0", "0.10.0"), ("1.0.0-beta.1", "1.0.0")])
def test_versions_are_in_the_order_of_their_releases(older: str, newer: str) -> None:
    assert version.ordered(older) < version.ordered(newer)


def test_an_installed_guard_has_a_stable_name(layout: NodeLayout) -> None:
    path = guard_install.install(layout)
    assert layout.guard.resolve() == path.resolve()
    assert guard_install.version_of(path) == version.VERSION
    assert guard_install.install(layout) == path


def test_a_newer_collection_replaces_the_guard(layout: NodeLayout) -> None:
    other_guard(layout, "0.0.1")
    path = guard_install.install(layout)
    assert layout.guard.resolve() == path.resolve()


def test_an_older_collection_does_not_replace_a_newer_guard(layout: NodeLayout) -> None:
    newer = other_guard(layout, "99.0.0")
    path = guard_install.install(layout)
    assert path.exists()
    assert layout.guard.resolve() == newer.resolve()


def test_a_guard_that_is_gone_is_replaced(layout: NodeLayout) -> None:
    other_guard(layout, "99.0.0").unlink()
    path = guard_install.install(layout)
    assert layout.guard.resolve() == path.resolve()


def test_the_guard_that_the_units_run_is_never_forgotten(layout: NodeLayout) -> None:
    newer = other_guard(layout, "99.0.0")
    os.utime(newer, (0, 0))
    for number in range(guard_install.MOST_GUARDS + 2):
        (layout.guards / f"{number}.pyz").write_bytes(b"")
    guard_install.install(layout)
    assert newer.exists()


def test_a_trial_has_one_guard_at_a_time(layout: NodeLayout) -> None:
    first = guard_cli.guard_lock(layout, "www", "t1")
    assert first is not None
    assert guard_cli.guard_lock(layout, "www", "t1") is None
    os.close(first)
    again = guard_cli.guard_lock(layout, "www", "t1")
    assert again is not None
    os.close(again)
