# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds for nodes that have nothing but their Python: ``builds REPOSITORY NAME=VERSION[:broken]...``

Each is a web server that says its name and version; a broken one starts, and answers ``/health`` with 503.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.sources.publishing import Publication, publish

PROGRAM = """#!/usr/bin/python3
import http.server, sys

class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = b"@NAME@ @VERSION@\\n"
        self.send_response(503 if self.path == "/health" and "@BEHAVIOUR@" == "broken" else 200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format, *arguments):
        pass

print("@NAME@ @VERSION@ serves", flush=True)
http.server.ThreadingHTTPServer(("", int(sys.argv[1])), Answers).serve_forever()
"""


def program(name: str, version: int, behaviour: str = "works") -> str:
    values = {"NAME": name, "VERSION": str(version), "BEHAVIOUR": behaviour}
    text = PROGRAM
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    return text


def publish_build(repository: Path, name: str, version: int, behaviour: str = "works") -> str:
    """Make the build, put it into the release repository, and return its id."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image"
        image.write_text(program(name, version, behaviour), encoding="ascii")
        published = publish(
            repository,
            Publication(
                job=name,
                platform="any",
                image=image,
                filename=f"{name}.py",
                started_at=f"2026-11-{version:02d}T03:00:00Z",
                finished_at=f"2026-11-{version:02d}T03:01:00Z",
            ),
        )
    return published.build.id


def main(repository: str, *words: str) -> int:
    for word in words:
        name, _unused, rest = word.partition("=")
        version, _unused, behaviour = rest.partition(":")
        publish_build(Path(repository), name, int(version), behaviour or "works")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
