# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs one named step of the tests: one line when it passes, its whole output when it fails.

``step.py [--last-line] NAME -- COMMAND...`` appends the outcome to ``$FLEET_REPORTS/steps.jsonl``, for the summary of
``make test``; with ``--last-line`` the last line of the output is shown as well.
``step.py NAME --skipped REASON`` records a step that could not run here, so that it is named and not forgotten.
A step's standard input is empty: nothing may wait for a person.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path


def record(outcome: dict[str, object]) -> None:
    reports = os.environ.get("FLEET_REPORTS")
    if reports:
        folder = Path(reports)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "steps.jsonl").open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(outcome) + "\n")


def run(name: str, command: list[str], last_line: bool) -> int:
    began = time.monotonic()
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        status, output = done.returncode, done.stdout.decode("utf-8", "replace")
    except OSError as error:
        status, output = 127, f"{command[0]}: {error.strerror}\n"
    seconds = round(time.monotonic() - began, 1)
    record({"step": name, "status": status, "seconds": seconds})
    if status == 0:
        print(f"ok      {name} ({seconds} s)", flush=True)
        if last_line and output.strip():
            print(output.strip().splitlines()[-1], flush=True)
    else:
        shown = output if output.endswith("\n") else output + "\n"
        print(f"FAILED  {name} ({seconds} s), exit status {status}:\n{shown}", flush=True)
    return status


def main() -> int:
    arguments = sys.argv[1:]
    last_line = arguments[:1] == ["--last-line"]
    arguments = arguments[last_line:]
    if len(arguments) == 3 and arguments[1] == "--skipped":
        record({"step": arguments[0], "skipped": arguments[2]})
        print(f"skipped {arguments[0]}: {arguments[2]}", flush=True)
        return 0
    if len(arguments) < 3 or arguments[1] != "--":
        print(f"usage: {sys.argv[0]} [--last-line] NAME -- COMMAND... | NAME --skipped REASON", file=sys.stderr)
        return 2
    return 1 if run(arguments[0], arguments[2:], last_line) else 0


if __name__ == "__main__":
    sys.exit(main())
