# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""albatrossd: unikernels, policies and block devices, under one lock, and what becomes of the unikernels that end.

The states are those of the real daemon, oddities included. ``waiters`` holds, for each name, who is told when its
process ends: the restarting of it, or a client whose command killed it. A second such client takes the place of the
first one, who is therefore never answered. ``restarting`` holds names whose end was told to somebody; a destroy of such
a name succeeds once more.
"""

from __future__ import annotations

import os
import socket
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Optional, Union

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross import messages as m
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import (
    Generation,
    NamedInfo,
    NamedPolicy,
    UnikernelArguments,
    UnikernelConfig,
    UnikernelInfo,
)
from ansible_collections.unikernel.fleet.tests.support.albatross import frames, images, running, state
from ansible_collections.unikernel.fleet.tests.support.albatross.blocks import Blocks
from ansible_collections.unikernel.fleet.tests.support.albatross.consoles import Consoles
from ansible_collections.unikernel.fleet.tests.support.albatross.faults import Died, Fault
from ansible_collections.unikernel.fleet.tests.support.albatross.listing import listed
from ansible_collections.unikernel.fleet.tests.support.albatross.machine import Machine
from ansible_collections.unikernel.fleet.tests.support.albatross.resources import Resources, bridges_of
from ansible_collections.unikernel.fleet.tests.support.albatross.running import BAD_ARGUMENTS, Running, should_restart

Answer = Union[m.Success, m.Failure]
NOT_STARTED = "could not create unikernel: console failed"
_LEVELS = range(10)


class Ended:
    """The end of a process that a client waits for."""

    def __init__(self) -> None:
        self._told = threading.Event()
        self.code: Optional[int] = None

    def __call__(self, code: int) -> None:
        self.code = code
        self._told.set()

    def abandon(self) -> None:
        self._told.set()

    def wait(self) -> bool:
        """False when the daemon is gone, and nobody will ever tell."""
        self._told.wait()
        return self.code is not None


class Albatrossd:
    """One run of the daemon, from its start to its end."""

    def __init__(self, machine: Machine, consoles: Consoles, generation: Generation, everything: list[Running]) -> None:
        self.machine, self.consoles, self.generation = machine, consoles, generation
        self._processes = everything
        """All that were ever started on the machine: an albatrossd that dies leaves its own behind."""
        self.resources = Resources(generation)
        self.blocks = Blocks(machine, self.resources)
        self.lock = threading.Lock()
        self.over = False
        self._waiters: dict[Name, Callable[[int], None]] = {}
        self._restarting: set[Name] = set()
        self._clients: list[Ended] = []

    # --- beginning and end

    def start(self) -> None:
        """Find bridges and block devices, bring back what ran. Its one connection to the console daemon is made now."""
        if self.consoles.over:
            raise Fault("Failed to connect to console.sock, is albatross-console started?")
        self.blocks.find()
        unikernels, policies = state.load(self.machine.state)
        policies[()] = self.machine.root_policy()
        for path in sorted(policies, key=len):
            self.resources.insert_policy(path, policies[path])
        for name, config in sorted(unikernels, key=lambda one: 50 if one[1].startup is None else one[1].startup):
            with self.lock:
                self._create(name, config)

    def die(self) -> None:
        """As of SIGKILL, or an exception: the unikernels run on, and the next albatrossd knows nothing of them."""
        self.over = True
        for client in self._clients:
            client.abandon()

    def stop(self, patience_s: float) -> None:
        """As of SIGTERM: all unikernels are ended, and the state still names them. The double does not wait for ever
        for one that does not end."""
        with self.lock:
            self.over = True
            ours = list(self.resources.unikernels.values())
        for one in ours:
            one.terminate()
        for one in ours:
            if not one.ended.wait(patience_s):
                one.kill()
                one.ended.wait()
        self.die()

    # --- requests

    def serve(self, connection: socket.socket) -> None:
        """One request; after a policy was added, another one."""
        while True:
            asked = frames.request(connection, self.generation)
            if asked is None:
                return

            def say(payload: m.Payload, asked: m.Message = asked) -> bool:
                return frames.say(connection, m.Message(asked.name, payload, asked.sequence))

            try:
                again = self._carry_out(asked.name, asked.payload, say, connection)
            except Fault as fault:
                say(m.Failure(str(fault)))
                return
            if not again:
                return

    def _carry_out(
        self, name: Name, command: m.Payload, say: Callable[[m.Payload], bool], connection: socket.socket
    ) -> bool:
        """True when the connection is there for more."""
        if isinstance(command, m.SetBlock):
            with self.lock:
                write = self.blocks.prepare_set(name)
            say(self.blocks.set_from(connection, write, command.compressed))
        elif isinstance(command, m.DumpBlock):
            with self.lock:
                read = self.blocks.prepare_dump(name)
            self.blocks.dump_to(say, read, command.level)
        elif isinstance(command, m.Create) and not command.force:
            with self.lock:
                say(self._create(name, command.config))
        elif isinstance(command, (m.Create, m.Restart)):
            self._replace(name, command, say)
        elif isinstance(command, m.Destroy):
            self._destroy(name, say)
        else:
            with self.lock:
                answer = self._answer(name, command)
            say(answer)
            return isinstance(command, m.AddPolicy)
        return False

    def _answer(self, name: Name, command: m.Payload) -> Answer:
        """Commands that wait for nothing."""
        if isinstance(command, m.ListUnikernels):
            return self._unikernels(name, command.form)
        if isinstance(command, m.GetImage):
            return self._image(name, command.level)
        if isinstance(command, m.ListBlocks):
            return self.blocks.answer(name)
        if isinstance(command, m.AddBlock):
            return self.blocks.add(name, command.size_mib)
        if isinstance(command, m.RemoveBlock):
            return self.blocks.remove(name)
        if isinstance(command, m.ListPolicies):
            policies = {Name(path): policy for path, policy in self.resources.policies.items()}
            return m.Policies(tuple(NamedPolicy(*one) for one in listed(Name(name.path), policies)))
        if isinstance(command, m.AddPolicy):
            if self.resources.policies.get(name.path) == command.policy:
                return m.Said("no modification of policy")
            self.resources.insert_policy(name.path, command.policy)
            self._dump()
            return m.Said("added policy")
        if isinstance(command, m.RemovePolicy):
            if self.resources.policies.pop(name.path, None) is None:
                raise Fault("unknown policy")
            self._dump()
            return m.Said("removed policy")
        raise Fault("unknown command")

    def _unikernels(self, name: Name, form: Generation) -> m.Unikernels:
        told = []
        for relative, one in listed(name, self.resources.unikernels):
            path = relative.path  # As told: so the sizes of a path's block devices are looked up in the wrong place.
            told.append(NamedInfo(relative, one.info(lambda label, path=path: self.blocks.size(Name(path, label)))))  # type: ignore[misc]
        if form is not Generation.V2_7 and any(len(entry.info.cpus) != 1 for entry in told):
            raise Died("the old form of a listing has room for exactly one CPU")
        return m.Unikernels(tuple(NamedInfo(one.name, _in_form(one.info, form)) for one in told), form)

    def _image(self, name: Name, level: int) -> m.ImageData:
        found = self.resources.unikernels.get(name)
        if found is None:
            raise Fault("get: no unikernel found")
        config = found.config
        if config.compressed:
            return m.ImageData(True, config.image) if level > 0 else m.ImageData(False, images.plain(config))
        if level == 0:
            return m.ImageData(False, config.image)
        if level not in _LEVELS:
            raise Died(f"there is no level {level} of zlib")
        return m.ImageData(True, zlib.compress(config.image, level))

    # --- commands that kill

    def _replace(self, name: Name, command: Union[m.Create, m.Restart], say: Callable[[m.Payload], bool]) -> None:
        """Kill what runs, wait for its end, and only then look at the image and the bridges of what comes after it."""
        with self.lock:
            old = self.resources.unikernels.get(name)
            if isinstance(command, m.Create):
                config = command.config
                self.resources.check(name, config, without=name)
                if old is None:
                    with suppress(Fault):
                        self._stop_creating(name)
                    say(self._create(name, config))
                    return
            else:
                if old is None:
                    say(self._stop_creating(name))
                    return
                # The policy is asked about what ran, not about what shall run.
                self.resources.check(name, old.config, without=name)
                config = old.config if command.arguments is None else _with(old.config, command.arguments)
                images.match_manifest(images.plain(config), config)
            waiting = self._kill(name, old)
        if waiting.wait():
            with self.lock:
                if not self.over:
                    say(self._create(name, config))

    def _destroy(self, name: Name, say: Callable[[m.Payload], bool]) -> None:
        with self.lock:
            found = self.resources.unikernels.get(name)
            if found is None:
                answer = self._stop_creating(name)
                self._dump()
                say(answer)
                return
            waiting = self._kill(name, found)
        if waiting.wait():
            with self.lock:
                self._dump()
            say(m.Said("destroyed unikernel"))

    def _kill(self, name: Name, old: Running) -> Ended:
        old.terminate()
        waiting = Ended()
        self._clients.append(waiting)
        self._waiters[name] = waiting
        return waiting

    def _stop_creating(self, name: Name) -> m.Said:
        """Of a name that does not run."""
        if self._waiters.pop(name, None) is not None:
            return m.Said("destroyed: removed waiter")
        if name not in self._restarting:
            raise Fault("destroy: not found")
        self._restarting.discard(name)
        return m.Said("destroyed: removed from restarting")

    # --- starting, and what comes after the end

    def _create(self, name: Name, config: UnikernelConfig) -> Answer:
        """Under the lock. What it raises would be told to nobody when a unikernel restarts."""
        try:
            return self._created(name, config)
        except Fault as fault:
            return m.Failure(str(fault))

    def _created(self, name: Name, config: UnikernelConfig) -> m.Said:
        if name in self.resources.unikernels:
            raise Fault("Unikernel with same name is already running")
        if self.generation is Generation.V2_5:
            config = replace(config, add_name=False)
        self.resources.check(name, config)
        octets = images.plain(config)
        guest = images.guest_of(octets, self.machine.tenders)
        images.match_manifest(octets, config)
        running.store(self.machine, name, octets if running.is_real(self.machine, guest) else guest.program)
        for bridge in bridges_of(config):
            if bridge not in self.machine.bridges():
                raise Fault(f"interface {bridge} does not exist")
        if name.label is None or self.consoles.over:
            raise Fault(NOT_STARTED)
        reading, writing = os.pipe()
        self.consoles.add(name, self.resources.most_unikernels(name), reading)
        try:
            one = running.start(self.machine, name, config, octets, guest, writing)
        except OSError:
            os.close(writing)
            raise Fault(NOT_STARTED) from None
        self._processes.append(one)
        self.resources.insert(one)
        self._dump()
        if config.fail_behaviour.restart or config.add_name:
            self._waiters.setdefault(name, lambda code: self._maybe_again(one, code))
        threading.Thread(target=self._watch, args=(one,), daemon=True).start()
        return m.Said("created unikernel")

    def _watch(self, one: Running) -> None:
        one.ended.wait()
        with self.lock:
            if self.over:
                return
            self.resources.remove(one.name)
            self.machine.image_file(one.name).unlink(missing_ok=True)
            waiter = self._waiters.pop(one.name, None)
            if waiter is None:
                self._dump()
                return
            self._restarting.add(one.name)
        waiter(one.code)

    def _maybe_again(self, one: Running, code: int) -> None:
        """After an end by itself. At once: albatross never waits between two starts."""
        with self.lock:
            may = one.name in self._restarting and not self.over
            self._restarting.discard(one.name)
            if may and one.config.add_name and code == BAD_ARGUMENTS:
                # It may not know --name, which was not in what its owner wrote.
                self._create(one.name, replace(one.config, add_name=False))
            elif may and should_restart(one.config, code):
                self._create(one.name, one.config)
            else:
                self._dump()

    def _dump(self) -> None:
        if not self.over:
            configs = {name: one.config for name, one in self.resources.unikernels.items()}
            state.save(self.machine.state, configs, self.resources.policies)


def _in_form(info: UnikernelInfo, form: Generation) -> UnikernelInfo:
    """Without what older forms have no words for."""
    if form is Generation.V2_7:
        return info
    startup = info.startup if form is Generation.V2_6 else None
    return replace(info, startup=startup, vcpus=1, linux_boot=None)


def _with(config: UnikernelConfig, arguments: UnikernelArguments) -> UnikernelConfig:
    names = list(arguments.__dataclass_fields__)
    return replace(config, **{name: getattr(arguments, name) for name in names})
