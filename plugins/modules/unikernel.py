#!/usr/bin/python
# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: unikernel
short_description: Declare the state of a unikernel on its node
version_added: 0.1.0
description:
  - Makes a unikernel run as it is declared, or not run, and begins a B(trial) if that changes anything.
  - A trial ends with its confirmation by M(unikernel.fleet.release), or with a rollback. The guard, a small program on
    the node, makes the checks, rolls back at once when they fail or the unikernel ends, and rolls back a trial that
    nobody confirmed in time, whoever is still alive.
  - A rollback restores the whole release, image and configuration, from the node's own disk.
  - Configuration options that are left out keep the value of the running release, and are shown as inherited.
  - The image has to be in the node's store already; M(unikernel.fleet.image) brings it there.
author:
  - The unikernel.fleet authors (@unikernel-fleet)
requirements:
  - Python 3.9 or newer on the node; nothing else, unless a check needs a library (V(dns) checks need dnspython).
  - For O(driver=albatross) asn1crypto, and over TLS cryptography, where the task is carried out.
extends_documentation_fragment:
  - unikernel.fleet.attributes
  - unikernel.fleet.attributes.actiongroup_fleet
  - unikernel.fleet.node
  - unikernel.fleet.checks
  - unikernel.fleet.holder
  - unikernel.fleet.holder.lock
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  name:
    description:
      - Name of the unikernel on its node, 1 to 63 of the characters V(a-z), V(0-9), V(.) and V(-).
    type: str
    required: true
  state:
    description:
      - V(running) and V(stopped) need an image, unless there is a release already.
      - V(absent) stops it and forgets what runs; its history and its kept releases stay, so it can be rolled back to.
    type: str
    choices: [running, stopped, absent]
    default: running
  sha256:
    description:
      - SHA-256 of the image, in hexadecimal. Left out, the running image stays.
    type: str
  size:
    description:
      - Size of the image in bytes. Needed with O(sha256).
    type: int
  build:
    description:
      - Which build the image is, for people and for comparisons. Nothing is trusted because of it.
    type: dict
    suboptions:
      source:
        description: Name of the source.
        type: str
      job:
        description: Name of the job.
        type: str
      id:
        description: UUID of the build.
        type: str
      platform:
        description: The platform it was built for.
        type: str
      finished_at:
        description: When the build was finished, RFC 3339.
        type: str
  abi:
    description:
      - The ABI that the source says the image has, with C(target) and C(version).
    type: dict
  devices:
    description:
      - The devices that the source says the image has, each with C(name) and C(type).
    type: list
    elements: dict
  driver:
    description:
      - What runs the unikernel. V(unix) is a process of the node, V(solo5) a unikernel under a tender of Solo5,
        V(qemu) a virtual machine, V(albatross) a unikernel that an albatross server runs, on the node or elsewhere.
      - For the first release, left out means V(unix).
    type: str
    choices: [unix, solo5, qemu, albatross]
  memory_mib:
    description:
      - Memory in MiB.
    type: int
  cpus:
    description:
      - Indices of the CPUs that it may use.
    type: list
    elements: int
  arguments:
    description:
      - Its arguments.
    type: list
    elements: str
  secret_arguments:
    description:
      - Arguments that follow O(arguments) and are never shown. Other users of the node may see them in its processes.
    type: list
    elements: str
  environment:
    description:
      - Its environment variables. Nothing of Ansible's own environment is passed on.
    type: dict
  secret_environment:
    description:
      - Environment variables that are never shown.
    type: dict
  working_directory:
    description:
      - The folder on the node in which it is started. It must exist.
    type: path
  limits:
    description:
      - Limits of the process; those left out are the machine's.
    type: dict
    suboptions:
      open_files:
        description: Most open files.
        type: int
      processes:
        description: Most processes of its user.
        type: int
      file_size_mib:
        description: Largest file that it may write, in MiB.
        type: int
      cpu_time_s:
        description: Most CPU time, in seconds.
        type: int
  boot:
    description:
      - How a virtual machine (O(driver=qemu)) comes up and goes down. What is left out in it has its default.
    type: dict
    suboptions:
      image:
        description:
          - Whether the image is a V(kernel), which gets O(arguments) as its command line, or a V(disk) that boots by
            itself. What a guest writes to that disk is gone when it ends. Left out, it is a V(kernel).
        type: str
        choices: [kernel, disk]
      initrd:
        description:
          - The initial ram disk of a kernel, which M(unikernel.fleet.image) has brought to the node.
        type: dict
        suboptions:
          sha256:
            description: SHA-256 of its bytes.
            type: str
            required: true
          size:
            description: How many bytes it has.
            type: int
            required: true
      power_button:
        description:
          - The guest shuts down when its power button is pressed (ACPI). A stop then does that, and waits for
            O(stop_grace) before it ends the machine. Left out, V(false), since most unikernels do not listen.
        type: bool
  core_dump:
    description:
      - Whether a guest that gives up (an abort or a trap) leaves its memory in a core, which is then a part of the
        evidence of its failed trial. For O(driver=solo5), an image for C(hvt), and a tender with the module
        C(dumpcore), C(solo5-hvt-debug) as a rule; elsewhere it is refused. What is left out in it has its default.
      - The core B(holds every secret of the guest). Nobody but root may read it on the node. That tender also runs
        without the seccomp filter of its own that C(solo5-hvt) has.
    type: dict
    suboptions:
      enabled:
        description: Whether it leaves one. Left out, V(false).
        type: bool
      most_mib:
        description:
          - The most that it may have, in MiB. It is as large as the guest's memory, so a guest with more is refused.
            Left out, V(64).
        type: int
  albatross:
    description:
      - Where the albatross is that runs it (O(driver=albatross)), and what it is called there.
      - All but C(add_name) says how albatross is reached. It is no part of any release, is taken over at once, and is
        not brought back by a rollback. Left out, it stays as it is; for a first release, the Unix sockets of the node.
      - Another path, or a server on which it does not run, is refused while it runs at the former.
    type: dict
    suboptions:
      path:
        description: The path of albatross that it lies in, labels with colons between them. Left out, the root path.
        type: str
      sockets:
        description: Folder of albatross' Unix sockets on the node. Left out, V(/run/albatross/util).
        type: path
      address:
        description:
          - Address of albatross' TLS endpoint, which is then asked instead, from the machine that the task is
            delegated to.
        type: str
      port:
        description: Port of its TLS endpoint. Left out, 1025.
        type: int
      certificates:
        description:
          - File, on the machine that asks, of the CA in whose name is asked (the root's or a tenant's), and those
            above it, in PEM.
        type: path
      key:
        description: File of that CA's private key. One that others may read is refused.
        type: path
      server_ca:
        description: File of the CA whose certificates the TLS endpoint may show.
        type: path
      server_certificate:
        description:
          - File of the only certificate that it may show. Wanted where tenants hold CAs of the same root, for each of
            them could stand in for the server.
        type: path
      generation:
        description: Generation of the server, which does not tell it. Left out, V(2.7).
        type: str
        choices: ["2.5", "2.6", "2.7"]
      timeout:
        description: Seconds that are waited for an answer. Left out, 30.
        type: float
      quarantine_bridge:
        description:
          - A bridge with nothing on it, on the machine of albatross, for rehearsals (O(rehearse)). It has to be there
            when albatross is started, which knows no others. Several unikernels may have the same.
        type: str
      add_name:
        description:
          - Albatross puts C(--name=LABEL) before the arguments, as albatross-client has it do unless told otherwise.
            It is part of a release, as the rest of this is not. Left out, it stays as it is; for a first release,
            V(false).
        type: bool
  networks:
    description:
      - The network devices of its guest and the bridges of the node that they are plugged into. The bridges must exist;
        role C(unikernel.fleet.node) makes them.
      - A unikernel (O(driver=solo5)) has exactly those that its image declares. A process (O(driver=unix)) with
        networks lives in a network namespace of its own; without, it uses the node's network.
    type: list
    elements: dict
    suboptions:
      name:
        description: The guest's name of the device, V(service) for instance.
        type: str
        required: true
      bridge:
        description: A bridge of Linux on the node. One of Open vSwitch is refused.
        type: str
        required: true
      mac:
        description:
          - Its MAC address. Left out, it is derived from the names of the unikernel and the device, as albatross does,
            so that it stays the same over swaps and nodes.
        type: str
      addresses:
        description:
          - Its addresses with the lengths of their prefixes, V(192.0.2.10/24) or V(2001:db8::10/64).
          - A process in a namespace is given them. A guest of another kind sets its own, from its O(arguments) for
            instance; here they say which those are, so that it can be asked while it is not on its bridge.
        type: list
        elements: str
      gateway:
        description:
          - For a process in a namespace, where its default route leads.
          - In a rehearsal (O(rehearse)), of a guest of any kind, one of the addresses on its network.
        type: str
  block_devices:
    description:
      - The block devices of its guest (not of a process, O(driver=unix)), and what lies behind them. A unikernel has
        exactly those that its image declares; a virtual machine sees them in this order.
      - A disk belongs to one unikernel and one instance at a time; another's is refused, whatever it is called. So with
        disks there is no C(cut_over).
      - They outlive all releases, and stay when the unikernel is removed (see O(remove_data)).
    type: list
    elements: dict
    suboptions:
      name:
        description: The guest's name of the device. A virtual machine sees it as the disk's serial number.
        type: str
        required: true
      size_mib:
        description:
          - Its size in MiB. It is then a sparse file in the unikernel's folder on the node, made when it is first
            needed. One that is there with another size is refused.
        type: int
      path:
        description:
          - Instead of O(block_devices[].size_mib), a file or a volume (of LVM, or a loop device) that is there. On
            albatross the label of one of its block devices, in the same path.
        type: path
  swap:
    description:
      - How a running release is replaced by another.
      - V(stop_start) stops the old one, then starts the new one.
      - V(cut_over) brings the new one up beside the old one, off its bridge, and exchanges their ports when O(ready)
        passes. Connections that are still open shortly after that are cut. It is refused where it cannot be done.
      - V(auto) means V(cut_over) exactly when O(ready) is declared, the networks declare their addresses, no block
        device is shared with the old release, and there is memory for two; else V(stop_start).
      - A guest that needs its network to come up (DHCP, a fetch at start) is never ready off its bridge.
      - On albatross, V(cut_over) creates the new one beside the old one on the same bridge, under a second label
        (C(NAME.fleet-2)) with the same MAC, waits for O(ready) or a tenth of a second, then destroys the old one. Needs
        room for both in the policy of its path, no shared block device, no IPv6 addresses, and a name of at most 55
        characters. V(auto) means it exactly when O(ready) is a console check and all of that is so.
      - For the first release, left out means V(auto).
    type: str
    choices: [auto, stop_start, cut_over]
  ready:
    description:
      - One check, in the words of O(checks), that says when a new release may take over. It is made through the port
        that is not on its bridge yet, and must name an address, not a name.
      - On albatross it must be a console check with C(must_match), since both have the same address on one bridge then,
        and nothing tells which of them answered. What the new one says on its console does.
      - C(within) beside it is for how many seconds that is awaited, 30 unless given.
      - It is shown and recorded as it is, so it must hold no secret.
    type: dict
  restart:
    description:
      - Whether it is started again when it ends by itself. Never during a trial; there an end is a failure.
      - For the first release, left out means V(never).
    type: str
    choices: [never, on_failure, always]
  start_order:
    description:
      - From 0 to 100; lower ones start first when the node boots.
    type: int
  stop_grace:
    description:
      - Seconds from the request to end (SIGTERM) to the kill.
    type: float
  trial_timeout:
    description:
      - Seconds from the swap within which the change must be confirmed. Must be longer than O(deadline).
      - V(0) means no trial; the change is confirmed at once, and nothing rolls it back.
      - Left out, it is V(60) for O(state=running) and V(0) otherwise.
    type: float
  retry_failed:
    description:
      - Try a release again that failed its trial before. Otherwise it is held, and this module fails.
    type: bool
    default: false
  takeover:
    description:
      - When a trial of another run is open, end it with a rollback first. Otherwise this module fails and names it.
    type: bool
    default: false
  accept_no_way_back:
    description:
      - Go on although the running release's image is not in the store any more, so that it could not be rolled back to.
    type: bool
    default: false
  keep_releases:
    description:
      - How many confirmed releases before the current one are kept to be rolled back to.
    type: int
    default: 3
  data_compatible:
    description:
      - The running image understands what the new one may write to their common O(block_devices), so that going back to
        it needs no snapshot.
      - An update of a unikernel with disks needs this or O(snapshot), since going back to an old image does not undo a
        migration of its data.
    type: bool
    default: false
  snapshot:
    description:
      - How the disks that the running image and the new one have in common are kept over the update. The snapshot is
        taken when the old release has stopped, restored by a rollback, and removed when the new one is confirmed. What
        cannot be taken is refused before anything is stopped.
      - V(reflink) is for files on a file system that can share blocks between them (XFS, btrfs), and takes no time.
      - V(lvm) is for volumes of LVM. Of a thick one, it needs as much room in its group as the volume has.
      - V(copy) copies files byte for byte while nothing runs.
      - V(hook) calls O(snapshot_hook).
    type: str
    choices: [reflink, lvm, copy, hook]
  snapshot_hook:
    description:
      - With O(snapshot=hook), the path of a program on the node. It is called, as root and for each disk, with three
        words, C(take), C(restore) or C(remove), the path of the disk, and a label that names the snapshot. It has to
        bear being called again after it was killed.
    type: path
  remove_data:
    description:
      - With O(state=absent), remove the disks of the unikernel's own too. What was there before
        (O(block_devices[].path)) stays in any case.
    type: bool
    default: false
  guard:
    description:
      - Whether a guard on the node watches over the trial, which makes the checks and ends it whoever is gone by then.
      - V(false) is for machines that go away with the run, as the container of a pipeline does, and where no process
        may be left behind. Then the checks are made by who waits for the verdict (M(unikernel.fleet.liveliness)), and
        if the run ends before its time, what is on trial stays until the next one. Such a trial is called unguarded.
    type: bool
    default: true
  rehearse:
    description:
      - Run a new release on a network of its own before it may be swapped in, under the addresses that it will have,
        and make the checks of the node there. What fails there is never swapped in, so it causes no outage.
      - On that network is nothing but the node's own addresses and the gateways of O(networks). Nothing is forwarded.
      - It runs on copies of its O(block_devices), made by reflink or by LVM; what cannot be copied so is refused.
      - It needs O(networks) with addresses, root, and memory for one more instance. What cannot be rehearsed is refused
        before anything is stopped.
      - On albatross it needs O(albatross.quarantine_bridge), and room for one more in the policy of its path. Over TLS,
        only checks of the kinds C(process) and C(console) can be made there.
      - It takes its time besides the trial, up to O(deadline), during which the old release runs on.
    type: bool
    default: false
  rehearse_inconclusive:
    description:
      - What to do when the rehearsed release lives and says nothing wrong, but a required check never had an answer, as
        with a unikernel that gets its address or its data from elsewhere before it serves.
      - V(refuse) leaves the old release running. The new one is not held, since nothing was seen to be wrong with it.
      - V(proceed) swaps it in, and its trial decides.
    type: str
    choices: [refuse, proceed]
    default: refuse
  comparison:
    description:
      - What lies between the running build and the new one, as M(unikernel.fleet.build_info) returns it. Only shown in
        the diff.
    type: dict
