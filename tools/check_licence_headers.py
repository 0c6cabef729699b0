# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks that every source file begins with the licence header; ``reuse lint`` then sees to all other files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
SUFFIXES = frozenset({".py", ".sh", ".yml", ".yaml", ".toml", ".ini", ".cfg", ".j2"})
NAMES = frozenset({"Makefile", ".ci/run", ".ansible-lint", ".yamllint", ".editorconfig"})
# Written by antsibull-changelog, which drops comments.
GENERATED = frozenset({"changelogs/changelog.yaml"})
HEADER = (
    "# Copyright (c) 2026, the unikernel.fleet authors",
    "# GNU General Public License v3.0+ "
    "(see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)",
    # In two pieces, or `reuse lint` would take it for this file's own.
    "# SPDX-License-" + "Identifier: GPL-3.0-or-later",
)
FIRST_LINES = 8


def is_source(name: str) -> bool:
    return name not in GENERATED and (Path(name).suffix in SUFFIXES or name in NAMES)


def main() -> int:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=CHECKOUT, check=True, stdout=subprocess.PIPE).stdout.decode()
    status = 0
    for name in sorted(filter(None, listed.split("\0"))):
        path = CHECKOUT / name
        if not is_source(name) or path.is_symlink() or not path.is_file() or not path.stat().st_size:
            continue
        # A vault-encrypted file cannot carry a header: its first line says what it is.
        lines = path.read_text(encoding="utf-8").splitlines()[:FIRST_LINES]
        if lines[0].startswith("$ANSIBLE_VAULT"):
            continue
        missing = [line for line in HEADER if line not in lines]
        if missing:
            print(f"{name}:1: the licence header lacks: {missing[0]}")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
