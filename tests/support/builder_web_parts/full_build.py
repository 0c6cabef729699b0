# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A whole build in DER: the form of ``/exec`` and ``/upload``."""

from __future__ import annotations

import uuid as uuids
from collections.abc import Iterator
from datetime import datetime, timezone

from ansible_collections.unikernel.fleet.tests.support.builder_web_parts.builds import Artifact, StoredBuild


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def _undo_der(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        tag, size = data[at], data[at + 1]
        at += 2
        if size >= 128:
            octets = size & 0x7F
            size, at = int.from_bytes(data[at : at + octets], "big"), at + octets
        if at + size > len(data):
            raise ValueError("cut short")
        yield tag, data[at : at + size]
        at += size


def full_build(build: StoredBuild) -> bytes:
    """The build in the form of ``/exec`` and ``/upload``."""

    def text(value: bytes) -> bytes:
        return _der(0x0C, value)

    job = text(build.job.encode()) + text(build.script.encode()) + _der(0x30, b"") + text(build.platform.encode())
    times = b"".join(_der(0x18, t.strftime("%Y%m%d%H%M%SZ").encode()) for t in (build.started, build.finished))
    lines = []
    for line in reversed(build.console.splitlines()):
        seconds, _unused, said = line.partition("s:")
        nanoseconds = int(float(seconds) * 1e9)
        delta = nanoseconds.to_bytes(nanoseconds.bit_length() // 8 + 1, "big")
        lines.append(_der(0x30, _der(0x02, delta) + text(said.encode())))
    output = b"".join(_der(0x30, text(path.encode()) + text(a.content)) for path, a in build.artifacts.items())
    finished = (
        _der(0x30, job)
        + text(uuids.UUID(build.uuid).bytes)
        + _der(0x30, b"".join(lines))
        + _der(0x30, times)
        + _der(0xA0, _der(0x02, bytes((build.exit_status,))))
        + _der(0x30, output)
    )
    return _der(0xA0, _der(0x30, finished))


def read_full_build(data: bytes) -> StoredBuild:
    """The build in a full upload; ValueError or IndexError when it is none."""
    ((outer, wrapped),) = _undo_der(data)
    ((inner, sequence),) = _undo_der(wrapped)
    if (outer, inner) != (0xA0, 0x30):
        raise ValueError("not a full build")
    job_field, uuid_field, _console, times, result, output = (content for _unused, content in _undo_der(sequence))
    job = [content for _unused, content in _undo_der(job_field)]
    started, finished = (
        datetime.strptime(content.decode(), "%Y%m%d%H%M%SZ").replace(tzinfo=timezone.utc)
        for _unused, content in _undo_der(times)
    )
    ((_unused, status),) = _undo_der(result)
    files = {}
    for _unused, pair in _undo_der(output):
        (_unused, path), (_unused, content) = _undo_der(pair)
        files[path.decode()] = Artifact.of(content)
    return StoredBuild(
        job=job[0].decode(),
        uuid=str(uuids.UUID(bytes=uuid_field)),
        platform=job[3].decode() if len(job) > 3 else "no-platform",
        started=started,
        finished=finished,
        artifacts=files,
        script=job[1].decode(),
        exit_status=int.from_bytes(status, "big"),
    )
