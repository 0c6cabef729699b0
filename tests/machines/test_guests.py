# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Guests in the units that systemd keeps them in: a real virtual machine under QEMU, and a Solo5 guest that leaves a
core, both run by a user without any power."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.tests.support.nspawn.base import why_not
from ansible_collections.unikernel.fleet.tests.support.nspawn.guests import ADDRESS, BOOT_S, Guests, guests_of
from ansible_collections.unikernel.fleet.tests.support.nspawn.machine import Machine
from ansible_collections.unikernel.fleet.tests.support.solo5_image import (
    BLOCK_BASIC,
    abi_note,
    elf,
    manifest_note,
)
from ansible_collections.unikernel.fleet.tests.support.virtual_machine import guest

REASON = why_not()
pytestmark = [
    pytest.mark.systemd,
    pytest.mark.skipif(REASON is not None, reason=f"no machine with systemd can be booted here: {REASON}"),
]

TENDER = """#!/bin/sh
# As solo5-hvt-debug does, for a guest that aborts when it is told to.
case $1 in
--version) echo 'solo5-hvt tender, version v0.12.1'; echo 'ABI version 2'; exit ;;
--help) echo '--dumpcore=DIR (enable guest core dump on abort/trap)'; exit ;;
esac
for word; do case $word in --dumpcore=*) folder=${word#--dumpcore=} ;; abort) act=abort ;; esac; done
id -u
echo x 2>&1 >/var/lib/unikernel-fleet/x
echo x 2>&1 >"$folder/../../x"
[ "$act" = abort ] || exec sleep 1000
umask 077
echo 'memory and secrets' >"$folder/core.solo5-hvt.$$"
echo 'Solo5: solo5_abort() called'
exit 255
"""
TENDER_WITH_DISK = """#!/bin/sh
# As solo5-spt does, for a guest that adds a word to its disk and says what is on it.
case $1 in
--version) echo 'solo5-spt tender, version v0.12.1'; echo 'ABI version 2'; exit ;;
--help) exit ;;
esac
for word; do case $word in --block:data=*) disk=${word#--block:data=} ;; esac; version=$word; done
echo x 2>&1 >"${disk%/*}/x"
before=$(tr -d '\\0' <"$disk")
printf ' %s' "$version" | dd of="$disk" bs=1 seek=${#before} conv=notrunc status=none
[ "$version" != bad ] || exit 1
echo "disk:$(tr -d '\\0' <"$disk")"
exec sleep 1000
"""


@pytest.fixture
def guests(machine: Machine) -> Iterator[Guests]:
    with guests_of(machine) as found:
        yield found


def assert_powerless(process: dict[str, Any], user: str) -> None:
    assert process["Uid"] == [user] * 4 and process["Groups"] == []
    assert process["CapEff"] == ["0000000000000000"]
    assert process["NoNewPrivs"] == ["1"] and process["Seccomp"] == ["2"]


def test_a_virtual_machine_runs_in_its_unit_without_power_and_a_broken_one_is_rolled_back(guests: Guests) -> None:
    reason = guest.why_not()
    if reason is not None:
        pytest.skip(reason)
    guests.bring(guest.guest_files())
    trial = guests.do("machine", "vm", ADDRESS, "works", "1")
    shown = guests.until("vm", verdict="pass", working=[1])
    assert guests.answer() == "guest 1"
    assert guests.machine.units("unikernel-fleet-qemu@vm:*") == ["unikernel-fleet-qemu@vm:1.service"]
    assert guests.do("confirm", "vm", trial)
    user = guests.user_of("vm")
    assert_powerless(shown["process"], user)
    pid = shown["process"]["pid"]
    scratch = "/var/lib/unikernel-fleet/scratch/vm/1"
    assert shown["folder"] == scratch
    assert guests.machine.run(f"stat -c '%u %a' {scratch} {scratch}/qmp").split()[:2] == [user, "770"]
    for place in ("/etc", "/var/lib/unikernel-fleet", "/var/lib/unikernel-fleet/scratch"):
        assert "Read-only file system" in guests.inside(pid, f"touch {place}/x"), place
    assert guests.inside(pid, f"touch {scratch}/x && rm {scratch}/x && echo may").split() == ["may"]

    guests.do("machine", "vm", ADDRESS, "panics", "2")
    shown = guests.until("vm", phase="stable", working=[1])
    assert shown["ended"][0] == "rolled_back" and "its guest panicked" in shown["ended"][1]
    give_up = time.monotonic() + BOOT_S
    while True:
        try:
            assert guests.answer() == "guest 1"
            break
        except AssertionError:
            assert time.monotonic() < give_up
    assert guests.machine.units("unikernel-fleet-qemu@vm:*") == ["unikernel-fleet-qemu@vm:1.service"]
    guests.do("remove", "vm")
    assert guests.machine.run("ls /var/lib/unikernel-fleet/scratch").split() == []


