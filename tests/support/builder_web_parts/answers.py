# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The answers of a builder-web as they look, before they are framed."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Optional

from ansible_collections.unikernel.fleet.tests.support.builder_web_parts.builds import StoredBuild
from ansible_collections.unikernel.fleet.tests.support.builder_web_parts.captured import captured

TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"


@dataclass
class Reply:
    """An answer before it is framed."""

    status: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    chunked: bool = False


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


def rfc3339(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + "-00:00"


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
