# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A double of builder-web: a real HTTP server on loopback that answers as the recorded one did, odd habits included.

In tests:      ``with BuilderWebDouble() as web: web.add_build("hello", b"...", platform="debian-12"); web.url``
As a program:  ``python tests/support/builder_web.py --data FOLDER --port-file FILE [--user NAME:PASSWORD]``
               serves every ``FOLDER/*/build.json`` (``{"job": ..., "platform": ..., "uuid": ..., "started_at": ...}``)
               with the files that lie beside it (``bin/NAME``, ``opam-switch``, ...), and looks for new ones at each
               request. The port is written to FILE once it listens.
"""

from __future__ import annotations

import argparse
import base64
import functools
import hashlib
import json
import os
import re
import signal
import socket
import socketserver
import sys
import tempfile
import threading
import uuid as uuids
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Optional
from urllib.parse import parse_qsl, quote, unquote

try:
    from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.sources import comparison, switch_export
except ImportError:  # run as a program from a checkout that is not below ansible_collections/
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugins" / "module_utils"))
    from _fleet.sources import comparison, switch_export

CAPTURES = Path(__file__).resolve().parent / "data" / "builder_web"
INPUTS = ("opam-switch", "build-environment", "system-packages")
CHUNK = 8188
"""Bytes of a chunk, as recorded."""
SECTIONS = ("Unikernels", "Uncategorized", "Packages")
ROBOTS = (
    "User-agent: *\n"
    "Disallow: /job/*/build/*/f/\n"
    "Disallow: /job/*/build/*/main-binary\n"
    "Disallow: /job/*/build/*/script\n"
    "Disallow: /job/*/build/*/console\n"
    "Disallow: /job/*/build/*/all.tar.gz\n"
    "Disallow: /job/*/build/*/exec\n"
    "Disallow: /compare/\n"
)
TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"


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


# --- what it holds ----------------------------------------------------------------------------


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


def rfc3339(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + "-00:00"


@dataclass
class Fault:
    """What goes wrong, on which paths, how often."""

    kind: str
    """``html_404``, ``text_500``, ``html_500``, ``garbage_json``, ``redirect_loop``, ``endless_body``, ``slow_body``,
    ``slow_headers``, ``short_body``, ``dropped``, ``silent``."""
    path: str = ".*"
    times: Optional[int] = None
    """None: always."""


@dataclass
class Asked:
    """A request that came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def wants_json(self) -> bool:
        """Parameters are stripped; ``*/*`` and other case do not count."""
        accepted = self.headers.get("accept", "").split(",")
        return any(item.split(";")[0].strip() == "application/json" for item in accepted)


@dataclass
class Reply:
    """An answer before it is framed."""

    status: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    chunked: bool = False


class BuilderWebDouble:
    """The server. ``url`` is set while it runs. Change its builds and faults at any time."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.builds: list[StoredBuild] = []
        self.synopses: dict[str, str] = {}
        self.sections: dict[str, str] = {}
        self.users: dict[str, tuple[str, Optional[frozenset[str]]]] = {"lab": ("labpass", None)}
        """Password, and the jobs that a restricted user may upload to."""
        self.faults: list[Fault] = []
        self.overloaded_every = 0
        """N: every Nth request is answered with 500 No_domain_available, as on a machine with two CPUs."""
        self.now = lambda: datetime.now(timezone.utc)
        self.asked: list[Asked] = []
        self.data: Optional[Path] = None
        """A folder that is looked through for new builds."""
        self._loaded: set[Path] = set()
        self._count = 0
        self._lock = threading.RLock()
        self.stopping = threading.Event()
        self._server = _Server((host, port), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://{self._server.server_address[0]}:{self.port}"

    def start(self) -> BuilderWebDouble:
        self._thread.start()
        return self

    def stop(self) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> BuilderWebDouble:
        return self.start()

    def __exit__(self, *_unused: object) -> None:
        self.stop()

    # --- builds ---

    def add_build(
        self,
        job: str,
        binary: Optional[bytes] = None,
        platform: str = "debian-12",
        uuid: Optional[str] = None,
        filename: Optional[str] = None,
        inputs: Optional[Mapping[str, str]] = None,
        artifacts: Optional[Mapping[str, Artifact]] = None,
        started: Optional[datetime] = None,
        solo5_target: Optional[str] = None,
        devices: tuple[tuple[str, str], ...] = (),
        exit_status: int = 0,
        script: str = "#!/bin/sh\n",
        console: str = "",
    ) -> StoredBuild:
        """A build; without a time it is the newest one. No binary: a failed one."""
        with self._lock:
            files = dict(artifacts or {})
            if binary is not None:
                files[f"bin/{filename or job + '.hvt'}"] = Artifact.of(binary)
            for name, text in (inputs or {}).items():
                files[name] = Artifact.of(text.encode("utf-8"))
            if started is None:
                now = self.now().replace(microsecond=0)
                started = max([now] + [b.started + timedelta(seconds=1) for b in self.builds])
            build = StoredBuild(
                job=job,
                uuid=uuid or str(uuids.uuid4()),
                platform=platform,
                started=started,
                finished=started + timedelta(seconds=65),
                artifacts=files,
                script=script,
                console=console,
                exit_status=exit_status,
                solo5_target=solo5_target,
                devices=devices,
            )
            self.builds.append(build)
            return build

    def break_down(self, kind: str, path: str = ".*", times: Optional[int] = None) -> Fault:
        """Switch a fault on; remove it from ``faults`` to repair."""
        fault = Fault(kind, path, times)
        self.faults.append(fault)
        return fault

    def repair(self) -> None:
        self.faults.clear()
        self.overloaded_every = 0

    def paths_asked(self) -> list[str]:
        return [asked.path for asked in self.asked]

    def _newest(self, builds: list[StoredBuild]) -> list[StoredBuild]:
        return sorted(builds, key=lambda build: build.started, reverse=True)

    def _find(self, uuid: str) -> Optional[StoredBuild]:
        return next((build for build in self.builds if build.uuid == uuid.lower()), None)

    def _of_job(self, job: str, platform: Optional[str]) -> list[StoredBuild]:
        return self._newest([b for b in self.builds if b.job == job and platform in (None, b.platform)])

    def _load_new(self) -> None:
        for description in sorted(self.data.glob("*/build.json")) if self.data else ():
            if description in self._loaded:
                continue
            about = json.loads(description.read_text(encoding="utf-8"))
            folder = description.parent
            files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p != description]
            self.add_build(
                job=about["job"],
                platform=about["platform"],
                uuid=about.get("uuid"),
                started=datetime.fromisoformat(about["started_at"]) if "started_at" in about else None,
                artifacts={p.relative_to(folder).as_posix(): Artifact.of(p.read_bytes()) for p in files},
            )
            self._loaded.add(description)

    # --- answers ---

    def take(self, asked: Asked) -> tuple[Optional[Fault], Optional[Reply]]:
        """The fault that this request runs into, or its answer."""
        with self._lock:
            self.asked.append(asked)
            self._count += 1
            for fault in self.faults:
                if fault.times != 0 and re.fullmatch(fault.path, asked.path):
                    if fault.times is not None:
                        fault.times -= 1
                    return fault, None
            if self.overloaded_every and self._count % self.overloaded_every == 0:
                return None, unknown_exception("Miou.No_domain_available")
            self._load_new()
            return None, self._answer(asked)

    def _answer(self, asked: Asked) -> Reply:
        path, has_query, query = asked.target.partition("?")
        queries = dict(parse_qsl(query, keep_blank_values=True))
        parts = [unquote(part) for part in path.split("/")[1:]]
        if parts and parts[-1] == "" and len(parts) > 1:
            parts.pop()
        if asked.method == "POST":
            return self._post(asked, parts, queries)
        if asked.method != "GET":
            return not_found()
        if not has_query and (parts in ([""], ["all-builds"]) or (parts[0] == "compare" and len(parts) == 3)):
            return self._compare(asked, *parts[1:]) if parts[0] == "compare" else self._overview(asked, parts[0])
        if parts == ["robots.txt"]:
            return plain("200 OK", ROBOTS)
        if parts == ["hash"]:
            return self._hash(queries.get("sha256"))
        if parts[0] == "job" and len(parts) == 2:
            return self._job(asked, parts[1], queries.get("platform"))
        if parts[0] == "job" and len(parts) >= 4 and parts[2] == "build":
            return self._job_build(asked, parts[1], parts[3], parts[4:], queries)
        return not_found()

    def _overview(self, asked: Asked, path: str) -> Reply:
        if not asked.wants_json:
            return page("Reproducible OPAM builds")
        expired = self.now() - timedelta(days=30)
        listed: dict[str, list[dict[str, Any]]] = {section: [] for section in SECTIONS}
        if any("opam-switch" in build.artifacts for build in self.builds):
            for job in sorted({build.job for build in self.builds}):
                newest = next((b for b in self._of_job(job, None) if b.main_binary), None)
                if newest is None or (path != "all-builds" and newest.started < expired):
                    continue
                entry: dict[str, Any] = {"name": job, "synopsis": self.synopses.get(job)}
                if newest.solo5_target:
                    entry["latest"] = {"uuid": newest.uuid, **solo5(newest)}
                default = "Unikernels" if "opam-switch" in newest.artifacts else "Uncategorized"
                listed[self.sections.get(job, default)].append(entry)
        jobs = [entry for section in SECTIONS for entry in listed[section]]
        by_section = {section: entries for section, entries in listed.items() if entries}
        return as_json({"jobs": jobs, "jobs_by_section": by_section})

    def _hash(self, sha256: Optional[str]) -> Reply:
        if sha256 is None or not re.fullmatch(r"([0-9a-fA-F]{2})+", sha256):
            return not_found()
        for build in self._newest(self.builds):
            if any(artifact.sha256 == sha256.lower() for artifact in build.artifacts.values()):
                return redirect("302 Found", "location", f"/job/{quote(build.job)}/build/{build.uuid}")
        return not_found()

    def _job(self, asked: Asked, job: str, platform: Optional[str]) -> Reply:
        if not any(build.job == job for build in self.builds):
            return not_found()
        if not asked.wants_json:
            return page(f"Job {job}")
        entries, seen = [], set()
        for build in self._of_job(job, platform):
            binary = build.main_artifact
            if binary is None or binary.sha256 in seen:
                continue
            seen.add(binary.sha256)
            # Looked up by the hash alone: the newest build anywhere with any artifact of that content.
            owner, path = next(
                (candidate, path)
                for candidate in self._newest(self.builds)
                for path, artifact in candidate.artifacts.items()
                if artifact.sha256 == binary.sha256
            )
            listed = {"filename": path.rpartition("/")[2], "sha256": binary.sha256, "size": binary.size}
            entries.append({"uuid": owner.uuid, "main_binary": listed})
        return as_json({"builds": entries})

    def _job_build(self, asked: Asked, job: str, uuid: str, rest: list[str], queries: Mapping[str, str]) -> Reply:
        if uuid == "latest":
            found = next((b for b in self._of_job(job, queries.get("platform")) if b.main_binary), None)
            if found is None:
                return not_found()
            return redirect(
                "307 Temporary Redirect", "Location", "/".join(["/job", quote(job), "build", found.uuid, *rest])
            )
        build = self._find(uuid)
        if build is None:
            return not_found()
        if not rest:
            return self._build(asked, job, build)
        if rest[0] == "f" and len(rest) > 1:
            return self._file(asked, build, "/".join(rest[1:]))
        if rest == ["main-binary"] and build.main_binary:
            return redirect(
                "302 Found", "location", f"/job/{quote(job)}/build/{build.uuid}/f/{quote(build.main_binary)}"
            )
        if rest in (["script"], ["console"]):
            text = (build.script if rest == ["script"] else build.console).encode("utf-8")
            return file_reply(text, len(text), hashlib.sha256(text).hexdigest(), TEXT)
        if rest == ["exec"]:
            return Reply("200 OK", [("content-type", "application/octet-stream")], full_build(build))
        if rest == ["viztreemap"]:
            return plain("500 Internal Server Error", "Internal server error\n")
        return not_found()

    def _build(self, asked: Asked, job: str, build: StoredBuild) -> Reply:
        if not asked.wants_json:
            return page(f"Job {job}")
        # The job is the one of the path, whatever the build's own.
        return as_json({"job": job, **about(build), **solo5(build)})

    def _file(self, asked: Asked, build: StoredBuild, path: str) -> Reply:
        artifact = build.artifacts.get(path)
        if artifact is None:
            return not_found()
        if asked.headers.get("if-none-match") == artifact.etag:
            return Reply("304 Not Modified")
        binary = path.startswith("bin/") or path.endswith(".debug")
        return file_reply(
            artifact.content, artifact.size, artifact.etag, "application/octet-stream" if binary else TEXT
        )

    def _compare(self, asked: Asked, left_uuid: str, right_uuid: str) -> Reply:
        left, right = self._find(left_uuid), self._find(right_uuid)
        if not left or not right or any(name not in b.artifacts for b in (left, right) for name in INPUTS):
            return not_found()
        texts = [[b.artifacts[name].content.decode("utf-8") for name in INPUTS] for b in (left, right)]
        try:
            for text in texts:
                switch = switch_export.parse_switch_export(text[0])
                if set(switch.installed) - set(switch.definitions):
                    return unknown_exception("Not_found")
            found = comparison.compare("", comparison.Inputs(*texts[0]), "", comparison.Inputs(*texts[1]), (0, 0))
        except ValueError:
            return unknown_exception("OpamPp.Bad_format")
        return as_json(comparison_json(left, right, found)) if asked.wants_json else page("Comparison")

    # --- uploads ---

    def _post(self, asked: Asked, parts: list[str], queries: Mapping[str, str]) -> Reply:
        is_full = parts == ["upload"]
        is_binary = len(parts) == 5 and parts[0] == "job" and parts[2] == "platform" and parts[4] == "upload"
        if not is_full and not is_binary:
            return not_found()
        allowed = self._authenticated(asked)
        if allowed is None:
            return plain("401 Unauthorized", "Unauthorized!\n", [("www-authenticate", 'Basic realm="builder-web"')])
        if is_full:
            return self._upload_full(asked.body, allowed)
        job, platform = parts[1], parts[3]
        if allowed and (job not in allowed or not any(b.job == job for b in self.builds)):
            return plain("401 Unauthorized", "Unauthorized!\n")
        name = queries.get("binary_name", f"{job}.bin")
        if "/" in name or name in ("", ".", ".."):
            return plain("400 Bad Request", "Bad binary name provided.\n")
        self.add_build(job, asked.body, platform=platform, filename=name)
        return Reply("201 Created")

    def _authenticated(self, asked: Asked) -> Optional[frozenset[str]]:
        """The jobs that the user is restricted to (empty: not restricted); None: not authenticated."""
        kind, _unused, encoded = asked.headers.get("authorization", "").partition(" ")
        try:
            name, _unused, password = base64.b64decode(encoded, validate=True).decode("utf-8").partition(":")
        except ValueError:
            return None
        known = self.users.get(name)
        if kind != "Basic" or known is None or known[0] != password:
            return None
        return known[1] or frozenset()

    def _upload_full(self, body: bytes, allowed: frozenset[str]) -> Reply:
        try:
            build = read_full_build(body)
        except (ValueError, IndexError):
            return plain("500 Internal Server Error", "Internal server error\n")
        if allowed and build.job not in allowed:
            return plain("401 Unauthorized", "Unauthorized!\n")
        existing = self._find(build.uuid)
        if existing:
            same = f"{existing.job}({existing.uuid})"
            return plain("409 Conflict", f"Build with same uuid exists: {same}\n")
        self.builds.append(build)
        return Reply("201 Created")