def test_a_core_is_written_where_the_sandbox_allows_it_and_is_evidence_of_roots(guests: Guests, tmp_path: Path) -> None:
    if guests.machine.run("[ -e /dev/kvm ] && echo yes || true").strip() != "yes":
        pytest.skip("a Solo5 guest for hvt: there is no /dev/kvm")
    image, tender = tmp_path / "image", tmp_path / "tender"
    image.write_bytes(elf([abi_note(1, 2), manifest_note(())]))
    tender.write_text(TENDER, encoding="ascii")
    guests.machine.bring(image, "/root/image.hvt")
    guests.machine.bring(tender, "/usr/local/bin/solo5-hvt-debug")
    guests.machine.run("chmod 0755 /usr/local/bin/solo5-hvt-debug")
    trial = guests.do("unikernel", "core", "serves")
    shown = guests.until("core", verdict="pass", working=[1])
    assert guests.do("confirm", "core", trial)
    assert_powerless(shown["process"], guests.user_of("core"))
    console = shown["consoles"]["1"]
    assert sum("Read-only file system" in line for line in console) == 2 and guests.user_of("core") in console
    guests.do("unikernel", "core", "abort")
    shown = guests.until("core", phase="stable", working=[1])
    outcome, why, evidence = shown["ended"]
    assert outcome == "rolled_back" and "the guest aborted (solo5_abort)" in why
    assert guests.machine.run(f"cat {evidence}/core").strip() == "memory and secrets"
    assert guests.machine.run(f"stat -c '%U %G %a' {evidence}/core").split() == ["root", "root", "600"]
    guests.do("remove", "core")
    guests.machine.run("rm /usr/local/bin/solo5-hvt-debug")
    assert guests.machine.run("ls /var/lib/unikernel-fleet/scratch").split() == []


@pytest.fixture
def with_tender(guests: Guests, tmp_path: Path) -> Iterator[None]:
    """A tender, and two images that want a disk."""
    image, tender = tmp_path / "image", tmp_path / "tender"
    tender.write_text(TENDER_WITH_DISK, encoding="ascii")
    for version in ("one", "bad"):
        notes = [abi_note(2, 2), manifest_note([(b"data", BLOCK_BASIC)])]
        image.write_bytes(elf(notes, rest=version.encode("ascii")))
        guests.machine.bring(image, f"/root/image-{version}.spt")
    guests.machine.bring(tender, "/usr/local/bin/solo5-spt")
    guests.machine.run("chmod 0755 /usr/local/bin/solo5-spt")
    yield
    guests.machine.run("rm /usr/local/bin/solo5-spt /root/image-*.spt")


def run_with_disk(guests: Guests, name: str, *path: str) -> dict[str, Any]:
    """The first release with a disk, confirmed; how it stands."""
    trial = guests.do("with_disk", name, "one", *path)
    shown = guests.until(name, verdict="pass", working=[1])
    assert guests.do("confirm", name, trial)
    return shown


