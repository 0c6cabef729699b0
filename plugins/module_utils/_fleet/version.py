# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The version of the collection that this library is of. A test holds it equal to ``galaxy.yml``."""

from __future__ import annotations

VERSION = "0.1.0"


def ordered(version: str) -> tuple[tuple[int, ...], bool, str]:
    """What versions are compared by (semantic versioning: a pre-release comes before its release)."""
    release, _unused, early = version.partition("+")[0].partition("-")
    return tuple(int(part) if part.isdigit() else 0 for part in release.split(".")), not early, early