# --- answers as they look -----------------------------------------------------------------------


def as_json(data: Any) -> Reply:
    body = json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    return Reply("200 OK", [("content-type", "application/json")], body)


def plain(status: str, text: str, extra: Optional[list[tuple[str, str]]] = None) -> Reply:
    return Reply(status, [*(extra or []), ("content-type", TEXT)], text.encode("utf-8"))


def page(title: str) -> Reply:
    html = f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body></body></html>"
    return Reply("200 OK", [("connection", "close"), ("content-type", HTML)], html.encode("utf-8"), chunked=True)


def not_found() -> Reply:
    body = captured("17-job-unknown.txt")[0][2]
    return Reply("404 Not Found", [("connection", "close"), ("content-type", HTML)], body, chunked=True)


def unknown_exception(name: str) -> Reply:
    html = f"<!DOCTYPE html>\n<html><body><h1>Unknown exception</h1><pre>{name}</pre></body></html>"
    return Reply("500 Internal Server Error", [("content-type", "text/html")], html.encode("utf-8"))


def redirect(status: str, header: str, location: str) -> Reply:
    return Reply(status, [(header, location)])


def file_reply(content: bytes, size: int, etag: str, media_type: str) -> Reply:
    headers = [("etag", etag), ("content-length", str(size)), ("content-type", media_type), ("connection", "close")]
    return Reply("200 OK", headers, content, chunked=True)


