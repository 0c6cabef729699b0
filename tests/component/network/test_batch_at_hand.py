# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changes of the network whose process waits until it is told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.ip_command import BatchAtHand, IpError
from ansible_collections.unikernel.fleet.tests.support import network_lab as lab_support
from ansible_collections.unikernel.fleet.tests.support.network_lab import Lab, links, network_lab

WHY_NOT = lab_support.why_not_here()
pytestmark = [pytest.mark.skipif(bool(WHY_NOT), reason=f"a real bridge: {WHY_NOT}")]

MADE = ("link", "add", "made", "type", "bridge")


@pytest.fixture
def lab() -> Iterator[Lab]:
    with network_lab() as made:
        yield made


@pytest.mark.usefixtures("lab")
def test_what_is_told_is_done() -> None:
    with BatchAtHand([MADE, ("link", "set", "made", "up")]) as batch:
        assert "made" not in links()
        batch.tell()
        batch.finish()
        assert "made" in links()


@pytest.mark.usefixtures("lab")
def test_what_is_not_told_is_not_done() -> None:
    with BatchAtHand([MADE]):
        pass
    assert "made" not in links()


@pytest.mark.usefixtures("lab")
def test_what_the_kernel_refuses_is_said() -> None:
    with BatchAtHand([("link", "set", "missing", "up")]) as batch:
        batch.tell()
        with pytest.raises(IpError, match="missing"):
            batch.finish()


def test_nothing_to_do_needs_no_process() -> None:
    with BatchAtHand([]) as batch:
        batch.tell()
        batch.finish()
