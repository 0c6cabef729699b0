# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Says at the end of ``make test`` what ran, what failed, and what was skipped and why, by name.

``summary.py REPORTS`` reads ``steps.jsonl`` (see step.py) and the JUnit files that pytest wrote. A pytest run counts
by its tests, any other step counts as one. Exits with 1 if anything failed or nothing ran at all.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

LONGEST_REASON = 160


def counted_tests(reports: Path) -> tuple[dict[str, Counter[str]], Counter[tuple[str, str, str]]]:
    """Per pytest run its counts, and how often each (run, test without parameters, reason) was skipped."""
    counts: dict[str, Counter[str]] = {}
    skips: Counter[tuple[str, str, str]] = Counter()
    for path in sorted(reports.glob("*.xml")):
        count: Counter[str] = Counter()
        for case in ElementTree.parse(path).iter("testcase"):
            skipped = case.find("skipped")
            if case.find("failure") is not None or case.find("error") is not None:
                count["failed"] += 1
            elif skipped is not None:
                count["skipped"] += 1
                reason = skipped.get("message", "no reason given")
                # Of a file that was skipped whole, pytest puts the reason at the end of the element's text.
                if reason == "collection skipped":
                    reason = (skipped.text or "").rpartition("Skipped: ")[2].rstrip("'\")\n ")
                reason = " ".join(reason.split())
                test = f"{case.get('classname', '')}.{case.get('name', '')}".lstrip(".").partition("[")[0]
                skips[path.stem, test, reason[:LONGEST_REASON]] += 1
            else:
                count["passed"] += 1
        counts[path.stem] = count
    return counts, skips


def recorded_steps(reports: Path) -> list[dict[str, object]]:
    path = reports / "steps.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def main() -> int:
    reports = Path(sys.argv[1])
    counts, skips = counted_tests(reports)
    steps = recorded_steps(reports)
    total: Counter[str] = Counter()
    failures: list[str] = []
    skipped: list[str] = []
    for count in counts.values():
        total.update(count)
    for step in steps:
        name = str(step["step"])
        if "skipped" in step:
            total["skipped"] += 1
            skipped.append(f"{name}: {step['skipped']}")
            continue
        if step["status"] != 0:
            failures.append(name)
        # A pytest run that failed without a failed test (a crash, a broken import) still counts as a failure.
        if name not in counts:
            total["passed" if step["status"] == 0 else "failed"] += 1
        elif step["status"] != 0 and not counts[name]["failed"]:
            total["failed"] += 1
    skipped += [
        f"{run}: {test}{f' ({times} times)' if times > 1 else ''}: {why}" for (run, test, why), times in skips.items()
    ]

    print()
    for name, count in counts.items():
        print(f"{name}: {count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped")
    print(f"steps: {', '.join(str(step['step']) for step in steps if 'skipped' not in step) or 'none'}")
    if skipped:
        print("skipped, and why:")
        for line in sorted(skipped):
            print(f"  {line}")
    else:
        print("nothing was skipped")
    if failures:
        print(f"FAILED: {', '.join(failures)} (the whole output is above)")
    print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
    return 1 if failures or total["failed"] or not total["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
