# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Archives of files as the kernel unpacks them from an initrd: cpio in the format "newc"."""

from __future__ import annotations

FOLDER, FILE, PROGRAM, LINK = 0o040755, 0o100644, 0o100755, 0o120777


def entry(name: str, mode: int, content: bytes) -> bytes:
    """One file, in a folder that came before it; of a link, the content is where it leads to."""
    fields = (0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    header = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode("ascii") + b"\0"
    return header + b"\0" * (-len(header) % 4) + content + b"\0" * (-len(content) % 4)


END = entry("TRAILER!!!", 0, b"")