@pytest.mark.usefixtures("with_tender")
def test_a_disk_is_written_from_inside_the_sandbox_and_restored_after_a_bad_update(guests: Guests) -> None:
    shown = run_with_disk(guests, "disk")
    user = guests.user_of("disk")
    assert_powerless(shown["process"], user)
    disk = "/var/lib/unikernel-fleet/disks/disk/data"
    assert guests.machine.run(f"stat -c '%u %a' {disk}").split() == [user, "600"]
    console = shown["consoles"]["1"]
    assert console[-1] == "disk: one"
    assert any("x: " in line for line in console), "it may write its disk, and nothing beside it"
    guests.do("with_disk", "disk", "bad")
    shown = guests.until("disk", phase="stable", working=[1])
    assert shown["ended"][0] == "rolled_back"
    assert shown["consoles"]["1"][-1] == "disk: one one", "what the bad one wrote is gone"
    assert_powerless(shown["process"], user)
    guests.do("remove", "disk")


@pytest.mark.usefixtures("with_tender")
def test_the_tenders_of_two_unikernels_are_strangers(guests: Guests) -> None:
    """Whoever broke out of the one can do nothing to the other."""
    here, there = (run_with_disk(guests, name)["process"] for name in ("here", "there"))
    user, other = guests.user_of("here"), guests.user_of("there")
    assert user != other and (here["Uid"], there["Uid"]) == ([user] * 4, [other] * 4)

    def may(command: str) -> bool:
        return guests.inside(here["pid"], f"{command} && echo may", as_it=True).split()[-1:] == ["may"]

    own, theirs = (f"/var/lib/unikernel-fleet/disks/{name}/data" for name in ("here", "there"))
    assert may(f"head -c 1 {own} >/dev/null") and may(f"kill -0 {here['pid']}")
    assert may(f"ls /proc/{here['pid']}/cmdline"), "what it may see is itself"
    assert not may(f"head -c 1 {theirs} >/dev/null")
    assert not may(f"kill -0 {there['pid']}")
    assert not may(f"ls /proc/{there['pid']}/cmdline"), "nor the arguments of the other"
    assert not may("ls /var/lib/unikernel-fleet/disks /var/lib/unikernel-fleet/users")
    assert not may("cat /var/lib/unikernel-fleet/unikernels/here/state.json")
    # Where nothing hides processes, they are another user's all the same.
    who = f"setpriv --reuid {user} --regid {there['Gid'][0]} --clear-groups"
    assert "Permission denied" in guests.machine.run(f"{who} head -c 1 /proc/{there['pid']}/mem 2>&1 || true")
    for name in ("here", "there"):
        guests.do("remove", name)


@pytest.mark.usefixtures("with_tender")
def test_a_disk_that_was_there_before_keeps_its_owner_and_its_tender_is_who_may_open_it(guests: Guests) -> None:
    guests.machine.run("mkdir -p /srv/disks; truncate -s 1M /srv/disks/roots /srv/disks/others")
    guests.machine.run("chmod 0600 /srv/disks/roots; chown 33 /srv/disks/others; chmod 0600 /srv/disks/others")
    shown = run_with_disk(guests, "declared", "/srv/disks/roots")
    assert_powerless(shown["process"], "0")
    assert guests.machine.run("stat -c '%u %a' /srv/disks/roots").split() == ["0", "600"]
    refused = guests.machine.run("python3 /root/guests_on_node.py with_disk foreign one /srv/disks/others 2>&1 || true")
    assert "neither be opened by its tender's user nor by root without capabilities" in refused
    # Its user's number is on record once something of it ran as that user.
    guests.machine.run("chmod 0666 /srv/disks/roots")
    trial = guests.do("with_disk", "declared", "one", "/srv/disks/roots", "another-word")
    shown = guests.until("declared", verdict="pass", working=[2])
    assert_powerless(shown["process"], guests.user_of("declared"))
    assert guests.do("confirm", "declared", trial)
    guests.do("remove", "declared")