def about(build: StoredBuild) -> dict[str, Any]:
    return {
        "uuid": build.uuid,
        "platform": build.platform,
        "start_time": rfc3339(build.started),
        "finish_time": rfc3339(build.finished),
        "main_binary": build.main_binary is not None,
    }


def solo5(build: StoredBuild) -> dict[str, Any]:
    if build.solo5_target is None:
        return {}
    devices = [{"name": name, "type": kind} for name, kind in build.devices]
    return {
        "solo5_manifest": {"type": "solo5.manifest", "version": 1, "devices": devices},
        "solo5_abi": {"type": "solo5.abi", "target": build.solo5_target, "version": 2},
    }


def comparison_json(left: StoredBuild, right: StoredBuild, found: Any) -> dict[str, Any]:
    def side(build: StoredBuild) -> dict[str, Any]:
        main = build.main_artifact
        return {"job": build.job, **about(build), "main_binary_size": main.size if main else None}

    def versions(items: Any, value: str = "version") -> list[dict[str, str]]:
        return [{"name": item.name, value: item.version} for item in items]

    def changes(items: Any) -> list[dict[str, str]]:
        return [{"name": i.name, "version_left": i.before, "version_right": i.after} for i in items]

    def swapped(all_changes: Any) -> dict[str, Any]:
        # What was added is called left, what was removed is called right: so the real one does.
        return {
            "left_packages": versions(all_changes.added),
            "right_packages": versions(all_changes.removed),
            "different_versions": changes(all_changes.changed),
        }

    trees = found.source_trees
    duniverse: Any = trees.error
    if trees.error is None:
        duniverse = {
            "left": versions(trees.removed, "value"),
            "right": versions(trees.added, "value"),
            "detailed_diff": [{"name": name} for name in trees.changed],
        }
    return {
        "left": side(left),
        "right": side(right),
        "env_diff": swapped(found.environment),
        "package_diff": swapped(found.system_packages),
        "opam_diff": {
            "opam_diff": [
                {
                    "package_version": change.package,
                    "effectively_equal": False,
                    "diff": change.diff.replace("--- old/", "--- left/", 1).replace("+++ new/", "+++ right/", 1),
                }
                for change in reversed(found.opam_files)
                if not change.effectively_equal
            ],
            "version_diff": changes(found.packages.changed),
            "only_in_left": versions(reversed(found.packages.removed)),
            "only_in_right": versions(reversed(found.packages.added)),
            "duniverse_diff": duniverse,
        },
    }


