# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A state folder as role node leaves it, for what asks who tenders are."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime import tender_user


def prepared_for_tenders(folder: Path, monkeypatch: pytest.MonkeyPatch) -> NodeLayout:
    """A prepared node, whose devices are files and where every folder above may be passed."""
    tun = folder / "tun"
    tun.touch()
    tun.chmod(0o666)
    monkeypatch.setattr(tender_user, "TUN", str(tun))
    monkeypatch.setattr(tender_user, "KVM", str(folder / "kvm"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    layout = NodeLayout(folder / "root")
    layout.images.mkdir(parents=True)
    monkeypatch.setattr(NodeLayout, "images", property(lambda self: Path("/")))
    layout.node.write_text(json.dumps({"tender_user": "nobody"}), encoding="ascii")
    return layout