seealso:
  - module: unikernel.fleet.image
  - module: unikernel.fleet.liveliness
  - module: unikernel.fleet.release
"""

EXAMPLES = r"""
- name: Run the web server, with a way back
  unikernel.fleet.unikernel:
    name: www
    sha256: "{{ image.sha256 }}"
    size: "{{ image.size }}"
    arguments: ["--port=8080"]
    memory_mib: 64
    checks:
      - http: http://127.0.0.1:8080/health
  register: declared

- name: Wait for the verdict of the node
  unikernel.fleet.liveliness:
    name: www
    trial: "{{ declared.trial.id }}"
  register: liveliness
  when: declared is changed

- name: Confirm what lives
  unikernel.fleet.release:
    name: www
    state: confirmed
    trial: "{{ declared.trial.id }}"
  when:
    - declared is changed
    - liveliness.alive

- name: Run the resolver, and swap no build in that does not answer when it is tried alone
  unikernel.fleet.unikernel:
    name: resolver
    driver: solo5
    sha256: "{{ image.sha256 }}"
    size: "{{ image.size }}"
    arguments: ["--ipv4=192.0.2.53/24", "--ipv4-gateway=192.0.2.1"]
    networks:
      - name: service
        bridge: br0
        addresses: [192.0.2.53/24]
        gateway: 192.0.2.1
    rehearse: true
    checks:
      - tcp: {host: 192.0.2.53, port: 53}