# --- full builds in DER -------------------------------------------------------------------------


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


# --- the wire -----------------------------------------------------------------------------------


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], double: BuilderWebDouble) -> None:
        self.double = double
        super().__init__(address, _Handler)


class _Handler(socketserver.StreamRequestHandler):
    """One request, one answer, then the connection is closed without a word about it."""

    server: _Server
    timeout = 30

    def handle(self) -> None:
        with suppress(OSError, ValueError):
            asked = self._read()
            if asked is None:
                return
            fault, reply = self.server.double.take(asked)
            if fault is not None:
                self._go_wrong(fault)
            elif reply is not None:
                self._send(asked, reply)

    def _read(self) -> Optional[Asked]:
        method, target, _unused = self.rfile.readline(65536).decode("latin-1").split(" ", 2)
        headers: dict[str, str] = {}
        while (line := self.rfile.readline(65536).decode("latin-1").strip()) != "":
            key, _unused, value = line.partition(":")
            headers[key.strip().lower()] = value.strip()
        if "chunked" in headers.get("transfer-encoding", ""):
            body = b""
            while size := int(self.rfile.readline(64), 16):
                body += self.rfile.read(size)
                self.rfile.readline(64)
            self.rfile.readline(64)
        else:
            body = self.rfile.read(int(headers.get("content-length", "0")))
        return Asked(method, target, headers, body)

    def _send(self, asked: Asked, reply: Reply) -> None:
        headers = list(reply.headers)
        if reply.chunked:
            # A page says connection: close first, a file says it last; both are chunked.
            at = 1 if headers[0][0] == "connection" else 0
            headers.insert(at, ("transfer-encoding", "chunked"))
        elif reply.status.startswith("302"):
            headers.append(("content-length", str(len(reply.body))))
        else:
            headers.insert(0, ("content-length", str(len(reply.body))))
        self._head(reply.status, headers)
        if not reply.chunked or asked.method == "HEAD":
            # To HEAD, the real one sends the whole page, and not even in chunks.
            self.wfile.write(reply.body)
            return
        for at in range(0, len(reply.body), CHUNK):
            self._chunk(reply.body[at : at + CHUNK])
        self._chunk(b"")

    def _head(self, status: str, headers: list[tuple[str, str]]) -> None:
        lines = [f"HTTP/1.1 {status}", *(f"{key}: {value}" for key, value in headers), "", ""]
        self.wfile.write("\r\n".join(lines).encode("latin-1"))

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode("ascii") + data + b"\r\n")

    def _go_wrong(self, fault: Fault) -> None:
        asked = Asked("GET", "/", {})
        if fault.kind == "html_404":
            self._send(asked, not_found())
        elif fault.kind == "text_500":
            self._send(asked, plain("500 Internal Server Error", "Internal server error\n"))
        elif fault.kind == "html_500":
            self._send(asked, unknown_exception("Failure"))
        elif fault.kind == "garbage_json":
            self._send(asked, Reply("200 OK", [("content-type", "application/json")], b'{"builds": [}'))
        elif fault.kind == "redirect_loop":
            self._send(asked, redirect("302 Found", "location", "/round/and/round"))
        elif fault.kind == "short_body":
            self._head("200 OK", [("content-length", "1000"), ("content-type", "application/json")])
            self.wfile.write(b'{"builds":[')
        elif fault.kind in ("endless_body", "slow_body"):
            self._head("200 OK", [("transfer-encoding", "chunked"), ("content-type", "application/json")])
            while not self.server.double.stopping.is_set():
                self._chunk(b" " * 65536 if fault.kind == "endless_body" else b" ")
                if fault.kind == "slow_body":
                    self.server.double.stopping.wait(0.05)
        elif fault.kind == "slow_headers":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nx-slow: ")
            while not self.server.double.stopping.wait(0.05):
                self.wfile.write(b"a")
        elif fault.kind == "silent":
            self.server.double.stopping.wait(30)
        elif fault.kind == "dropped":
            # Unannounced, and without an answer.
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            raise AssertionError(f"no such fault: {fault.kind}")


def main(arguments: Optional[list[str]] = None) -> int:
    parser = argparse.ArgumentParser(description="A double of builder-web that serves a folder of builds.")
    parser.add_argument("--data", type=Path, required=True, help="folder with one folder per build, see above")
    parser.add_argument("--port-file", type=Path, required=True, help="the port is written here once it listens")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--user", action="append", default=[], metavar="NAME:PASSWORD", help="may upload")
    parser.add_argument("--overloaded-every", type=int, default=0, help="every Nth request is answered with 500")
    options = parser.parse_args(arguments)
    double = BuilderWebDouble(port=options.port)
    double.data = options.data
    double.overloaded_every = options.overloaded_every
    double.users = {
        name: (password, None) for name, _unused, password in (user.partition(":") for user in options.user)
    }
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_unused: ended.set())
    with double:
        descriptor, temporary = tempfile.mkstemp(dir=options.port_file.parent)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(f"{double.port}\n")
        os.replace(temporary, options.port_file)
        print(f"builder-web's double listens on {double.url}", flush=True)
        ended.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
