# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Installs the guard on the node from the very code that runs, and starts it for a trial.

The library is read from wherever it was imported from: the folder of an installed collection, the archive in which
Ansible sends a module, or a guard that is itself a zip. So the guard is always of the version that began the trial,
and nothing has to be copied beforehand. Each content gets a file of its own, because a running guard still reads
its archive.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import marshal
import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Optional

from ..checks.model import CheckSpec
from ..codec import encode
from ..durable import make_folder, sync_folder, write_durably
from ..errors import DriverError
from ..layout import NodeLayout
from ..runtime.choice import this_machine, uses_systemd
from ..version import VERSION, ordered
from .guard_sources import SEALS, library_sources, seals

_PACKAGE = "_fleet"
_MAIN = f"""\
import sys
if sys.argv[1:2] == ["answer"]:
    from {_PACKAGE}.adapter.by_guard import main
else:
    from {_PACKAGE}.releases.guard_cli import main
raise SystemExit(main(sys.argv[1:]))
"""
_TIMESTAMP = (1980, 1, 1, 0, 0, 0)

MOST_GUARDS = 3
"""Installed guards that are kept, newest first."""

ARM_TIMEOUT_S = 30.0


def install(layout: NodeLayout) -> Path:
    """The installed guard of this very library, written if it is not there yet. DriverError when it cannot be."""
    sources = library_sources()
    path = layout.guards / f"{_digest(sources)}.pyz"
    try:
        if path.exists():
            os.utime(path)  # in use, so not the oldest: a running guard still reads its archive
        else:
            make_folder(layout.guards)
            write_durably(path, _archive(sources), 0o700)
            _forget_the_oldest(layout)
        if _make_current(layout, path) and uses_systemd(this_machine()):
            from .guard_units import refresh_units

            refresh_units(layout)
    except OSError as error:
        raise DriverError(
            f"The guard cannot be installed in {layout.guards} ({error.strerror}), and without a guard no trial is "
            "begun. Nothing was changed. Make room on the disk or mend its permissions."
        ) from error
    return path


def library_digest() -> str:
    """What names the guard of this very library."""
    return _digest(library_sources())


def version_of(archive: Path) -> Optional[str]:
    """The version that an installed guard is of; None when there is none, or none that can be read."""
    with suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(archive) as opened:
        return opened.comment.decode("ascii", "replace")
    return None


def current(layout: NodeLayout) -> Optional[Path]:
    """The installed guard that the node's own units run."""
    try:
        return layout.root / os.readlink(layout.guard)
    except OSError:
        return None


def _make_current(layout: NodeLayout, path: Path) -> bool:
    """Point the node's units to this guard, unless theirs is of a newer version. True when that is news."""
    before = current(layout)
    if before == path:
        return False
    installed = version_of(before) if before is not None else None
    if installed is not None and ordered(installed) > ordered(VERSION):
        return False
    temporary = layout.root / f".guard.pyz.{os.getpid()}"
    with suppress(FileNotFoundError):
        temporary.unlink()
    os.symlink(path.relative_to(layout.root), temporary)
    os.replace(temporary, layout.guard)
    sync_folder(layout.root)
    return True


def arm(layout: NodeLayout, name: str, trial: str, checks: Sequence[CheckSpec]) -> None:
    """Start the guard of a trial and return once it has tested itself. DriverError: nothing was changed."""
    text = json.dumps([encode(spec) for spec in checks])
    if uses_systemd(this_machine()):
        _arm_in_unit(layout, name, trial, text)
    else:
        _arm_detached(layout, name, trial, text)


def _arm_in_unit(layout: NodeLayout, name: str, trial: str, checks: str) -> None:
    from .guard_units import ensure_sweep, start_trial

    archive = install(layout)
    log = layout.guard_log(name)
    try:
        make_folder(layout.guard_lock(name, trial).parent)
        handed = layout.guard_lock(name, trial).with_suffix(".checks")
        write_durably(handed, checks.encode("utf-8"))
        with open(log, "wb", opener=_private):
            pass
        ensure_sweep(layout)
        start_trial(layout, archive, name, trial, handed)
    except (OSError, DriverError) as error:
        said = ""
        with suppress(OSError):
            said = log.read_text(encoding="utf-8", errors="replace").strip()[-500:]
        raise DriverError(_not_armed(name, said or str(error))) from error


def _arm_detached(layout: NodeLayout, name: str, trial: str, text: str) -> None:
    from .guard_cli import ARMED  # it is what the archive runs: Ansible packs it because of this import

    command = [sys.executable, "-I", str(install(layout)), "--root", str(layout.root), "watch", name, trial]
    try:
        make_folder(layout.unikernel(name))
        with open(layout.guard_log(name), "wb", opener=_private) as log:
            process = subprocess.run(  # pylint: disable=ansible-bad-function # this layer knows no Ansible
                command,
                input=text.encode("utf-8"),
                stdout=subprocess.PIPE,
                stderr=log,
                timeout=ARM_TIMEOUT_S,
                check=False,
                start_new_session=True,
            )
        said = process.stdout.decode("utf-8", "replace").strip()
        said = said or layout.guard_log(name).read_text(encoding="utf-8", errors="replace").strip()[-500:]
    except (OSError, subprocess.TimeoutExpired) as error:
        said = str(error)
    if said != ARMED:
        raise DriverError(_not_armed(name, said))


def _not_armed(name: str, said: str) -> str:
    return (
        f"{name}: the guard of the trial could not be armed: {said or 'it said nothing'}. No trial was begun and "
        "nothing was changed."
    )


def _digest(sources: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, source in sorted(sources.items()):
        digest.update(f"{name}\0{len(source)}\0".encode())
        digest.update(source)
    return digest.hexdigest()[:16]


def _archive(sources: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    # For whoever asks it directly; the node's own units name the Python themselves.
    buffer.write(f"#!{sys.executable} -I\n".encode())
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.comment = VERSION.encode("ascii")
        _add(archive, "__main__.py", _MAIN.encode("utf-8"))
        _add(archive, f"{_PACKAGE}/{SEALS}", json.dumps(seals(sources)).encode("ascii"))
        for name, source in sorted(sources.items()):
            _add(archive, f"{_PACKAGE}/{name}", source)
            # Compiled for this Python, so that a guard is armed in a moment; another Python takes the source.
            _add(archive, f"{_PACKAGE}/{name}c", _compiled(f"{_PACKAGE}/{name}", source))
    return buffer.getvalue()


def _compiled(name: str, source: bytes) -> bytes:
    """The content of an unchecked, hash-based ``.pyc`` (PEP 552)."""
    code = compile(source, name, "exec", dont_inherit=True)
    flags = (0b01).to_bytes(4, "little")
    return importlib.util.MAGIC_NUMBER + flags + importlib.util.source_hash(source) + marshal.dumps(code)


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, _TIMESTAMP), content)


def _forget_the_oldest(layout: NodeLayout) -> None:
    guards = sorted(layout.guards.glob("*.pyz"), key=lambda path: path.stat().st_mtime, reverse=True)
    in_use = current(layout)
    for path in (guard for guard in guards[MOST_GUARDS:] if guard != in_use):
        with suppress(OSError):
            path.unlink()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
