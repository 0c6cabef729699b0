# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime import process, waiter
from ansible_collections.unikernel.fleet.tests.support.programs import until


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "300"]) as popen:
        yield popen
        popen.kill()


def identify(popen: subprocess.Popen[bytes]) -> process.ProcessIdentity:
    identity = process.identify(popen.pid)
    assert identity is not None
    return identity


def another(identity: process.ProcessIdentity) -> process.ProcessIdentity:
    """The same number, held by an earlier process."""
    return process.ProcessIdentity(identity.pid, identity.start_ticks - 1, identity.boot_id)


def test_an_identity_survives_its_text_form(sleeper: subprocess.Popen[bytes]) -> None:
    identity = identify(sleeper)
    assert process.ProcessIdentity.parse(str(identity)) == identity


@pytest.mark.parametrize("text", ["", "1:2", "x:2:b", "1:5:b", "0:5:b", "7:8:", "7:8:b\n", " 7:8:b", "7:08:b"])
def test_other_texts_are_no_identity(text: str) -> None:
    with pytest.raises(ValueError):
        process.ProcessIdentity.parse(text)


def test_a_name_with_spaces_and_parentheses_does_not_confuse_the_reading() -> None:
    name = "a) S 1 (b"
    with subprocess.Popen(
        ["/bin/bash", "-c", f"printf '{name}' > /proc/$$/comm; echo; read"], stdin=-1, stdout=-1
    ) as popen:
        assert popen.stdout is not None and popen.stdin is not None
        popen.stdout.readline()
        stat = waiter.process_stat(popen.pid)
        assert stat is not None and waiter.session_of(stat) == os.getsid(popen.pid)
        popen.stdin.close()


def test_a_zombie_is_not_alive(sleeper: subprocess.Popen[bytes]) -> None:
    identity = identify(sleeper)
    assert process.alive(identity)
    os.kill(sleeper.pid, signal.SIGKILL)
    until(lambda: (waiter.process_stat(sleeper.pid) or ["?"])[0] == "Z")
    assert not process.alive(identity)
    assert process.readings(identity) is None
    assert not process.send(identity, signal.SIGTERM)


def test_the_same_number_with_another_start_time_is_never_signalled(sleeper: subprocess.Popen[bytes]) -> None:
    stranger = another(identify(sleeper))
    assert not process.alive(stranger)
    assert not process.send(stranger, signal.SIGKILL)
    assert process.wait_end(stranger, 5.0)
    assert sleeper.poll() is None


def test_a_process_of_another_boot_is_not_alive(sleeper: subprocess.Popen[bytes]) -> None:
    identity = identify(sleeper)
    earlier = process.ProcessIdentity(identity.pid, identity.start_ticks, "0f0f0f0f-0000-4000-8000-000000000000")
    assert not process.alive(earlier)
    assert not process.send(earlier, signal.SIGKILL)
    assert sleeper.poll() is None


@pytest.mark.parametrize("with_pidfd", [True, False])
def test_waiting_ends_with_the_process_and_not_before(
    sleeper: subprocess.Popen[bytes], with_pidfd: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not with_pidfd:
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    identity = identify(sleeper)
    assert not process.wait_end(identity, 0.02)
    assert process.send(identity, signal.SIGTERM)
    assert process.wait_end(identity, 5.0)
    assert sleeper.wait() == -signal.SIGTERM


def test_readings_tell_time_and_memory() -> None:
    own = process.identify(os.getpid())
    assert own is not None
    used = process.readings(own)
    assert used is not None
    assert used.cpu_time_s > 0 and 1 < used.memory_mib < 4096 and 0 < used.uptime_s < 86400
