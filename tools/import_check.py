# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds the collection's archive and lets galaxy-importer judge it, as Galaxy does when a release is uploaded.

``import_check.py COLLECTION WORK``. Any error fails, and so does any warning that is not named in EXPECTED.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

# The collection's other checks run these with settings of their own, or they need a container engine.
SETTINGS = """[galaxy-importer]
ansible_local_tmp = {work}/tmp
ansible_test_local_image = False
check_changelog = True
check_required_tags = False
infra_osd = False
local_image_docker = False
log_level_main = INFO
require_v1_or_greater = False
run_ansible_doc = True
run_ansible_lint = True
run_ansible_test = False
run_flake8 = False
"""
# What the importer says of every collection that is tested like this one.
EXPECTED: tuple[str, ...] = ()
COMPLAINT = re.compile(r"^(?:\w+:\s*)?(ERROR|WARNING|CRITICAL)\b|Traceback|\bImporterError\b", re.MULTILINE)


def run(command: list[str], environment: dict[str, str], folder: Path) -> tuple[int, str]:
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return done.returncode, done.stdout.decode("utf-8", "replace")


def main() -> int:
    collection, work = Path(sys.argv[1]), Path(sys.argv[2])
    (work / "tmp").mkdir(parents=True, exist_ok=True)
    settings = work / "galaxy-importer.cfg"
    settings.write_text(SETTINGS.format(work=work), encoding="utf-8")
    for old in work.glob("*.tar.gz"):
        old.unlink()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment.update(GALAXY_IMPORTER_CONFIG=str(settings), HOME=str(work / "home"))
    bin_folder = Path(sys.executable).parent
    build = [str(bin_folder / "ansible-galaxy"), "collection", "build", "--force", "--output-path", str(work)]
    status, said = run(build, environment, collection)
    archives = sorted(work.glob("*.tar.gz"))
    if status or not archives:
        print(said)
        return status or 1
    judge = [sys.executable, "-m", "galaxy_importer.main", "--print-result", str(archives[0])]
    status, said = run(judge, environment, work)
    lines = said.splitlines()
    complaints = [line for line in lines if COMPLAINT.search(line) and not any(known in line for known in EXPECTED)]
    print(said)
    if complaints:
        print("galaxy-importer complains:", *complaints, sep="\n  ")
    return 1 if status or complaints else 0


if __name__ == "__main__":
    sys.exit(main())
