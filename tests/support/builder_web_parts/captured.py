# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a builder-web was heard to answer."""

from __future__ import annotations

import functools
import re
from pathlib import Path

CAPTURES = Path(__file__).resolve().parents[1] / "data" / "builder_web"


@functools.cache
def captured(name: str) -> list[tuple[int, list[tuple[str, str]], bytes]]:
    """The answers in a recorded file: status, headers as written, body."""
    raw = (CAPTURES / name).read_bytes()
    answers = []
    for part in re.split(rb"^(?=HTTP/1\.1 )", raw, flags=re.M)[1:]:
        head, _unused, body = part.partition(b"\n\n")
        lines = head.decode("latin-1").split("\n")
        headers = [(key, value) for key, _unused, value in (line.partition(": ") for line in lines[1:])]
        # The recorder ended each body with a new line of its own.
        length = dict(headers).get("content-length")
        placeholder = re.match(rb"<\d+ bytes of binary, sha256 [0-9a-f]{64}>", body)
        body = body[: int(length)] if length and not placeholder else body.rstrip(b"\n")
        answers.append((int(lines[0].split()[1]), headers, body))
    return answers
