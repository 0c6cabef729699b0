# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the nodes answered to ``unikernel_info``, collected from the hosts through which they were asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class NodeAnswers:
    """What runs, by node and name; and why a node is silent."""

    reports: dict[str, dict[str, Mapping[str, Any]]] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=dict)

    @property
    def running_sha256(self) -> dict[tuple[str, str], str]:
        """What a new build is compared with: the image of the confirmed or adoptable release."""
        found = {}
        for node, reports in self.reports.items():
            for name, report in reports.items():
                release = report.get("release") or report.get("adoptable")
                if release:
                    found[node, name] = release["image"]["sha256"]
        return found


def read_answers(
    asked: Mapping[str, str], register: str, raw_variables: Callable[[str], Mapping[str, Any]]
) -> NodeAnswers:
    """``asked``: host to node. An answer that is missing, failed or unreachable makes its node silent."""
    answers = NodeAnswers()
    for host, node in asked.items():
        answer = raw_variables(host).get(register)
        if isinstance(answer, Mapping) and "unikernels" in answer:
            # A node with several state folders is asked once for each.
            answers.reports.setdefault(node, {}).update(answer["unikernels"])
        else:
            answers.silent[node] = f"its node {node} did not answer: {_why(answer)}"
    for node in answers.silent:
        answers.reports.pop(node, None)
    return answers


def _why(answer: Any) -> str:
    if not isinstance(answer, Mapping):
        return "it was not asked"
    words = str(answer.get("msg") or answer.get("module_stderr") or "no reason was given").strip()
    return words if len(words) <= 300 else words[:297] + "..."
