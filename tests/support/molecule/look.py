# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looks at the real thing, from outside of the collection: ``look.py FOLDER`` prints JSON.

``answers``: what each unikernel answers on its port, or on its URL where the scenario gave it one (None: nothing within
a second). ``processes``: the ids of the
processes that run below the folder. ``files``: a digest of every file of the nodes, so that two looks tell whether
anything was touched.
"""

from __future__ import annotations

import hashlib
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Optional


def ask(url: str) -> Optional[str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=1) as answer:
            return str(answer.read().decode().strip())
    except (OSError, urllib.error.URLError):
        return None


def processes_below(folder: Path) -> dict[int, str]:
    """Process id to command line, of what runs an image or a guard that lies below the folder."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        # A playbook or a molecule that was told of the folder is not of it.
        if any(word.startswith(bytes(folder) + b"/node") for word in words[:4]):
            found[int(entry.name)] = b" ".join(words).decode("utf-8", "replace").strip()
    return found


def digest_of(path: Path) -> str:
    content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
    return f"{path.lstat().st_mode:o} {hashlib.sha256(content).hexdigest()}"


def main() -> int:
    folder = Path(sys.argv[1])
    variables = json.loads((folder / "run.yml").read_text(encoding="utf-8"))["all"]["vars"]
    urls = {name: f"http://127.0.0.1:{port}/" for name, port in variables["ports"].items()}
    urls.update(variables.get("urls", {}))
    nodes = sorted(path for path in folder.glob("node*") if path.is_dir())
    files = {
        str(path.relative_to(folder)): digest_of(path)
        for node in nodes
        for path in sorted(node.rglob("*"))
        if path.is_file() or path.is_symlink()
    }
    whole = hashlib.sha256(json.dumps(files).encode()).hexdigest()
    running = processes_below(folder)
    answers = {name: ask(url) for name, url in urls.items()}
    print(json.dumps({"answers": answers, "processes": sorted(running), "commands": running, "files": whole}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
