# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Driver ``unix``: an image is a program of the node's operating system, run as a process under a supervisor."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Optional, Protocol

from .. import codec
from ..durable import make_folder, write_durably
from ..errors import DriverError, ImageError, ImageMissing, ReleaseRefused
from ..layout import NodeLayout
from ..model import Capabilities, Configuration, Exit, Image, Instance, Release
from ..runtime.executable import why_not_executable
from ..runtime.limits import MIB, rlimits, unreachable_limit
from ..runtime.process import ProcessIdentity
from ..runtime.supervisor import Phase, ProcessSpec, Standing, Supervisor
from ..runtime.waiter import MARK

RELEASE = "release.json"
"""In the instance's folder: the release that it is of, so that a lost state can be made good from what runs."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CONSOLE_BYTES = 4 * MIB
MOST_WORD_BYTES = 128 * 1024 - 1
"""Linux takes no longer argument or variable (MAX_ARG_STRLEN, its final zero included)."""
MOST_BYTES = 1024 * 1024
"""Of arguments and environment together; Linux takes a quarter of the stack's limit, 2 MiB as a rule."""


class Images(Protocol):
    """What the driver needs of the node's image store."""

    def verify(self, image: Image) -> Path:
        """Path of the image, whose bytes were read and found right; else ImageMissing."""

    def add_file(self, path: Path) -> Image:
        """Put a file's bytes into the store."""


