#!/usr/bin/python
# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module; what it does is in ``module_utils/_fleet/adapter/image.py``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image
short_description: Brings a verified image into the store of a node, or removes those that nothing needs
version_added: 0.1.0
description:
  - Makes sure that the image with a given SHA-256 and size lies in the image store of the node, by the cheapest way
    that the node has. If it is there already, nothing happens. Otherwise the node fetches it; if the node has no way
    out, the controller does that and pushes it over the connection of the task.
  - An image appears in the store whole, or not at all. Wrong size, wrong SHA-256, wrong Solo5 ABI or wrong devices are
    refused, and then the store is as before.
  - With O(state=pruned) it removes the images that no unikernel of the node needs any more.
  - Images are not started by this module. That is what M(unikernel.fleet.unikernel) does.
extends_documentation_fragment:
  - unikernel.fleet.attributes
  - unikernel.fleet.attributes.actiongroup_fleet
  - unikernel.fleet.node
attributes:
  check_mode:
    support: full
    details:
      - Nothing is fetched in check mode, so whether the node could fetch is not known. RV(ignore:how) is the first way
        that would be tried.
  diff_mode:
    support: full
  idempotent:
    support: full
  action:
    description: Indicates this has a corresponding action plugin so some parts of the options can be executed on the
      controller.
    support: full
    details:
      - The controller's part is to download an image for a node that cannot, once for all nodes, and to push it.
  async:
    description: Supports being used with the C(async) keyword.
    support: none
    details:
      - The controller may have to act between two steps on the node.
