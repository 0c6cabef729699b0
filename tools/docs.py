# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the collection's documentation as HTML: the guides in docs/, and a page per module from its own text.

``docs.py FOLDER`` lets antsibull-docs set up a Sphinx project in FOLDER and write the modules' pages, puts the guides
and the README beside them, and renders everything. No network is needed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
COLLECTION = "unikernel.fleet"

INDEX = """
{title}
{underline}

.. toctree::
   :maxdepth: 1
   :caption: Guides

   README
{guides}

.. toctree::
   :maxdepth: 2
   :caption: Modules, plugins and roles

   collections/unikernel/fleet/index
   collections/environment_variables
"""

# The inventories of other projects' pages lie on their sites. The guides are also read on the repository's pages, so
# their links name files there, of which some (code, licences) are no pages here.
SETTINGS = """
extensions += ["myst_parser"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
intersphinx_mapping = {}
exclude_patterns = ["collections/index.rst", "collections/deprecations.rst", "collections/unikernel/index.rst"]
suppress_warnings = ["myst.xref_missing", "myst.header", "misc.highlighting_failure", "toc.not_included", "ref.ref"]
"""


def write_module_pages(pages: Path) -> None:
    antsibull = str(Path(sys.executable).parent / "antsibull-docs")
    start = [antsibull, "sphinx-init", "--use-current", "--dest-dir", str(pages.parent), "--project", COLLECTION]
    subprocess.run([*start, "--title", COLLECTION, "--lenient", COLLECTION], check=True, stdout=subprocess.DEVNULL)
    generate = [antsibull, "collection", "--use-current", "--fail-on-error", "--dest-dir", str(pages), COLLECTION]
    subprocess.run(generate, check=True)


def put_guides_beside(pages: Path) -> None:
    """As in the checkout: README.md and docs/, so that the links between them hold."""
    shutil.copy2(CHECKOUT / "README.md", pages / "README.md")
    guides = sorted((CHECKOUT / "docs").rglob("*.md"))
    if guides:
        shutil.copytree(CHECKOUT / "docs", pages / "docs")
    listed = "\n".join(f"   {guide.relative_to(CHECKOUT).with_suffix('').as_posix()}" for guide in guides)
    index = INDEX.format(title=COLLECTION, underline="=" * len(COLLECTION), guides=listed)
    (pages / "index.rst").write_text(index, encoding="utf-8")


def main() -> int:
    folder = Path(sys.argv[1]).absolute()
    pages = folder / "rst"
    shutil.rmtree(folder, ignore_errors=True)
    pages.mkdir(parents=True)
    write_module_pages(pages)
    put_guides_beside(pages)
    with (folder / "conf.py").open("a", encoding="utf-8") as lines:
        lines.write(SETTINGS)
    render = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-c", str(folder)]
    return subprocess.run([*render, str(pages), str(folder / "html")], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
