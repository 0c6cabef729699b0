#!/usr/bin/python
# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: build_info
short_description: Look up builds of unikernels, many at once
version_added: 0.1.0
description:
  - Looks up builds in their sources, concurrently. Each is meant as the latest one of a job and platform, by its id, or
    by the SHA-256 of its image.
  - With O(builds[].running_sha256) it also says whether the build is another one than what runs, and what lies between
    the two.
  - A source that does not answer, or not sensibly, makes the look-ups there V(unknown). That is never to be taken for
    no update. The module itself only fails for options that cannot be meant.
extends_documentation_fragment:
  - unikernel.fleet.attributes
  - unikernel.fleet.attributes.info_module
  - unikernel.fleet.attributes.actiongroup_fleet
requirements:
  - requests
options:
  sources:
    description: Where builds are looked up.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the source, for the look-ups and for messages.
        type: str
        required: true
      type:
        description:
          - V(builder_web) is a builder-web server.
          - V(release_repository) is a folder of files as M(unikernel.fleet.build_publish) makes it.
        type: str
        choices: [builder_web, release_repository]
        required: true
      url:
        description:
          - C(http) or C(https) URL. With V(release_repository) also an absolute path on the machine that runs this.
        type: str
        required: true
      username:
        description: User name for HTTP basic authentication. Sent to the origin of the source only.
        type: str
      password:
        description: Password for HTTP basic authentication.
        type: str
      ca_path:
        description: PEM file with a private CA that the server's certificate is verified with.
        type: path
      validate_certs:
        description: Whether the server's certificate is verified.
        type: bool
        default: true
      proxy:
        description: URL of a proxy. Left out, the environment decides.
        type: str
      timeout:
        description: Seconds to connect, and the longest silence while reading.
        type: float
        default: 15.0
      total_timeout:
        description: Seconds that one look-up may take in all, repetitions included.
        type: float
        default: 120.0
      retries:
        description:
          - How often a request is repeated after connection errors and answers from 500 on, with growing delays.
        type: int
        default: 4
  builds:
    description: The look-ups.
    type: list
    elements: dict
    required: true
    suboptions:
      key:
        description: Names the answer in RV(builds). Must be unique.
        type: str
        required: true
      source:
        description: Name of one of O(sources).
        type: str
        required: true
      job:
        description: Name of the job. Needed unless O(builds[].sha256) is given.
        type: str
      platform:
        description:
          - Platform of the build. Needed for the latest one, as without it the newest build of any platform would win.
        type: str
      id:
        description: Id of the build. Left out together with O(builds[].sha256), the latest build is meant.
        type: str
      sha256:
        description: SHA-256 of the image in hexadecimal.
        type: str
      channel:
        description: Channel whose build is meant. Sources without channels (V(builder_web)) refuse it.
        type: str
      running_sha256:
        description: SHA-256 of the image that runs, if the build is to be compared with it.
        type: str
  compare:
    description: Whether to find out what lies between a running image and the build found, where the two differ.
    type: bool
    default: true
  workers:
    description: How many look-ups are under way at once.
    type: int
    default: 8
seealso:
  - module: unikernel.fleet.build_publish
  - module: unikernel.fleet.plan
author:
  - The unikernel.fleet authors (@unikernel-fleet)
"""

EXAMPLES = r"""
- name: The latest builds of two unikernels are known
  unikernel.fleet.build_info:
    sources:
      - name: builds
        type: builder_web
        url: https://builds.example.org
    builds:
      - key: www
        source: builds
        job: www
        platform: debian-12
        running_sha256: "{{ www_sha256 }}"
      - key: dns
        source: builds
        job: dns-secondary
        id: f63a5b8a-9ab3-40a3-8cfc-fcbc1dc68df9
  register: latest
  delegate_to: localhost

- name: An update of the web server is reported
  ansible.builtin.debug:
    msg: "{{ latest.builds.www.comparison.packages.changed }}"
  when: latest.builds.www.update_available | default(false, true)

- name: The beta build comes from a folder
  unikernel.fleet.build_info:
    sources:
      - name: releases
        type: release_repository
        url: /srv/releases
    builds:
      - key: www
        source: releases
        job: web
        platform: unix-x86_64
        channel: beta