class UnixDriver:
    """Runs each release of a unikernel as a process, one at a time, from the image in the store."""

    name = "unix"

    def __init__(self, layout: NodeLayout, images: Images, supervisor: Supervisor) -> None:
        self._layout = layout
        self._images = images
        self._supervisor = supervisor

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(swap_methods=("stop_start",), discovers=True)

    # --- looking ---

    def inspect(self, names: Sequence[str]) -> Mapping[str, tuple[Instance, ...]]:
        return {name: tuple(self._instances(name)) for name in names}

    def _instances(self, name: str) -> list[Instance]:
        found = []
        for number in self._numbers(name):
            standing = self._supervisor.inspect(self._layout.instance(name, number))
            if standing.phase is not Phase.NEVER:
                found.append(_instance(name, number, standing))
        return found

    def _numbers(self, name: str) -> list[int]:
        """Of the releases that have a folder here, begun or complete."""
        folder = self._layout.instance(name, 0).parent
        try:
            return sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal())
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise DriverError(f"The instances of {name} cannot be looked at: {error}. Nothing was changed.") from error

    def console(self, name: str, release: int, lines: int) -> tuple[str, ...]:
        try:
            return self._supervisor.tail(self._layout.instance(name, release), lines)
        except OSError as error:
            raise DriverError(f"The console of {name}, release {release}, cannot be read: {error}.") from error

    # --- refusing ---

    def validate(self, name: str, release: Release) -> None:
        path = self._verified(name, release)
        reasons = [*_refusals(release), *self._refusals_of_image(path), *self._refusals_of_memory(name, release)]
        if reasons:
            raise ReleaseRefused(
                f"{name}: {release} cannot run on this node with driver unix: {'; '.join(reasons)}. "
                "Nothing was stopped or started."
            )

    def _verified(self, name: str, release: Release) -> Path:
        try:
            return self._images.verify(release.image)
        except ImageMissing as error:
            raise ReleaseRefused(f"{name}: {release} cannot run: {error} Nothing was stopped or started.") from error

    def _refusals_of_image(self, path: Path) -> list[str]:
        try:
            reason = why_not_executable(path)
        except OSError as error:
            reason = f"cannot be read: {error}"
        return [f"its image {reason}"] if reason else []

    def _refusals_of_memory(self, name: str, release: Release) -> list[str]:
        wanted = release.configuration.memory_mib
        if wanted is None or wanted < 1:
            return []
        freed = sum(instance.memory_mib or 0.0 for instance in self._instances(name) if instance.alive)
        free = _available_mib()
        if free is None or wanted <= free + freed:
            return []
        return [f"it needs {wanted} MiB of memory, and only {int(free + freed)} MiB are free"]

    # --- changing ---

    def swap(self, name: str, old: Optional[Release], new: Optional[Release]) -> Optional[Instance]:
        """Everything but ``new`` is stopped, found on the disk and not only named as ``old``: never two at a time."""
        if new is None or not new.running:
            self._stop_all_but(name, None)
            return None
        # Before anything is stopped: hashing takes its time, and a bad image must not cost an outage.
        program = self._verified(name, new)
        self._stop_another_of_that_number(name, new)
        self._record(name, new)
        self._keep_image(name, new, program)
        folder = self._layout.instance(name, new.number)
        spec = process_spec(name, new.configuration, program)
        try:
            self._supervisor.start(folder, spec, first=lambda: self._stop_all_but(name, new.number))
        except DriverError as error:
            raise DriverError(f"{name}: {new} was not started: {error}") from error
        return _instance(name, new.number, self._supervisor.inspect(folder))

    def _stop_all_but(self, name: str, kept: Optional[int]) -> None:
        for number in self._numbers(name):
            if number != kept:
                self._supervisor.stop(self._layout.instance(name, number))

    def _stop_another_of_that_number(self, name: str, release: Release) -> None:
        """Numbers begin anew when a state is lost: what runs under this one may be of another image or configuration.

        Stopped before the record is replaced: a crash in between must not make it look like the new release.
        """
        folder = self._layout.instance(name, release.number)
        if self._supervisor.inspect(folder).phase is Phase.RUNNING:
            recorded: Optional[Release] = None
            with suppress(DriverError):
                recorded = self._recorded(name, release.number)
            if recorded is None or (recorded.image, recorded.configuration) != (release.image, release.configuration):
                self._supervisor.stop(folder)

    def _record(self, name: str, release: Release) -> None:
        folder = self._layout.instance(name, release.number)
        try:
            make_folder(folder)
            write_durably(folder / RELEASE, json.dumps(codec.encode(release)).encode("ascii"))
        except OSError as error:
            raise DriverError(
                f"{name}: {release} was not started: its record cannot be written to {folder}: {error}. "
                "Nothing was stopped. Make room or correct the permissions."
            ) from error

    def _keep_image(self, name: str, release: Release, program: Path) -> None:
        """The instance's own link to its image outlives a deletion in the store. Where links are not possible, the
        store alone has to do."""
        link = self._layout.instance_image(name, release.number)
        temporary = link.with_name(link.name + ".new")
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
            os.link(program, temporary)
            os.replace(temporary, link)
            temporary.unlink(missing_ok=True)  # replacing a link by another one to the same file does nothing

    def stop(self, name: str, release: int) -> Optional[Exit]:
        return self._supervisor.stop(self._layout.instance(name, release))

    def on_trial(self, name: str, release: int, trial: bool) -> None:
        self._supervisor.hold_restarts(self._layout.instance(name, release), trial)

    def discard(self, name: str, release: int) -> None:
        self._supervisor.discard(self._layout.instance(name, release))

    # --- adopting ---

    def fetch_image(self, name: str) -> Optional[tuple[Release, Image]]:
        for instance in reversed(self._instances(name)):
            if instance.alive and instance.identity is not None:
                release = self._recorded(name, instance.release)
                self._ensure_image(name, release, instance.identity)
                return release, release.image
        return None

    def _recorded(self, name: str, number: int) -> Release:
        path = self._layout.instance(name, number) / RELEASE
        try:
            return codec.decode(Release, json.loads(path.read_bytes()))
        except (OSError, ValueError) as error:
            raise DriverError(
                f"{name} runs as release {number}, but what that is cannot be read from {path}: {error}. "
                "It was left running. Stop it, or deploy anew."
            ) from error

    def _ensure_image(self, name: str, release: Release, identity: str) -> None:
        """The instance has its own link to the image, and the kernel keeps a running program's bytes, even when its
        file was removed: from there it comes back."""
        with suppress(ImageMissing):
            self._images.verify(release.image)
            return
        link = self._layout.instance_image(name, release.number)
        for kept in (link, Path(f"/proc/{ProcessIdentity.parse(identity).pid}/exe")):
            with suppress(OSError, ImageError):
                if kept.stat().st_size == release.image.size and self._images.add_file(kept) == release.image:
                    return
        raise DriverError(
            f"{name} runs as {release}, but its image is no more in the store and could not be taken from its process. "
            "It was left running. Bring the image into the store (module image), then try again."
        )


