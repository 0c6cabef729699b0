# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The builds of the demo: one program in three versions, with the inputs that a reproducible build leaves behind."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.sources.publishing import Publication, publish

BROKEN = 3
PACKAGES = {
    1: {"hello": "1", "cohttp": "6.0.0", "dns-server": "10.0.0"},
    2: {"hello": "2", "cohttp": "6.1.0", "dns-server": "10.0.0", "ohex": "0.2.0"},
    3: {"hello": "3", "cohttp": "6.1.1", "dns-server": "10.0.0", "ohex": "0.2.0"},
}


def publish_version(repository: Path, job: str, version: int) -> str:
    """Make the build of a version of a demo unikernel, put it into the repository, and return its id."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / f"{job}.py"
        image.write_text(program(version), encoding="utf-8")
        inputs = {"opam-switch": opam_switch(version), "build-environment": f"OS=linux\nBUILD={version}\n"}
        inputs["system-packages"] = f"gcc=12.2.0-{version}\nlibgmp-dev=2:6.2.1\n"
        files = {}
        for name, text in inputs.items():
            files[name] = Path(folder) / name
            files[name].write_text(text, encoding="utf-8")
        published = publish(
            repository,
            Publication(
                job=job,
                platform="any",
                image=image,
                filename=image.name,
                started_at=f"2026-11-2{version}T03:00:00Z",
                finished_at=f"2026-11-2{version}T03:01:00Z",
                inputs=files,
            ),
        )
    return published.build.id


def program(version: int) -> str:
    template = Path(__file__).with_name("demo_program.py").read_text(encoding="utf-8")
    health = "bad" if version == BROKEN else "good"
    filled = template.replace("@VERSION@", str(version), 1).replace("@HEALTH@", health, 1)
    return f"#!{sys.executable}\n{filled}"


def opam_switch(version: int) -> str:
    """What ``opam switch export --full`` would say."""
    packages = PACKAGES[version]
    installed = "\n".join(f'  "{name}.{number}"' for name, number in packages.items())
    sections = "\n".join(
        f'package "{name}" {{\nopam-version: "2.0"\nname: "{name}"\nversion: "{number}"\n}}'
        for name, number in packages.items()
    )
    return f'opam-version: "2.0"\ncompiler: []\nroots: ["hello.{version}"]\ninstalled: [\n{installed}\n]\n{sections}\n'
