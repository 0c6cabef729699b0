# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real tenders instead of played ones: taps on real bridges, and Solo5's own programs on them, with the same commands
of ``ip`` in the same order as albatross has on Linux, so that a gap takes its time where the real one does.

Needs root, the bridges, and a network namespace that is nobody's: its taps are called ``vmmtap0`` and so on.
"""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import UnikernelConfig
from ansible_collections.unikernel.fleet.tests.support.albatross.faults import Fault

_PREFIX = "vmmtap"
_ONE_AT_A_TIME = threading.Lock()


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=20, check=False)
    if done.returncode:
        raise Fault(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def make_taps(config: UnikernelConfig) -> tuple[str, ...]:
    """One for each network, on its bridge."""
    with _ONE_AT_A_TIME:
        return tuple(_make_tap(use.bridge or use.guest_device) for use in config.networks)


def _make_tap(bridge: str) -> str:
    # albatross asks "ip tuntap show", which sees through /sys, and that may be of another network namespace.
    there = {link["ifname"] for link in json.loads(_ip("-j", "link", "show"))}
    tap = next(name for number in range(len(there) + 1) if (name := f"{_PREFIX}{number}") not in there)
    _ip("tuntap", "add", tap, "mode", "tap")
    _ip("link", "set", "dev", tap, "up")
    _ip("link", "set", "dev", tap, "master", bridge)
    return tap


def remove_taps(taps: tuple[str, ...]) -> None:
    for tap in taps:
        _ip("tuntap", "del", "dev", tap, "mode", "tap")


def command(
    tender: Path, config: UnikernelConfig, macs: tuple[str, ...], taps: tuple[str, ...], image: Path, words: list[str]
) -> list[str]:
    """As albatross calls it."""
    nets = [
        option
        for use, mac, tap in zip(config.networks, macs, taps)
        for option in (f"--net:{use.guest_device}={tap}", f"--net-mac:{use.guest_device}={mac}")
    ]
    cpus = ",".join(map(str, sorted(set(config.cpus))))
    return ["taskset", "-c", cpus, str(tender), f"--mem={config.memory_mib}", *nets, "--", str(image), *words]
