# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lays the collection where Ansible and Python look for it: ``ROOT/ansible_collections/unikernel/fleet``.

``link ROOT`` makes that path a symbolic link to the checkout: what runs is what is being edited.
``copy ROOT`` makes it a real folder with the files that git knows or would add, as a release has them; ansible-test
and galaxy-importer follow no link out of the tree. Files that have not changed are left alone, so their caches hold.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent


def link(place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_symlink():
        if place.resolve() == CHECKOUT:
            return
        place.unlink()
    elif place.is_dir():
        shutil.rmtree(place)
    place.symlink_to(CHECKOUT, target_is_directory=True)


def files_of_the_checkout() -> list[Path]:
    """Every file that is committed or could be: tracked or untracked, not ignored, and still there."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=CHECKOUT, check=True, stdout=subprocess.PIPE).stdout
    names = sorted({Path(os.fsdecode(name)) for name in listed.split(b"\0") if name})
    return [name for name in names if (CHECKOUT / name).is_symlink() or (CHECKOUT / name).is_file()]


def same(source: Path, target: Path) -> bool:
    if source.is_symlink() or target.is_symlink():
        return source.is_symlink() and target.is_symlink() and os.readlink(source) == os.readlink(target)
    return target.is_file() and source.stat().st_mode == target.stat().st_mode and filecmp.cmp(source, target, False)


def copy(place: Path) -> None:
    if place.is_symlink():
        place.unlink()
    place.mkdir(parents=True, exist_ok=True)
    wanted = set(files_of_the_checkout())
    # What the tools left there stays: a repository that ansible-test wants, and its results.
    kept = {place / ".git", place / "tests" / "output"}
    for folder, folders, names in os.walk(place):
        folders[:] = [inner for inner in folders if Path(folder) / inner not in kept]
        for name in names:
            present = Path(folder) / name
            if present.relative_to(place) not in wanted:
                present.unlink()
    for name in sorted(wanted):
        source, target = CHECKOUT / name, place / name
        if same(source, target):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_symlink() or target.exists():
            target.unlink()
        shutil.copy2(source, target, follow_symlinks=False)
    remove_empty_folders(place, kept)


def remove_empty_folders(folder: Path, kept: set[Path]) -> None:
    for inner in folder.iterdir():
        if inner.is_dir() and not inner.is_symlink() and inner not in kept:
            remove_empty_folders(inner, kept)
            if not any(inner.iterdir()):
                inner.rmdir()


def main() -> int:
    if len(sys.argv) != 3 or sys.argv[1] not in ("link", "copy"):
        print(f"usage: {sys.argv[0]} link|copy ROOT", file=sys.stderr)
        return 2
    place = Path(sys.argv[2]).absolute() / "ansible_collections" / "unikernel" / "fleet"
    (link if sys.argv[1] == "link" else copy)(place)
    return 0


if __name__ == "__main__":
    sys.exit(main())
