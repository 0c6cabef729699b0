# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs ansible-test's sanity tests on a copy of the collection, for the controller and for a node's Pythons.

``sanity.py BUILD [NODE_PYTHON...]``: BUILD is a folder to work in; the NODE_PYTHONs are real interpreters.

ansible-test fetches pip's bootstrap script from a site of its own, and keeps it in the user's home. Here it gets a home
in BUILD, and there a stand-in for that script, which installs pip from the packages' registry as any other package.
"""

from __future__ import annotations

import glob
import os
import re
import subprocess
import sys
from pathlib import Path

import step

STAND_IN = '''"""Stands in for pip's bootstrap script: runs the pip that this wheel holds."""
import sys

sys.path.insert(0, {wheel!r})
from pip._internal.cli.main import main

arguments = [given for given in sys.argv[1:] if given not in ("--no-setuptools", "--no-wheel")]
sys.exit(main(["install", "--ignore-installed"] + arguments))
'''


def pip_versions() -> set[str]:
    """The versions of pip that the installed ansible-test installs into the environments of its tests."""
    import ansible_test

    source = Path(ansible_test.__file__).parent / "_internal" / "python_requirements.py"
    versions = set(re.findall(r"""pip=['"]([0-9.]+)['"]""", source.read_text(encoding="utf-8")))
    if not versions:
        raise SystemExit(f"{source} names no version of pip any more; teach tools/sanity.py where it does")
    return versions


def provide_pip(home: Path, wheels: Path) -> None:
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    wheels.mkdir(parents=True, exist_ok=True)
    for version in sorted(pip_versions()):
        pattern = str(wheels / f"pip-{version}-*.whl")
        if not glob.glob(pattern):
            download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(wheels)]
            subprocess.run([*download, f"pip=={version}"], check=True)
        script = cache / f"get_pip_{version.replace('.', '_')}.py"
        script.write_text(STAND_IN.format(wheel=glob.glob(pattern)[0]), encoding="utf-8")


def named_interpreters(folder: Path, interpreters: list[str]) -> list[str]:
    """Puts each interpreter into ``folder`` under the name by which ansible-test looks for it; their versions."""
    folder.mkdir(parents=True, exist_ok=True)
    versions = []
    for interpreter in interpreters:
        ask = [interpreter, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        version = subprocess.run(ask, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        script = folder / f"python{version}"
        script.unlink(missing_ok=True)
        script.symlink_to(interpreter)
        versions.append(version)
    return versions


def main() -> int:
    build = Path(sys.argv[1]).absolute()
    home = build / "home"
    provide_pip(home, build / "wheels")
    # Not under the virtual environment's own name: ansible-test makes environments from the real interpreter.
    own = getattr(sys, "_base_executable", sys.executable)
    controller, *nodes = named_interpreters(build / "interpreters", [own, *sys.argv[2:]])
    collection = build / "copy" / "ansible_collections" / "unikernel" / "fleet"
    # ansible-test asks git which files there are;
    # without a repository of its own the copy is a folder that ours ignores.
    if not (collection / ".git").exists():
        subprocess.run(["git", "init", "--quiet"], cwd=collection, check=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON"))}
    environment.update(
        HOME=str(home),
        LC_ALL="C.UTF-8",
        PATH=os.pathsep.join([str(build / "interpreters"), str(Path(sys.executable).parent), os.environ["PATH"]]),
    )
    command = [str(Path(sys.executable).parent / "ansible-test"), "sanity", "--color", "no"]
    command += ["--controller", f"origin:python={controller}"]
    for version in dict.fromkeys([controller, *nodes]):
        command += ["--target-python", version]
    done = subprocess.run(
        command, cwd=collection, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    said = done.stdout.decode("utf-8", "replace")
    print(said)
    for line in said.splitlines():
        if line.startswith("WARNING: Skipping"):
            step.record({"step": "sanity", "skipped": line.partition("Skipping ")[2]})
    # It exits with 0 too when it found no files to test.
    if "All targets skipped" in said or "Running sanity test" not in said:
        print("ansible-test ran no test; nothing was checked")
        return done.returncode or 1
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