"""

RETURN = r"""
builds:
  description: The answers, by the keys of the look-ups.
  type: dict
  returned: success
  sample:
    www:
      verdict: found
      build:
        source: builds
        job: www
        id: f63a5b8a-9ab3-40a3-8cfc-fcbc1dc68df9
        platform: debian-12
        sha256: 9f2cd5a1e2b8d83f4ea7f0a0e0a8b1f1d5c9b3f9c1e7e7f1a5c6b7d8e9f0a1b2
        size: 8123456
        filename: www.hvt
        location: https://builds.example.org/job/www/build/f63a5b8a-9ab3-40a3-8cfc-fcbc1dc68df9/f/bin/www.hvt
        started_at: "2026-11-22T03:00:00-00:00"
        finished_at: "2026-11-22T03:01:05-00:00"
        abi: {"target": "hvt", "version": 2}
        devices: [{"name": "service", "type": "NET_BASIC"}]
      error: null
      update_available: true
      comparison_state: available
      comparison_reason: ""
      comparison:
        old: 08455214-8a9b-413a-b116-a65353dc0743
        new: f63a5b8a-9ab3-40a3-8cfc-fcbc1dc68df9
        packages: {"added": [], "removed": [], "changed": [{"name": "tls", "before": "2.0.1", "after": "2.0.2"}]}
        opam_files: []
        source_trees: {"added": [], "removed": [], "changed": ["tcpip"], "error": null}
        environment: {"added": [], "removed": [], "changed": []}
        system_packages: {"added": [], "removed": [], "changed": []}
        size_before: 8120008
        size_after: 8123456
  contains:
    verdict:
      description:
        - V(found); V(not_found) if the source says that it has no such build; V(unknown) if the source did not answer,
          or not sensibly.
      type: str
    build:
      description: The build. Null unless it was found.
      type: dict
      contains:
        source:
          description: Name of the source.
          type: str
        job:
          description: Name of the job.
          type: str
        id:
          description: The build's id.
          type: str
        platform:
          description: What the build is for.
          type: str
        sha256:
          description: SHA-256 of the image in hexadecimal.
          type: str
        size:
          description: Bytes of the image.
          type: int
        filename:
          description: Base name of the image at its source.
          type: str
        location:
          description:
            - Where the image is, by the build's id and never by C(latest). An C(http) or C(https) URL, or an absolute
              path.
          type: str
        started_at:
          description: When the build began, as in RFC 3339.
          type: str
        finished_at:
          description: When the build ended, as in RFC 3339.
          type: str
        abi:
          description:
            - C(target) and C(version) of the Solo5 ABI. Null if it is no Solo5 image or the source does not say.
          type: dict
        devices:
          description: C(name) and C(type) of each device that the image declares. Null as for C(abi).
          type: list
          elements: dict
    error:
      description: Why no build was found, for people. Null if it was.
      type: str
    update_available:
      description:
        - Whether the build has another image than the one that runs. Null if that is not known, or nothing was to be
          compared.
      type: bool
    comparison_state:
      description:
        - V(available); V(same) if the images are equal; V(unavailable) if the source cannot compare the two, because it
          does not know the running image or lacks what one of them was built from; V(unknown) if it did not answer;
          V(not_asked).
      type: str
    comparison_reason:
      description: Why there is no comparison, for people.
      type: str
    comparison:
      description:
        - What lies between the running image's build and this one, always from old to new. Null unless available.
      type: dict
      contains:
        old:
          description: Id of the build of the running image.
          type: str
        new:
          description: Id of the build found.
          type: str
        packages:
          description: The opam packages that were C(added), C(removed) or C(changed) their version.
          type: dict
        opam_files:
          description:
            - Packages of the same version whose opam files differ, with the C(diff), and whether they are
              C(effectively_equal).
          type: list
          elements: dict
        source_trees:
          description:
            - Sources of the monorepo that were C(added), C(removed) or C(changed), or the C(error) that kept them
              from being read.
          type: dict
        environment:
          description: Variables of the build environment that were C(added), C(removed) or C(changed).
          type: dict
        system_packages:
          description: Packages of the building system that were C(added), C(removed) or C(changed).
          type: dict
        size_before:
          description: Bytes of the old image.
          type: int
        size_after:
          description: Bytes of the new image.
          type: int
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.build_info import (
    argument_spec,
    look_up_builds,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.failing import failing


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    with failing(module):
        module.exit_json(**look_up_builds(module.params))


if __name__ == "__main__":
    main()
