# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the nodes answered to ``unikernel_info``, collected from the hosts through which they were asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Optional


@dataclass(frozen=True)
class NodeAnswers:
    """What runs, by node and name; and why a node is silent."""

    reports: dict[str, dict[str, Mapping[str, Any]]] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=dict)
    roots: dict[tuple[str, str], str] = field(default_factory=dict)
    """By node and name, the state folder in which it was found."""
    frozen: dict[str, str] = field(default_factory=dict)
    """Nodes on which all changes are frozen, and what they say about it."""
    silent_elsewhere: dict[str, str] = field(default_factory=dict)
    """Nodes that were only asked whether something runs there that is to be deployed to another one."""

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
    asked: Mapping[str, str],
    register: str,
    raw_variables: Callable[[str], Mapping[str, Any]],
    roots: Optional[Mapping[str, str]] = None,
) -> NodeAnswers:
    """``asked``: host to node; ``roots``: host to the state folder that was asked about.

    An answer that is missing, failed or unreachable makes its node silent.
    """
    answers = NodeAnswers()
    for host, node in asked.items():
        answer = raw_variables(host).get(register)
        if isinstance(answer, Mapping) and "unikernels" in answer:
            # A node with several state folders is asked once for each.
            answers.reports.setdefault(node, {}).update(answer["unikernels"])
            if roots and host in roots:
                answers.roots.update({(node, name): roots[host] for name in answer["unikernels"]})
            inhibited = (answer.get("node") or {}).get("inhibited")
            if inhibited:
                answers.frozen[node] = str(inhibited)
        else:
            said = isinstance(answer, Mapping) and not answer.get("unreachable") and answer.get("msg")
            answers.silent[node] = f"its node {node} {'could not say' if said else 'did not answer'}: {_why(answer)}"
    for node in answers.silent:
        answers.reports.pop(node, None)
    return answers


def without(answers: NodeAnswers, others: Mapping[str, Sequence[str]]) -> NodeAnswers:
    """The same without what is declared outside of this run: by node, the names of it.

    It is neither forgotten by the inventory nor free to be moved, only because ``--limit`` leaves it out.
    """
    reports = {
        node: {name: report for name, report in there.items() if name not in others.get(node, ())}
        for node, there in answers.reports.items()
    }
    return replace(answers, reports=reports)


def with_answers_from_elsewhere(
    answers: NodeAnswers, asked: Mapping[str, str], register: str, raw_variables: Callable[[str], Mapping[str, Any]]
) -> NodeAnswers:
    """The same with what other nodes said in a loop over ``{"node": ..., "root": ...}`` about what is not there."""
    reports = {node: dict(there) for node, there in answers.reports.items()}
    roots, silent = dict(answers.roots), dict(answers.silent_elsewhere)
    for host in asked:
        for one in raw_variables(host).get(register, {}).get("results", ()):
            place = one["item"]
            if "unikernels" not in one:
                silent[place["node"]] = _why(one)
                continue
            found = {name: report for name, report in one["unikernels"].items() if report.get("release") is not None}
            reports.setdefault(place["node"], {}).update(found)
            roots.update({(place["node"], name): place["root"] for name in found})
    return replace(answers, reports=reports, roots=roots, silent_elsewhere=silent)


def _why(answer: Any) -> str:
    if not isinstance(answer, Mapping):
        return "it was not asked"
    said = [str(answer.get(key) or "").strip() for key in ("msg", "module_stderr", "module_stdout")]
    words = "; ".join(part for part in said if part) or "no reason was given"
    return words if len(words) <= 400 else words[:397] + "..."
