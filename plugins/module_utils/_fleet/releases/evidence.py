# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is kept of a release that failed: its last words, how it ended, what the checks saw, how it was run.

Kept per trial under ``evidence/<trial id>/``, without secrets, bounded in size and in number. Failing to keep
evidence never keeps a rollback from happening.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Optional

from ..codec import REDACTED, encode
from ..durable import make_folder, write_durably
from ..layout import NodeLayout
from ..model import Instance, Release
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
            "verdict": encode(trial.verdict),
            "checks": [encode(spec, redact=True) for spec in trial.checks],
        }
        write_durably(folder / "report.json", json.dumps(report, indent=1, sort_keys=True).encode("utf-8"))
        _forget_the_oldest(layout.evidence(name), folder)
    except OSError:
        return None
    return str(folder)


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
