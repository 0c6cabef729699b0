# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ``build_publish`` does with its options."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from ..codec import encode
from ..errors import InvalidDeclaration
from ..images.inspection import check_image
from ..model import Build
from ..sources.publishing import Publication, publish
from ..sources.registry import source_options
from ..sources.uploading import upload
from .options import Option
from .source import SOURCE

INPUTS = {
    "opam_switch": "opam-switch",
    "build_environment": "build-environment",
    "system_packages": "system-packages",
}
"""Names of the files by their options."""

ARGUMENTS = (
    Option("source", "dict", options=SOURCE, required=True),
    Option("job", required=True),
    Option("platform", required=True),
    Option("path", "path", required=True),
    Option("filename"),
    Option("id"),
    Option("started_at"),
    Option("finished_at"),
    Option("inputs", "dict", options=tuple(Option(name, "path") for name in INPUTS)),
    Option("channels", "list", elements="str", default=[]),
)
ONLY_IN_REPOSITORIES = ("id", "started_at", "finished_at", "inputs", "channels")


def publish_build(parameters: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The module's result."""
    image = Path(parameters["path"])
    if not image.is_file():
        raise InvalidDeclaration(f"There is no image {image} on this machine. Nothing was published.")
    if parameters["source"]["type"] == "builder_web":
        return _uploaded(parameters, image, check_mode)
    return _published(parameters, image, check_mode)


def _uploaded(parameters: Mapping[str, Any], image: Path, check_mode: bool) -> dict[str, Any]:
    given = [name for name in ONLY_IN_REPOSITORIES if parameters.get(name)]
    if given:
        raise InvalidDeclaration(
            f"builder-web's upload takes the image only, not: {', '.join(given)}. Leave them out, or publish into a "
            "release repository. Nothing was uploaded."
        )
    filename = parameters["filename"] or image.name
    changed, build = upload(
        source_options(parameters["source"]), parameters["job"], parameters["platform"], image, filename, check_mode
    )
    return _result(changed, changed, build, {})


def _published(parameters: Mapping[str, Any], image: Path, check_mode: bool) -> dict[str, Any]:
    url = parameters["source"]["url"]
    if not url.startswith("/"):
        raise InvalidDeclaration(
            f"A release repository is written to by its path, not by {url!r}. Give as 'url' the folder on this machine."
        )
    abi, devices = check_image(image)
    inputs = {INPUTS[name]: Path(path) for name, path in (parameters["inputs"] or {}).items() if path}
    for name, path in inputs.items():
        if not path.is_file():
            raise InvalidDeclaration(f"There is no file {path} for the input {name}. Nothing was published.")
    publication = Publication(
        job=parameters["job"],
        platform=parameters["platform"],
        image=image,
        filename=parameters["filename"] or image.name,
        id=parameters["id"],
        started_at=parameters["started_at"],
        finished_at=parameters["finished_at"],
        abi=abi,
        devices=devices,
        inputs=inputs,
        channels=tuple(parameters["channels"]),
    )
    outcome = publish(Path(url), publication, parameters["source"]["name"], check_mode)
    return _result(outcome.changed, outcome.added, outcome.build, outcome.moved_channels)


def _result(changed: bool, added: bool, build: Optional[Build], moved: Mapping[str, Optional[str]]) -> dict[str, Any]:
    build_id = build.id if build else "a new build"
    before = {"build": None if added else build_id, "channels": dict(moved)}
    after = {"build": build_id, "channels": {channel: build_id for channel in moved}}
    return {
        "changed": changed,
        "build": encode(build) if build else None,
        "channels": sorted(moved),
        "diff": {"before": before, "after": after},
    }