options:
  state:
    description:
      - V(present) brings one image.
      - V(pruned) removes every image that no C(state.json) below O(root) names (as running, as a way back, as kept or
        as being on trial), except those that were staged within O(grace). If one state cannot be read, nothing is
        removed.
    type: str
    choices: [present, pruned]
    default: present
  sha256:
    description:
      - SHA-256 of the image in hexadecimal. Required with O(state=present).
    type: str
  size:
    description:
      - Size of the image in bytes. Required with O(state=present). Not one byte more than this is read from anywhere.
    type: int
  url:
    description:
      - Where the image is, as C(location) of M(unikernel.fleet.build_info) says.
      - An C(http) or C(https) URL is fetched by the node or by the controller.
      - An absolute path, or a C(file) URL, names a file on the controller.
    type: str
  src:
    description:
      - A file that is already on the node. Takes precedence over O(url).
    type: path
  method:
    description:
      - Who fetches O(url) if the image is not there yet.
      - V(auto) lets the node try first. The controller takes over if the server cannot be connected to, does not answer
        in time, cuts the image short or has a certificate that the node does not accept. Another answer, such as 404 or
        wrong bytes, is final.
      - V(node) never uses the controller, V(controller) never uses the node.
    type: str
    choices: [auto, node, controller]
    default: auto
  abi:
    description:
      - The Solo5 ABI that the build declares. An image with another one, or with none, is refused.
    type: dict
    suboptions:
      target:
        description: The tender, for example V(hvt) or V(spt).
        type: str
        required: true
      version:
        description: Version of the ABI.
        type: int
        required: true
  devices:
    description:
      - The devices that the build declares, in any order. An image whose manifest names others is refused.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the device in the manifest.
        type: str
        required: true
      type:
        description: V(NET_BASIC) or V(BLOCK_BASIC).
        type: str
        required: true
  url_username:
    description:
      - User name for HTTP basic authentication. Sent to the origin of O(url) only, never to where it redirects.
    type: str
  url_password:
    description:
      - Password for HTTP basic authentication.
    type: str
  ca_path:
    description:
      - PEM file, or folder of them, with a private CA that is accepted too. On the machine that fetches.
    type: path
  validate_certs:
    description:
      - Whether the server's certificate is verified. The SHA-256 is always verified.
    type: bool
    default: true
  proxy:
    description:
      - Proxy of the node, as C(http://address:port). Left out, the environment of the task decides; an empty text means
        none.
    type: str
  timeout:
    description:
      - Seconds to connect, and the longest silence while reading.
    type: float
    default: 15
  total_timeout:
    description:
      - Seconds that fetching may take in all, repetitions included. Holds for the node and for the controller each.
    type: float
    default: 600
  retries:
    description:
      - How often fetching is repeated after connection errors and answers from 500 on. With O(method=auto) a node that
        cannot even connect does not repeat that, as the controller takes over.
    type: int
    default: 4
  max_bytes:
    description:
      - The most bytes that an image may have.
    type: int
    default: 1073741824
  grace:
    description:
      - With O(state=pruned), seconds for which an image is kept after it was staged or found present by this module,
        even if nothing names it yet. A release may just be about to be declared.
    type: float
    default: 3600
  controller_cache:
    description:
      - Folder on the controller for what it downloads. Several nodes that need the same image share one download.
        Images that were not used for 30 days are removed from it.
    type: path
    default: ~/.cache/unikernel-fleet
  controller_ca_path:
    description:
      - As O(ca_path), on the controller. Left out, O(ca_path) is used there too.
    type: path
  controller_proxy:
    description:
      - As O(proxy), for the controller. Left out, the environment of the controller decides.
    type: str
notes:
  - Pushing needs room for the image in the node's temporary folder of Ansible too.
seealso:
  - module: unikernel.fleet.build_info
  - module: unikernel.fleet.unikernel
author:
  - The unikernel.fleet authors (@unikernel-fleet)
"""

EXAMPLES = r"""
- name: The new build of the web server is on its node
  unikernel.fleet.image:
    sha256: "{{ build.sha256 }}"
    size: "{{ build.size }}"
    url: "{{ build.location }}"
    abi: "{{ build.abi or omit }}"
    devices: "{{ build.devices or omit }}"

- name: A node without a way out gets the image from the controller
  unikernel.fleet.image:
    sha256: 9f2cd5a1e2b8d83f4ea7f0a0e0a8b1f1d5c9b3f9c1e7e7f1a5c6b7d8e9f0a1b2
    size: 8123456
    url: https://builds.example.org/job/web/build/f63a5b8a-9ab3-40a3-8cfc-fcbc1dc68df9/f/bin/web.hvt
    method: controller

- name: A file that is on the node already
  unikernel.fleet.image:
    sha256: 9f2cd5a1e2b8d83f4ea7f0a0e0a8b1f1d5c9b3f9c1e7e7f1a5c6b7d8e9f0a1b2
    size: 8123456
    src: /srv/images/web.hvt

- name: Images that no unikernel needs are gone
  unikernel.fleet.image:
    state: pruned
    grace: 86400
"""

RETURN = r"""
sha256:
  description: SHA-256 of the image.
  returned: success and O(state=present)
  type: str
  sample: 9f2cd5a1e2b8d83f4ea7f0a0e0a8b1f1d5c9b3f9c1e7e7f1a5c6b7d8e9f0a1b2
size:
  description: Bytes of the image.
  returned: success and O(state=present)
  type: int
  sample: 8123456
path:
  description: Where the image is in the node's store, or would be.
  returned: success and O(state=present)
  type: str
  sample: /var/lib/unikernel-fleet/images/9f2cd5a1e2b8d83f4ea7f0a0e0a8b1f1d5c9b3f9c1e7e7f1a5c6b7d8e9f0a1b2
how:
  description:
    - V(present) if it was there, V(fetched) by the node, V(pushed) by the controller, or V(copied) from a file there.
    - In check mode, the way that would be tried first.
  returned: success and O(state=present)
  type: str
  sample: fetched
bytes_transferred:
  description: Bytes that came into the store, 0 if the image was there.
  returned: success and O(state=present)
  type: int
  sample: 8123456
push_reason:
  description: Why the controller pushed the image.
  returned: when RV(how) is V(pushed)
  type: str
  sample: the controller is to bring it (method)
abi:
  description: Solo5 ABI of the image. V(none) if it is no Solo5 image, or not on the node yet (in check mode).
  returned: success and O(state=present)
  type: dict
  sample: {target: hvt, version: 2}
devices:
  description:
    - Devices in the manifest of the image. V(none) if it is no Solo5 image, or not on the node yet (in check mode).
  returned: success and O(state=present)
  type: list
  elements: dict
  sample: [{name: service, type: NET_BASIC}]
removed:
  description: The images that were removed, or would be.
  returned: success and O(state=pruned)
  type: list
  elements: dict
  contains:
    sha256:
      description: SHA-256 of the image.
      type: str
    size:
      description: Bytes of the image.
      type: int
kept:
  description: Number of images that stay.
  returned: success and O(state=pruned)
  type: int
  sample: 7
freed:
  description: Bytes that were freed, or would be.
  returned: success and O(state=pruned)
  type: int
  sample: 24370368
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.failing import failing
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.image import (
    ARGUMENTS,
    REQUIRED_IF,
    bring_or_prune,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.options import specs


def main() -> None:
    module = AnsibleModule(argument_spec=specs(ARGUMENTS), required_if=REQUIRED_IF, supports_check_mode=True)
    with failing(module):
        module.exit_json(**bring_or_prune(module.params, module.check_mode))


if __name__ == "__main__":
    main()
