# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes builds of :mod:`service` and publishes them: ``builds.py FOLDER NAME=VERSION[:BEHAVIOUR]...``

They go into the release repository ``FOLDER/repository`` or, with ``--builder-web``, into ``FOLDER/builder_web``,
which the double of builder-web serves. With ``--solo5-images`` they are not of the service but of real images. The ids
are printed as JSON, in the order of the arguments.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import uuid
from pathlib import Path

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.sources.publishing import Publication, publish
from ansible_collections.unikernel.fleet.tests.support.albatross.images import image as unikernel

NO_PROGRAM = "no_program"
"""The behaviour of a build that nothing can execute, so that the node refuses it."""


def program(name: str, version: int, behaviour: str) -> bytes:
    text = Path(__file__).with_name("service.py").read_text(encoding="utf-8")
    values = {"NAME": name, "VERSION": str(version), "BEHAVIOUR": behaviour}
    for key, value in values.items():
        text = text.replace(f"@{key}@", value, 1)
    return text.encode() if behaviour == NO_PROGRAM else f"#!{sys.executable} -IS\n{text}".encode()


REAL_IMAGES = {"answers_503": "v3-unhealthy", "exits_0": "v4-crash", "exits_1": "v4-crash"}
"""What is as broken as a behaviour of the service, among the images that answer only their variant."""


def real_image(images: Path, target: str, version: int, behaviour: str) -> bytes:
    """What lies behind an ELF file is loaded by nobody, and makes each version an image of its own."""
    variant = REAL_IMAGES.get(behaviour) or f"v{2 - version % 2}"
    return (images / f"{variant}.{target}").read_bytes() + f"version {version}\n".encode()


def inputs(version: int) -> dict[str, str]:
    """What a reproducible build leaves behind; one package changes with each version."""
    switch = (
        f'opam-version: "2.0"\ncompiler: []\nroots: ["service.{version}"]\ninstalled: ["service.{version}"]\n'
        f'package "service" {{\nopam-version: "2.0"\nname: "service"\nversion: "{version}"\n}}\n'
    )
    return {"opam-switch": switch, "build-environment": "OS=linux\n", "system-packages": f"gcc=12.2.0-{version}\n"}


def moment(version: int) -> str:
    """Builds are as old as their versions say."""
    return f"2026-11-{version:02d}T03:00:00Z"


def to_repository(folder: Path, name: str, version: int, image: bytes) -> str:
    with tempfile.TemporaryDirectory() as temporary:
        files = {key: Path(temporary) / key for key in inputs(version)}
        for key, text in inputs(version).items():
            files[key].write_text(text, encoding="utf-8")
        path = Path(temporary) / "image"
        path.write_bytes(image)
        published = publish(
            folder,
            Publication(
                job=name,
                platform="any",
                image=path,
                filename=f"{name}.py",
                started_at=moment(version),
                finished_at=moment(version),
                inputs=files,
            ),
        )
    return published.build.id


def to_builder_web(folder: Path, name: str, version: int, image: bytes) -> str:
    """As a folder that the double reads: files first, ``build.json`` last."""
    identifier = str(uuid.uuid4())
    build = folder / identifier
    (build / "bin").mkdir(parents=True)
    (build / "bin" / f"{name}.py").write_bytes(image)
    for key, text in inputs(version).items():
        (build / key).write_text(text, encoding="utf-8")
    data = {"job": name, "platform": "any", "uuid": identifier, "started_at": moment(version)}
    (build / "build.json").write_text(json.dumps(data), encoding="utf-8")
    return identifier


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("builds", nargs="+", metavar="NAME=VERSION[:BEHAVIOUR]")
    parser.add_argument("--builder-web", action="store_true")
    parser.add_argument("--solo5", action="store_true", help="as images that the double of albatross runs")
    parser.add_argument("--solo5-images", type=Path, help="folder of v1, v2, ... for ALBATROSS_TARGET")
    options = parser.parse_args()
    target = os.environ.get("ALBATROSS_TARGET", "hvt")
    put, kind = (to_builder_web, "builder_web") if options.builder_web else (to_repository, "repository")
    ids = []
    for build in options.builds:
        name, _unused, what = build.partition("=")
        version, _unused, behaviour = what.partition(":")
        if options.solo5_images:
            made = real_image(options.solo5_images, target, int(version), behaviour)
        else:
            made = program(name, int(version), behaviour or "good")
        ids.append(put(options.folder / kind, name, int(version), unikernel(made.decode()) if options.solo5 else made))
    print(json.dumps(ids))
    return 0


if __name__ == "__main__":
    sys.exit(main())
