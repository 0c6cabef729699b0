# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the collection's documentation as HTML: the guides in docs/, and a page per module from its own text.

``docs.py FOLDER`` lets antsibull-docs set up a Sphinx project in FOLDER, generates the pages, and renders them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path


def main() -> int:
    folder = Path(sys.argv[1]).absolute()
    tools = Path(sys.executable).parent
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    start = [str(tools / "antsibull-docs"), "sphinx-init", "--use-current", "--dest-dir", str(folder)]
    start += ["--project", "unikernel.fleet", "--title", "unikernel.fleet", "--lenient", "unikernel.fleet"]
    subprocess.run(start, check=True)
    pages = ["collection", "--use-current", "--no-add-antsibull-docs-version", "--fail-on-error"]
    pages += ["--use-html-blobs", "--dest-dir", str(folder / "rst"), "unikernel.fleet"]
    (folder / "rst").mkdir(exist_ok=True)
    subprocess.run([str(tools / "antsibull-docs"), *pages], check=True)
    for file in (folder / "rst").glob("*.rst"):
        print(file.name)
    configuration = folder / "conf.py"
    # The inventories of other projects' pages lie on their sites; the pages must also come out without a network.
    with configuration.open("a", encoding="utf-8") as lines:
        lines.write("\nintersphinx_mapping = {}\nnitpicky = False\n")
    render = [sys.executable, "-m", "sphinx", "-q", "-b", "html", "-c", str(folder)]
    return subprocess.run([*render, str(folder / "rst"), str(folder / "html")], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
