# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is kept of a release that failed: its last words, how it ended, what the checks saw, how it was run.

Kept per trial under ``evidence/<trial id>/``, without secrets (but for a core, see ``kept_core.py``), bounded in size
and in number. Failing to keep evidence never keeps a rollback from happening.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Optional

from ..codec import REDACTED, encode
from ..durable import make_folder, write_durably
from ..errors import FleetError
from ..layout import NodeLayout
from ..model import Instance, Release
from .kept_core import KeptCore, keep_core
from .node import Node
from .state import Trial

MOST_TRIALS = 10
"""Trials per unikernel whose evidence is kept."""

CONSOLE_LINES = 500

_SHORTEST_SECRET = 4
"""Shorter values are not searched for in the console: they would blank out half of any text."""


def keep(
    layout: NodeLayout,
    name: str,
    trial: Trial,
    console: Iterable[str],
    instances: Iterable[Instance],
    core: Optional[KeptCore] = None,
) -> Optional[str]:
    """Write the evidence of a trial and return its folder; None when it could not be written."""
    folder = layout.evidence(name) / trial.id
    try:
        make_folder(folder)
        lines = redacted(console, trial.candidate)
        write_durably(folder / "console.txt", "".join(line + "\n" for line in lines).encode("utf-8", "replace"))
        report = {
            "trial": trial.id,
            "reason": trial.reason,
            "begun_at": trial.begun_at,
            "who": trial.holder.who,
            "release": encode(trial.candidate, redact=True),
            "instances": [encode(instance) for instance in instances],
            "core": encode(core),
            "verdict": encode(trial.verdict),
            "checks": [encode(spec, redact=True) for spec in trial.checks],
        }
        write_durably(folder / "report.json", json.dumps(report, indent=1, sort_keys=True).encode("utf-8"))
        _forget_the_oldest(layout.evidence(name), folder)
    except OSError:
        return None
    return str(folder)


def keep_of(node: Node, name: str, trial: Trial, what_runs: Sequence[Instance]) -> Optional[str]:
    """The evidence of a trial whose candidate was swapped in, from what its driver still has of it."""
    console: tuple[str, ...] = ()
    core: Optional[KeptCore] = None
    if trial.candidate is not None:
        driver, number = node.driver_for(trial.candidate), trial.candidate.number
        with suppress(FleetError, OSError):
            console = driver.console(name, number, CONSOLE_LINES)
        core = core_of(node.layout, name, trial, lambda: driver.core(name, number))
    return keep(node.layout, name, trial, console, what_runs, core)


def core_of(layout: NodeLayout, name: str, trial: Trial, find: Callable[[], Optional[Path]]) -> Optional[KeptCore]:
    """Take the core of a candidate that has ended, before what it lies in is removed; None when it left none."""
    if trial.candidate is None or not trial.candidate.configuration.core_dump.enabled:
        return None
    folder = layout.evidence(name) / trial.id
    with suppress(FleetError, OSError):
        core = find()
        if core is not None:
            make_folder(folder)
            return keep_core(core, folder, trial.candidate.configuration.core_dump.most_mib)
    return None


def redacted(lines: Iterable[str], release: Optional[Release]) -> list[str]:
    """Console lines in which the values of the release's secrets are hidden."""
    values: list[str] = []
    if release is not None:
        configuration = release.configuration
        values = [*configuration.secret_arguments, *configuration.secret_environment.values()]
        # "--key=VALUE" is one argument, but a program prints the value.
        values += [value.split("=", 1)[1] for value in configuration.secret_arguments if "=" in value]
    values = sorted({v for v in values if len(v) >= _SHORTEST_SECRET}, key=len, reverse=True)
    result = []
    for line in lines:
        for value in values:
            line = line.replace(value, REDACTED)
        result.append(line)
    return result


def _forget_the_oldest(evidence: Path, newest: Path) -> None:
    folders = sorted((f for f in evidence.iterdir() if f.is_dir() and f != newest), key=lambda f: f.stat().st_mtime)
    for folder in folders[: max(0, len(folders) + 1 - MOST_TRIALS)]:
        shutil.rmtree(folder)
