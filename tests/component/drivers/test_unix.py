# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The driver ``unix`` on a real store, with real processes."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.protocol import Driver
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.registry import open_driver
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import (
    DriverError,
    InvalidDeclaration,
    ReleaseRefused,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.images.store import ImageStore
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import (
    Abi,
    BlockDevice,
    Configuration,
    Image,
    Instance,
    Limits,
    Release,
    RestartPolicy,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime import limits
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.process import (
    ProcessIdentity,
    alive,
    send,
    wait_end,
)
from ansible_collections.unikernel.fleet.tests.support import programs
from ansible_collections.unikernel.fleet.tests.support.programs import until, write_program

NAME = "hello"


class Node:
    """A state folder with a store and the driver on it."""

    def __init__(self, root: Path) -> None:
        self.layout = NodeLayout(root / "state")
        self.store = ImageStore(self.layout)
        self.driver: Driver = open_driver("unix", self.layout, self.store)
        self._incoming = root

    def image(self, source: str) -> Image:
        return self.store.add_file(write_program(self._incoming / "incoming", source, 0o755))

    def release(self, number: int, source: str = programs.LIVES, **configuration: Any) -> Release:
        return Release(number, self.image(source + f"# {number}\n"), Configuration(**configuration))

    def instances(self) -> dict[int, Instance]:
        return {instance.release: instance for instance in self.driver.inspect([NAME])[NAME]}

    def alive(self) -> list[int]:
        return [number for number, instance in self.instances().items() if instance.alive]

    def console(self, number: int, lines: int = 1000) -> tuple[str, ...]:
        return self.driver.console(NAME, number, lines)

    def started(self, release: Release, old: Optional[Release] = None) -> Instance:
        instance = self.driver.swap(NAME, old, release)
        assert instance is not None
        return instance


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    yield Node(tmp_path)
    programs.end_all_instances(tmp_path)


def identity(instance: Instance) -> ProcessIdentity:
    assert instance.identity is not None
    return ProcessIdentity.parse(instance.identity)


def test_a_driver_that_is_not_known_is_refused_with_those_that_are(node: Node) -> None:
    with pytest.raises(InvalidDeclaration, match=r"no driver 'unixx'; known: .*unix"):
        open_driver("unixx", node.layout, node.store)


def test_it_says_what_it_can_do(node: Node) -> None:
    assert node.driver.name == "unix"
    assert node.driver.capabilities.swap_methods == ("stop_start", "cut_over") and node.driver.capabilities.discovers


# --- swapping -----------------------------------------------------------------------------------------------


def test_from_absent_to_a_release_and_back(node: Node) -> None:
    assert node.driver.inspect([NAME, "other"]) == {NAME: (), "other": ()}
    first = node.release(1)
    instance = node.started(first)
    assert instance == dataclasses.replace(
        node.instances()[1],
        cpu_time_s=instance.cpu_time_s,
        memory_mib=instance.memory_mib,
        uptime_s=instance.uptime_s,
    )
    assert instance.alive and instance.name == NAME and instance.release == 1 and instance.exit is None
    assert node.driver.swap(NAME, first, None) is None
    ended = node.instances()[1]
    assert not ended.alive and ended.identity == instance.identity
    assert ended.exit is not None and ended.exit.meaning == "killed by SIGTERM"


def test_the_new_release_replaces_the_old_one(node: Node) -> None:
    first, second = node.release(1), node.release(2)
    node.started(first)
    node.started(second, first)
    assert node.alive() == [2]
    node.started(first, second)
    assert node.alive() == [1]


def test_a_release_of_which_nobody_spoke_is_stopped_too(node: Node) -> None:
    node.started(node.release(1))
    node.started(node.release(7), old=None)
    assert node.alive() == [7]


def test_a_repeated_swap_leaves_the_process_alone(node: Node) -> None:
    release = node.release(1)
    assert node.started(release).identity == node.started(release, release).identity


@pytest.mark.parametrize("record", ["kept", "garbled"])
def test_another_release_that_runs_under_the_same_number_is_replaced(node: Node, record: str) -> None:
    first = node.started(node.release(1, arguments=("a",)))
    if record == "garbled":
        (node.layout.instance(NAME, 1) / "release.json").write_text("{", encoding="ascii")
    second = node.started(node.release(1, arguments=("b",)))
    assert not alive(identity(first)) and second.alive
    adopted = node.driver.fetch_image(NAME, 1)
    assert adopted is not None and adopted[0].configuration.arguments == ("b",)


def test_an_instance_that_ended_is_started_afresh(node: Node) -> None:
    release = node.release(1)
    first = node.started(release)
    send(identity(first), signal.SIGKILL)
    assert wait_end(identity(first), 5.0)
    second = node.started(release)
    assert second.identity != first.identity and second.alive and second.restarts == 0


def test_a_release_that_is_declared_stopped_is_not_started(node: Node) -> None:
    first = node.release(1)
    node.started(first)
    assert node.driver.swap(NAME, first, dataclasses.replace(node.release(2), running=False)) is None
    assert node.alive() == [] and 2 not in node.instances()


def test_a_missing_image_stops_nothing(node: Node) -> None:
    first, second = node.release(1), node.release(2)
    node.started(first)
    node.layout.image(second.image.sha256).unlink()
    with pytest.raises(ReleaseRefused, match="Nothing was stopped"):
        node.driver.swap(NAME, first, second)
    assert node.alive() == [1]


def test_an_image_with_other_bytes_stops_nothing(node: Node) -> None:
    first, second = node.release(1), node.release(2)
    node.started(first)
    path = node.layout.image(second.image.sha256)
    path.chmod(0o755)
    path.write_bytes(b"#!/bin/sh\nrm -rf /nothing\n")
    with pytest.raises(ReleaseRefused):
        node.driver.swap(NAME, first, second)
    assert node.alive() == [1]


def test_a_start_that_fails_tells_why_and_the_way_back_is_open(node: Node) -> None:
    first, second = node.release(1), node.release(2, "#!/no/such/interpreter\n")
    node.started(first)
    with pytest.raises(DriverError, match=r"hello: release 2 .* was not started: .*No such file"):
        node.driver.swap(NAME, first, second)
    failed = node.instances()[2]
    assert failed.exit is not None and failed.exit.status == 127
    node.started(first, second)
    assert node.alive() == [1]


def test_a_release_that_ends_at_once_is_started_and_its_end_is_told(node: Node) -> None:
    node.started(node.release(1, programs.EXITS_BADLY_AT_ONCE))
    until(lambda: node.instances()[1].exit is not None)
    exit = node.instances()[1].exit
    assert exit is not None and exit.status == 1
    assert node.console(1) == ("no configuration",)


def test_the_grace_time_is_that_of_the_release_that_is_stopped(node: Node) -> None:
    first = node.release(1, programs.IGNORES_SIGTERM, stop_grace_s=0.1)
    node.started(first)
    until(lambda: node.console(1))
    node.started(node.release(2), first)
    exit = node.instances()[1].exit
    assert exit is not None and exit.meaning == "killed by SIGKILL"


def test_a_stop_of_what_is_not_there_is_nothing(node: Node) -> None:
    assert node.driver.stop(NAME, 3) is None


def test_a_folder_that_was_only_begun_is_no_instance(node: Node) -> None:
    node.layout.instance(NAME, 4).mkdir(parents=True)
    (node.layout.instance(NAME, 4) / "release.json").write_text("{", encoding="ascii")
    assert node.instances() == {}
    node.started(node.release(4))
    assert node.alive() == [4]


# --- what the process gets -----------------------------------------------------------------------------------


def test_the_process_gets_exactly_what_was_declared(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD", "hunter2")
    instance = node.started(
        node.release(
            1,
            programs.SHOWS_ARGUMENTS,
            arguments=("--port", "80"),
            secret_arguments=("--key=geheim",),
            environment={"COLOUR": "blau"},
            secret_environment={"TOKEN": "t"},
        )
    )
    until(lambda: len(node.console(1)) == 3)
    assert node.console(1) == ("--port", "80", "--key=geheim")
    place = Path(f"/proc/{identity(instance).pid}/environ")
    until(place.read_bytes)  # empty in the moment of an exec, which its last one is
    content = place.read_bytes()
    variables = dict(item.split("=", 1) for item in content.decode().rstrip("\0").split("\0"))
    assert variables.pop("COLOUR") == "blau" and variables.pop("TOKEN") == "t"
    assert variables.pop("UNIKERNEL_NAME") == NAME and variables.pop("PATH").startswith("/usr/local/sbin:")
    assert set(variables) - {"PWD", "OLDPWD", "SHLVL", "_"} == {"UNIKERNEL_INSTANCE"}, "the shell's own apart"


def test_secrets_lie_in_files_for_their_owner_only(node: Node) -> None:
    node.started(node.release(1, secret_arguments=("geheim",)))
    holding = [path for path in node.layout.root.rglob("*") if path.is_file() and b"geheim" in path.read_bytes()]
    assert {path.name for path in holding} == {"spec.json", "release.json"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in holding} == {0o600}


def test_the_console_stays_below_the_limit_of_a_files_size(node: Node) -> None:
    instance = node.started(node.release(1, programs.FLOODS, limits=Limits(file_size_mib=1)))
    spec = json.loads((node.layout.instance(NAME, 1) / "spec.json").read_bytes())
    assert spec["console_bytes"] == 2**18 and spec["limits"] == {"RLIMIT_FSIZE": [2**20, 2**20]}
    node.driver.stop(NAME, 1)
    assert not alive(identity(instance))


def test_the_memory_limit_binds_what_is_used_and_not_what_is_reserved(node: Node) -> None:
    program = (
        f"#!{os.path.realpath(sys.executable)} -IS\n"
        "import mmap\n"
        "reserved = mmap.mmap(-1, 1 << 30, prot=mmap.PROT_READ)\n"
        "print('reserved', flush=True)\n"
        "used = bytearray(1 << 30)\n"
        "print('used', flush=True)\n"
    )
    node.started(node.release(1, program, memory_mib=64))
    until(lambda: node.instances()[1].exit is not None)
    assert node.console(1)[0] == "reserved" and node.console(1)[-1] == "MemoryError"


# --- restarts ------------------------------------------------------------------------------------------------


def test_on_trial_an_end_is_final(node: Node) -> None:
    release = node.release(1, programs.EXITS_BADLY_AT_ONCE, restart=RestartPolicy.ALWAYS)
    node.driver.on_trial(NAME, 1, True)
    assert node.instances() == {}
    node.started(release)
    until(lambda: node.instances()[1].exit is not None)
    folder = node.layout.instance(NAME, 1)
    waiter = ProcessIdentity.parse(json.loads((folder / "run.json").read_bytes())["waiter"])
    assert wait_end(waiter, 5.0) and node.instances()[1].restarts == 0
    node.driver.on_trial(NAME, 1, False)
    assert not (folder / "on-trial").exists()


# --- discarding and adopting ---------------------------------------------------------------------------------


def test_a_stopped_instance_can_be_discarded_and_a_live_one_not(node: Node) -> None:
    node.started(node.release(1))
    with pytest.raises(DriverError, match="still lives"):
        node.driver.discard(NAME, 1)
    node.driver.stop(NAME, 1)
    node.driver.discard(NAME, 1)
    assert node.instances() == {} and node.console(1) == ()


def test_what_runs_can_be_adopted_with_its_configuration(node: Node) -> None:
    release = node.release(3, arguments=("--x",), secret_environment={"TOKEN": "t"}, memory_mib=64)
    assert node.driver.fetch_image(NAME, 1) is None
    node.started(release)
    assert node.driver.fetch_image(NAME, 1) == (release, release.image)
    node.driver.stop(NAME, 3)
    assert node.driver.fetch_image(NAME, 1) is None


def test_the_image_of_what_runs_comes_back_from_its_process(node: Node, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(Path("/bin/sleep").resolve().read_bytes())
    release = Release(1, node.store.add_file(program), Configuration(arguments=("300",)))
    node.started(release)
    node.layout.image(release.image.sha256).unlink()
    node.layout.instance_image(NAME, 1).unlink()
    assert node.driver.fetch_image(NAME, 1) == (release, release.image)
    assert node.store.verify(release.image)


def test_the_image_of_what_runs_comes_back_from_its_instances_link(node: Node) -> None:
    release = node.release(1)
    node.started(release)
    node.layout.image(release.image.sha256).unlink()
    assert node.driver.fetch_image(NAME, 1) == (release, release.image)
    assert node.store.verify(release.image)


def test_an_image_that_is_lost_for_good_is_said_so(node: Node) -> None:
    release = node.release(1)
    node.started(release)
    until(lambda: node.console(1))
    node.layout.image(release.image.sha256).unlink()
    node.layout.instance_image(NAME, 1).unlink()
    with pytest.raises(DriverError, match="left running"):
        node.driver.fetch_image(NAME, 1)
    assert node.alive() == [1]


def test_a_garbled_record_of_what_runs_is_an_error(node: Node) -> None:
    node.started(node.release(1))
    (node.layout.instance(NAME, 1) / "release.json").write_text('{"number": 1}', encoding="ascii")
    with pytest.raises(DriverError, match=r"cannot be read from .*release\.json.*left running"):
        node.driver.fetch_image(NAME, 1)


# --- refusing ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("configuration", "reason"),
    [
        ({"block_devices": (BlockDevice("data", "/dev/x"),)}, "block devices were declared"),
        ({"working_directory": "/no/such/folder"}, "'/no/such/folder' is no folder"),
        ({"working_directory": "tmp"}, "absolute path"),
        ({"cpus": (0, 9999)}, "CPUs 9999, and this node offers 0"),
        ({"memory_mib": 2**39}, "MiB are free"),
        ({"memory_mib": 0}, "memory_mib is 0"),
        ({"limits": Limits(open_files=-1)}, "open_files is -1"),
        ({"stop_grace_s": -1.0}, "stop_grace_s is -1.0"),
        ({"arguments": ("a", "b\0c")}, "argument 2 holds a zero byte"),
        ({"secret_arguments": ("geheim" * 50_000,)}, "argument 1 is longer"),
        ({"arguments": ("x" * 120_000,) * 10}, "together"),
        ({"environment": {"A=B": "c"}}, "'A=B' with its value is no variable"),
        ({"environment": {"UNIKERNEL_INSTANCE": "c"}}, "belongs to the supervisor"),
    ],
)
def test_what_cannot_run_is_refused_beforehand(node: Node, configuration: dict[str, Any], reason: str) -> None:
    with pytest.raises(ReleaseRefused, match=reason) as refused:
        node.driver.validate(NAME, node.release(1, **configuration))
    assert "geheim" not in str(refused.value) and len(str(refused.value)) < 1000


def test_all_reasons_are_told_at_once(node: Node) -> None:
    release = node.release(1, "#!/no/such/thing\n", cpus=(9999,), working_directory="/no/such/folder")
    with pytest.raises(ReleaseRefused, match=r"9999.*no/such/thing") as refused:
        node.driver.validate(NAME, release)
    assert "/no/such/folder" in str(refused.value)


def test_an_image_that_is_no_program_is_refused(node: Node) -> None:
    with pytest.raises(ReleaseRefused, match="neither an ELF program nor a script"):
        node.driver.validate(NAME, node.release(1, "hello"))


def test_a_solo5_image_is_refused(node: Node) -> None:
    release = dataclasses.replace(node.release(1), abi=Abi("hvt", 2))
    with pytest.raises(ReleaseRefused, match="Solo5 image for hvt"):
        node.driver.validate(NAME, release)


def test_a_good_release_is_not_refused_and_nothing_is_written(node: Node) -> None:
    bounds = Limits(open_files=64, processes=64, file_size_mib=16, cpu_time_s=60)
    release = node.release(1, memory_mib=16, cpus=(min(os.sched_getaffinity(0)),), limits=bounds)
    node.driver.validate(NAME, release)
    assert not node.layout.unikernels.exists()
    node.started(release)
    assert node.alive() == [1]


def test_a_limit_above_the_users_is_told() -> None:
    program = (
        "import os, resource\n"
        f"from {limits.__name__} import unreachable_limit\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"
        "print(unreachable_limit({'RLIMIT_NOFILE': (200, 200)}))\n"
        "print(unreachable_limit({'RLIMIT_NOFILE': (50, 50)}))\n"
    )
    environment = {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, timeout=20, check=True)
    assert done.stdout.decode().splitlines() == ["RLIMIT_NOFILE 200 is above this user's hard limit 100", "None"]
