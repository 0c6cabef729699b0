# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Counts the cases of all fault matrices, also when several processes run them."""

from __future__ import annotations

from collections import Counter

import pytest

_TOTAL = pytest.StashKey[str]()


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    counts: Counter[str] = Counter()
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, value in report.user_properties:
                counts[name] += int(str(value))
    survived = counts["cases"] - counts["lost"]
    terminalreporter.config.stash[_TOTAL] = (
        f"{counts['cases']} cases, {survived} survived, {counts['lost']} lost, {counts['leftovers']} leftovers"
    )


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """The last line of all."""
    if _TOTAL in config.stash:
        print(config.stash[_TOTAL])