- name: Change one argument; memory, image and everything else stay as they are
  unikernel.fleet.unikernel:
    name: www
    arguments: ["--port=8081"]
"""

RETURN = r"""
name:
  description: The unikernel.
  type: str
  returned: success
  sample: www
before:
  description: The confirmed release before, without secrets; null when there was none.
  type: dict
  returned: success
  sample: {"number": 3, "image": {"sha256": "3774...", "size": 131544}, "running": true}
after:
  description: The release that was put on trial (or would be, in check mode); the same as RV(before) without a change.
  type: dict
  returned: success
  sample: {"number": 4, "image": {"sha256": "b1bf...", "size": 127448}, "running": true}
inherited:
  description: Configuration options that were left out and kept the value of the running release.
  type: list
  elements: str
  returned: success
  sample: [memory_mib]
unguarded:
  description:
    - Why nobody is sure to end the trial, if this machine goes away or the run ends; null when its guard does, or
      nothing is tried.
  type: str
  returned: success
  sample: null
remarks:
  description: What the driver says of the release although it can run, for instance why it is not cut over to.
  type: list
  elements: str
  returned: success
  sample:
    - >-
      it is swapped by stop_start and not by cut_over: beside the one that runs it needs 256 MiB, and only 190 MiB are
      free
trial:
  description: The trial that was begun; null without a change and in check mode.
  type: dict
  returned: success
  contains:
    id:
      description: Names the trial to M(unikernel.fleet.liveliness) and M(unikernel.fleet.release).
      type: str
      sample: 20261122050312-5be0c1fa
    standing:
      description:
        - One of V(undecided), V(passed), V(confirmed), V(rolled_back), V(stranded), and V(refused) for a release whose
          rehearsal kept it from being swapped in.
      type: str
      sample: undecided
    reason:
      description: Why, in a sentence.
      type: str
      sample: it is on trial
    evidence:
      description: The folder on the node where the evidence of a failed trial lies.
      type: str
      sample: null
    guarded:
      description: Whether a guard is sure to end the trial; null when it has ended.
      type: bool
      sample: true
phase:
  description: The phase that the unikernel is in.
  type: str
  returned: success
  sample: on_trial
error:
  description: What kind of refusal it was, for instance V(Held) or V(Busy).
  type: str
  returned: failure
  sample: Held
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.failing import failing
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.hiding import hide_secrets_of_checks
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.options import specs
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.unikernel import (
    ARGUMENTS,
    declare,
    warnings_of,
)


def main() -> None:
    module = AnsibleModule(argument_spec=specs(ARGUMENTS), supports_check_mode=True)
    hide_secrets_of_checks(module)
    with failing(module):
        result = declare(module.params, module.check_mode)
        for warning in warnings_of(result):
            module.warn(warning)
        module.exit_json(**result)


if __name__ == "__main__":
    main()
