# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A unikernel that runs: a process of the node that the double plays the tender of."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import (
    BlockInfo,
    NetworkInfo,
    NetworkUse,
    UnikernelConfig,
    UnikernelInfo,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.mac import derived_mac
from ansible_collections.unikernel.fleet.tests.support.albatross import tenders, wiring
from ansible_collections.unikernel.fleet.tests.support.albatross.faults import Fault
from ansible_collections.unikernel.fleet.tests.support.albatross.images import Guest
from ansible_collections.unikernel.fleet.tests.support.albatross.machine import Machine
from ansible_collections.unikernel.fleet.tests.support.albatross.resources import block_names
from ansible_collections.unikernel.fleet.tests.support.albatross.stamps import stamp

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
_SECTOR_OCTETS = 512
_NEVER_SELF = (1, 60, 61, 62, 63, 64)
"""Exit codes after which nothing is restarted, whatever was asked for."""
BAD_ARGUMENTS = 64


@dataclass
class Running:
    """Beside albatrossd's records, the process itself, which outlives an albatrossd that dies."""

    name: Name
    config: UnikernelConfig
    digest: bytes
    process: subprocess.Popen[bytes]
    started: str
    code: int = 0
    """How it ended; a negative one is a signal."""
    taps: tuple[str, ...] = ()
    """Of a real tender, as long as it is there."""
    ended: threading.Event = field(default_factory=threading.Event)
    """The process is reaped, and nothing that it started is left."""
    wires: wiring.Wires = field(default_factory=wiring.Wires)
    """Of a program, if its bridges are real."""

    @property
    def block_names(self) -> tuple[Name, ...]:
        return block_names(self.name, self.config)

    def info(self, block_size: Callable[[str], int]) -> UnikernelInfo:
        config = self.config
        return UnikernelInfo(
            memory_mib=config.memory_mib,
            digest=self.digest,
            cpus=tuple(sorted(set(config.cpus))),
            fail_behaviour=config.fail_behaviour,
            startup=config.startup,
            blocks=tuple(
                BlockInfo(
                    use.guest_device,
                    use.host_device or use.guest_device,
                    use.sector_size or _SECTOR_OCTETS,
                    block_size(use.host_device or use.guest_device),
                )
                for use in config.blocks
            ),
            networks=tuple(
                NetworkInfo(use.guest_device, use.bridge or use.guest_device, use.mac or mac_of(self.name, use))
                for use in config.networks
            ),
            arguments=config.arguments,
            started=self.started,
            vcpus=config.vcpus,
            linux_boot=config.linux_boot,
            type=config.type,
        )

    def terminate(self) -> None:
        """As albatrossd does it. Waits for nothing, and nobody else ends it."""
        with suppress(ProcessLookupError):
            self.process.terminate()

    def kill(self) -> None:
        _kill_session(self.process.pid)


def mac_of(name: Name, use: NetworkUse) -> str:
    return derived_mac(use.guest_device, name.label or "", ":".join(name.path))


def should_restart(config: UnikernelConfig, code: int) -> bool:
    """Of an end by itself; a negative code is a signal."""
    if code < 0 or code in _NEVER_SELF or not config.fail_behaviour.restart:
        return False
    return not config.fail_behaviour.codes or code in config.fail_behaviour.codes


def start(machine: Machine, name: Name, config: UnikernelConfig, plain: bytes, guest: Guest, console: int) -> Running:
    """Start the process, with its console on that descriptor, which is ours from now on. OSError when it cannot be."""
    macs = [use.mac or mac_of(name, use) for use in config.networks]
    real = is_real(machine, guest)
    taps = tenders.make_taps(config) if real else ()
    wires = wiring.Wires() if real else wiring.plug(config.networks, macs, config.arguments)
    try:
        process = wires.inside(lambda: _spawned(_command(machine, name, config, guest, taps), console))
    except OSError:
        tenders.remove_taps(taps)
        wires.remove()
        raise
    running = Running(name, config, hashlib.sha256(plain).digest(), process, stamp(), taps=taps, wires=wires)
    threading.Thread(target=_reap, args=(running, guest, console), daemon=True).start()
    return running


def is_real(machine: Machine, guest: Guest) -> bool:
    """Whether Solo5's own tender runs it."""
    return machine.real_tenders is not None and guest.target is not None and not guest.program


def store(machine: Machine, name: Name, program: bytes) -> None:
    """The image file, that a failed create leaves behind. Replaced, never overwritten: an older one may still run."""
    path = machine.image_file(name)
    new = path.with_suffix(f".{threading.get_ident()}.new")
    new.write_bytes(program)
    new.chmod(0o500)
    new.replace(path)


def _command(machine: Machine, name: Name, config: UnikernelConfig, guest: Guest, taps: tuple[str, ...]) -> list[str]:
    if not config.cpus:
        return _complaint("taskset: failed to parse CPU list: ")
    if config.memory_mib < 1:
        return _complaint(f"solo5-{guest.target or 'hvt'}: Malformed argument to --mem")
    added = [f"--name={name.label or name}"] if config.add_name else []
    if machine.real_tenders is not None and is_real(machine, guest):
        macs = tuple(use.mac or mac_of(name, use) for use in config.networks)
        tender = machine.real_tenders / f"solo5-{guest.target}"
        return tenders.command(tender, config, macs, taps, machine.image_file(name), [*added, *config.arguments])
    if guest.target is not None and not guest.program:
        return _complaint(f"solo5-{guest.target}: the double runs no image that has no program behind its notes")
    return [str(machine.image_file(name)), *added, *config.arguments]


def _complaint(text: str) -> list[str]:
    """Of the tender, which ends before the guest begins."""
    return ["/bin/sh", "-c", 'printf "%s\\n" "$0"; exit 1', text]


def _spawned(command: list[str], console: int) -> subprocess.Popen[bytes]:
    attempts = 50
    for attempt in range(attempts):
        try:
            return subprocess.Popen(
                [os.fsencode(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=ENVIRONMENT,
                start_new_session=True,
            )
        except OSError as error:
            # A program that another thread wrote while a third one forked is open for writing until that one executes.
            if error.errno != errno.ETXTBSY or attempt == attempts - 1:
                raise
            time.sleep(0.01)
    raise AssertionError("not reached")


def _reap(running: Running, guest: Guest, console: int) -> None:
    code = running.process.wait()
    # What a guest starts ends with it: nothing of a virtual machine outlives its tender.
    _kill_session(running.process.pid)
    with suppress(Fault):
        tenders.remove_taps(running.taps)
    running.wires.remove()
    if not running.taps and guest.target == "hvt" and code == -signal.SIGTERM:
        # Its tender catches the signal; solo5-spt dies of it.
        code = 1
        with suppress(OSError):
            os.write(console, b"solo5-hvt: Exiting on signal 15\n")
    os.close(console)
    running.code = code
    running.ended.set()


def _kill_session(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
