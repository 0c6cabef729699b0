# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a double of builder-web holds: builds and their files."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Optional


@dataclass(frozen=True)
class Artifact:
    """A file of a build: its bytes on the disk, and what the database says of them (the two may differ)."""

    content: bytes
    sha256: str
    size: int

    @classmethod
    def of(cls, content: bytes) -> Artifact:
        return cls(content, hashlib.sha256(content).hexdigest(), len(content))

    @classmethod
    def recorded(cls, sha256: str, size: int) -> Artifact:
        """A file whose bytes are not at hand."""
        return cls(bytes(size), sha256, size)

    @property
    def etag(self) -> str:
        return base64.b64encode(bytes.fromhex(self.sha256)).decode("ascii")


@dataclass
class StoredBuild:
    """One build."""

    job: str
    uuid: str
    platform: str
    started: datetime
    finished: datetime
    artifacts: dict[str, Artifact]
    script: str = "#!/bin/sh\n# built by hand\n"
    console: str = ""
    exit_status: int = 0
    solo5_target: Optional[str] = None
    """None: its main binary is no Solo5 ELF."""
    devices: tuple[tuple[str, str], ...] = ()
    """Name and type of each."""

    @property
    def main_binary(self) -> Optional[str]:
        """Path of the only file in ``bin/``; with none or several the build counts as failed."""
        found = [path for path in self.artifacts if path.startswith("bin/")]
        return found[0] if len(found) == 1 else None

    @property
    def main_artifact(self) -> Optional[Artifact]:
        path = self.main_binary
        return self.artifacts[path] if path else None