def process_spec(name: str, configuration: Configuration, program: Path) -> ProcessSpec:
    """How a configuration is run: all that its process gets, nothing of Ansible's environment."""
    limits = rlimits(configuration)
    console_bytes = CONSOLE_BYTES
    if "RLIMIT_FSIZE" in limits:
        # The console is a file as well, and reaching the limit in it would end the instance.
        console_bytes = min(console_bytes, limits["RLIMIT_FSIZE"][0] // 4)
    return ProcessSpec(
        program=str(program),
        argv=(name, *configuration.arguments, *configuration.secret_arguments),
        environment={
            "PATH": PATH,
            "UNIKERNEL_NAME": name,
            **configuration.environment,
            **configuration.secret_environment,
        },
        directory=configuration.working_directory or "/",
        cpus=configuration.cpus,
        limits=limits,
        restart=configuration.restart,
        console_bytes=console_bytes,
        stop_grace_s=configuration.stop_grace_s,
    )


def _instance(name: str, number: int, standing: Standing) -> Instance:
    return Instance(
        name=name,
        release=number,
        alive=standing.phase is Phase.RUNNING,
        identity=standing.identity,
        restarts=standing.restarts,
        cpu_time_s=standing.cpu_time_s,
        memory_mib=standing.memory_mib,
        uptime_s=standing.uptime_s,
        exit=standing.exit,
    )


def _refusals(release: Release) -> list[str]:
    """What forbids the release whatever its image's bytes are. Never shows a secret: they are named, not quoted."""
    configuration = release.configuration
    return [
        *_refusals_of_devices(release),
        *_refusals_of_words(configuration),
        *_refusals_of_place(configuration),
        *_refusals_of_limits(configuration),
    ]


def _refusals_of_devices(release: Release) -> list[str]:
    reasons = []
    if release.abi is not None:
        reasons.append(f"its image is a Solo5 image for {release.abi.target}, which needs a tender and its own driver")
    if release.configuration.networks:
        reasons.append("networks were declared, and a process uses the node's network (leave them out)")
    if release.configuration.block_devices:
        reasons.append("block devices were declared, and a process has none (leave them out)")
    return reasons


def _refusals_of_words(configuration: Configuration) -> list[str]:
    reasons = []
    environment = {**configuration.environment, **configuration.secret_environment}
    words = (*configuration.arguments, *configuration.secret_arguments)
    for number, word in enumerate(words, 1):
        if "\0" in word:
            reasons.append(f"its argument {number} holds a zero byte")
        elif _octets(word) > MOST_WORD_BYTES:
            reasons.append(f"its argument {number} is longer than {MOST_WORD_BYTES} bytes")
    for key, value in environment.items():
        if not key or "=" in key or "\0" in key or "\0" in value:
            reasons.append(f"{key!r} with its value is no variable of an environment (empty, '=' or a zero byte)")
        elif key == MARK:
            reasons.append(f"the variable {MARK} belongs to the supervisor")
        elif _octets(key) + 1 + _octets(value) > MOST_WORD_BYTES:
            reasons.append(f"its variable {key!r} is longer than {MOST_WORD_BYTES} bytes")
    if sum(map(_octets, (*words, *environment, *environment.values()))) > MOST_BYTES:
        reasons.append(f"its arguments and environment are more than {MOST_BYTES} bytes together")
    return reasons


def _refusals_of_place(configuration: Configuration) -> list[str]:
    reasons = []
    folder = configuration.working_directory
    if folder is not None and not (os.path.isabs(folder) and os.path.isdir(folder)):
        reasons.append(f"its working directory {folder!r} is no folder on this node (an absolute path is needed)")
    missing = sorted(set(configuration.cpus) - os.sched_getaffinity(0))
    if missing:
        usable = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
        reasons.append(f"it may only use the CPUs {', '.join(map(str, missing))}, and this node offers {usable}")
    return reasons


def _refusals_of_limits(configuration: Configuration) -> list[str]:
    limits = configuration.limits
    declared = {
        "memory_mib": configuration.memory_mib,
        "open_files": limits.open_files,
        "processes": limits.processes,
        "file_size_mib": limits.file_size_mib,
        "cpu_time_s": limits.cpu_time_s,
    }
    reasons = [f"{key} is {value}, and at least 1 is needed" for key, value in declared.items() if not _sane(value)]
    if not 0 <= configuration.stop_grace_s <= 3600:
        reasons.append(f"stop_grace_s is {configuration.stop_grace_s}, and 0 to 3600 s are possible")
    if not reasons:
        unreachable = unreachable_limit(rlimits(configuration))
        if unreachable:
            reasons.append(unreachable)
    return reasons


def _sane(value: Optional[int]) -> bool:
    return value is None or 1 <= value < 2**40


def _octets(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))


def _available_mib() -> Optional[float]:
    """What can be used without swapping; None where the kernel does not say."""
    with suppress(OSError, ValueError, IndexError), open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) / 1024
    return None
