# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How trials are begun and judged in tests that are the guard themselves."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.model import CheckSpec, Outcome, Verdict
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import TrialOptions

AT_ONCE = TrialOptions(timeout_s=0.0)
"""No trial at all."""
ON_TRIAL = TrialOptions(timeout_s=60.0)
PASSED = Verdict(Outcome.PASS, "all well")
FAILED = Verdict(Outcome.FAIL, "web: refused")


def armed(name: str, trial: str, checks: Sequence[CheckSpec]) -> None:
    """A guard that is there and never does anything."""
