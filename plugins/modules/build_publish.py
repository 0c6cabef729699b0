#!/usr/bin/python
# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: build_publish
short_description: Put a build into a source of builds
version_added: 0.1.0
description:
  - Publishes an image as a build of a job, in a release repository (a folder, made if need be) or at a builder-web
    server.
  - A published build never changes. Publishing the same again changes nothing. Other content under the same id is
    refused.
  - In a release repository a build appears whole or not at all, whoever reads meanwhile, and several may publish at
    once.
extends_documentation_fragment:
  - unikernel.fleet.attributes
  - unikernel.fleet.attributes.actiongroup_fleet
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
requirements:
  - requests (for builder-web)
options:
  source:
    description: Where the build is published.
    type: dict
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
        description: URL of the builder-web server, or absolute path of the release repository.
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
  job:
    description: Name of the job that the build belongs to.
    type: str
    required: true
  platform:
    description: What the build is for, for example V(debian-12).
    type: str
    required: true
  path:
    description: The image, on the machine that runs this.
    type: path
    required: true
  filename:
    description: Name of the image at the source. Left out, the base name of O(path).
    type: str
  id:
    description:
      - Id of the build in a release repository. Left out, it is derived from job, platform, image and inputs, so that
        the same build has the same id.
    type: str
  started_at:
    description: When the build began, as in RFC 3339. In a release repository only.
    type: str
  finished_at:
    description: When the build ended, as in RFC 3339. In a release repository only.
    type: str
  inputs:
    description:
      - What the build was made from. In a release repository only. Builds with all three can be compared.
    type: dict
    suboptions:
      opam_switch:
        description: File written by C(opam switch export).
        type: path
      build_environment:
        description: File of lines C(NAME=VALUE).
        type: path
      system_packages:
        description: File of lines C(name=version).
        type: path
  channels:
    description: Channels of the job and platform that point at this build afterwards. In a release repository only.
    type: list
    elements: str
    default: []
notes:
  - builder-web makes a new build of every upload, so the job is first asked whether it has those bytes already. A build
    that was uploaded so has no inputs, and cannot be compared.
seealso:
  - module: unikernel.fleet.build_info
author:
  - The unikernel.fleet authors (@unikernel-fleet)
"""

EXAMPLES = r"""
- name: The new web server is in the release repository and on its way to the beta group
  unikernel.fleet.build_publish:
    source:
      name: releases
      type: release_repository
      url: /srv/releases
    job: web
    platform: debian-12
    path: dist/web.hvt
    inputs:
      opam_switch: dist/opam-switch
      build_environment: dist/build-environment
      system_packages: dist/system-packages
    channels: [beta]

- name: The image is at builder-web
  unikernel.fleet.build_publish:
    source:
      name: builds
      type: builder_web
      url: https://builds.example.org
      username: ci
      password: "{{ vault_builds_password }}"
    job: web
    platform: debian-12
    path: dist/web.hvt
"""

RETURN = r"""
build:
  description: The build at the source. Null in check mode if it would be uploaded to builder-web.
  type: dict
  returned: success
  sample:
    source: releases
    job: web
    id: 5c6f6c6e-47a5-5a53-8a9d-1b3f0f3f7b1e
    platform: debian-12
    sha256: 9f2cd5a1e2b8d83f4ea7f0a0e0a8b1f1d5c9b3f9c1e7e7f1a5c6b7d8e9f0a1b2
    size: 8123456
    filename: web.hvt
    location: /srv/releases/builds/5c6f6c6e-47a5-5a53-8a9d-1b3f0f3f7b1e/image/web.hvt
    started_at: null
    finished_at: null
    abi: {"target": "hvt", "version": 2}
    devices: [{"name": "service", "type": "NET_BASIC"}]
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
      description: C(target) and C(version) of the Solo5 ABI. Null if it is no Solo5 image or the source does not say.
      type: dict
    devices:
      description: C(name) and C(type) of each device that the image declares. Null as for C(abi).
      type: list
      elements: dict
channels:
  description: The channels that pointed elsewhere before.
  type: list
  elements: str
  returned: success
  sample: [beta]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.build_publish import (
    ARGUMENTS,
    publish_build,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.failing import failing
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.options import specs


def main() -> None:
    module = AnsibleModule(argument_spec=specs(ARGUMENTS), supports_check_mode=True)
    with failing(module):
        module.exit_json(**publish_build(module.params, module.check_mode))


if __name__ == "__main__":
    main()
