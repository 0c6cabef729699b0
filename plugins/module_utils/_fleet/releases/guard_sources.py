# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a guard is made of: the source files of the library from which it was installed, and how two are compared."""

from __future__ import annotations

import json
import pkgutil
import sys
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Optional

SEALS = "sources.json"
"""In the guard's archive, beside the sources."""

_LIBRARY = __name__.rpartition(".releases.")[0]


def library_sources() -> dict[str, bytes]:
    """Path within the package to source text, of every file of the library that is at hand."""
    package = sys.modules[_LIBRARY]
    folder = Path(package.__path__[0])
    archive = _enclosing_archive(folder)
    if archive is None:
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*.py"))
            if "__pycache__" not in path.parts
        }
    prefix = str(folder.relative_to(archive)) + "/"
    with zipfile.ZipFile(archive) as opened:
        return {
            entry[len(prefix) :]: opened.read(entry)
            for entry in sorted(opened.namelist())
            if entry.startswith(prefix) and entry.endswith(".py")
        }


def _enclosing_archive(folder: Path) -> Optional[Path]:
    return next((parent for parent in folder.parents if parent.is_file()), None)


def seals(sources: Mapping[str, bytes]) -> list[str]:
    """One short word for each file, of its path and content (CRC-32): enough to tell whether two have the same file."""
    return sorted(f"{zlib.crc32(source, zlib.crc32(name.encode())):08x}" for name, source in sources.items())


def own_seals() -> list[str]:
    """Of the guard that calls this; none when it was installed by a version that did not keep them."""
    try:
        kept = pkgutil.get_data(_LIBRARY, SEALS)
    except OSError:
        return []
    return [] if kept is None else list(json.loads(kept))


def is_of(theirs: Sequence[str]) -> bool:
    """Whether the guard that calls this runs the code of a library with these seals, which may have more files."""
    mine = own_seals()
    return bool(mine) and set(mine) <= set(theirs)
