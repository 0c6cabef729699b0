# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the unit and component tests on the other Pythons of this machine, each with the newest ansible-core for it.

``unit_others.py VENVS JOBS``: the environments are made in VENVS; ``$PYTHONS`` names the Pythons, if it is set, or
else the oldest and the newest found are taken. What is not there is named in the summary, not passed over in silence.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
STEP = [sys.executable, str(CHECKOUT / "tools" / "step.py")]
OLDEST = "3.9"
TESTS = ("tests/unit", "tests/component")


def interpreters() -> list[str]:
    which = "others" if os.environ.get("PYTHONS") else "ends"
    found = subprocess.run([str(CHECKOUT / "tools" / "find_python.sh"), which], check=True, stdout=subprocess.PIPE)
    return found.stdout.decode().split()


def answer(interpreter: str, expression: str) -> str:
    ask = [interpreter, "-c", f"import sys; print({expression})"]
    return subprocess.run(ask, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def main() -> int:
    venvs, jobs = Path(sys.argv[1]), sys.argv[2]
    reports = Path(os.environ["FLEET_REPORTS"])
    status = 0
    tested = []
    for interpreter in interpreters():
        version = answer(interpreter, "'%d.%d' % sys.version_info[:2]")
        venv = venvs / f"unit-{version}"
        name = f"unit-py{version}"
        lock = "requirements/unit.txt"
        place = os.path.relpath(venv, CHECKOUT)
        made = subprocess.run(["tools/make_venv.sh", interpreter, lock, place], cwd=CHECKOUT, check=False)
        if made.returncode:
            status = subprocess.run([*STEP, name, "--", "false"], check=False).returncode
            continue
        python = str(venv / "bin" / "python")
        core = answer(python, "__import__('ansible.release').release.__version__")
        print(f"        Python {version} with ansible-core {core}:", flush=True)
        pytest = [python, "-m", "pytest", "-q", "-n", jobs, f"--junitxml={reports / name}.xml", *TESTS]
        status |= subprocess.run([*STEP, name, "--", *pytest], cwd=CHECKOUT, check=False).returncode
        tested.append(version)
    if OLDEST not in tested and answer(sys.executable, "'%d.%d' % sys.version_info[:2]") != OLDEST:
        reason = f"no Python {OLDEST} on this machine (name one with PYTHONS=/path/to/python{OLDEST})"
        subprocess.run([*STEP, f"unit-py{OLDEST}", "--skipped", reason], check=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
