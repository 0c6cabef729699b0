# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A double of builder-web: a real HTTP server on loopback that answers as the recorded one did, odd habits included.

In tests:      ``with BuilderWebDouble() as web: web.add_build("hello", b"...", platform="debian-12"); web.url``
As a program:  ``python tests/support/builder_web.py --data FOLDER --port-file FILE [--user NAME:PASSWORD]``, where
               Python finds the collection; serves every ``FOLDER/*/build.json`` (``{"job": ..., "platform": ...,
               "uuid": ..., "started_at": ...}``) with the files that lie beside it (``bin/NAME``, ``opam-switch``),
               and looks for new ones at each request. The port is written to FILE once it listens.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import re
import signal
import sys
import tempfile
import threading
import uuid as uuids
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Optional
from urllib.parse import parse_qsl, quote, unquote

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.sources import comparison, switch_export
from ansible_collections.unikernel.fleet.tests.support.builder_web_parts.answers import (
    TEXT,
    Reply,
    about,
    as_json,
    comparison_json,
    file_reply,
    not_found,
    page,
    plain,
    redirect,
    solo5,
    unknown_exception,
)
from ansible_collections.unikernel.fleet.tests.support.builder_web_parts.builds import Artifact, StoredBuild
from ansible_collections.unikernel.fleet.tests.support.builder_web_parts.full_build import full_build, read_full_build
from ansible_collections.unikernel.fleet.tests.support.builder_web_parts.wire import Asked, Fault, Server

INPUTS = ("opam-switch", "build-environment", "system-packages")
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
        self._server = Server((host, port), self)
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
