# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: albatross
short_description: Unikernels that run on albatross nodes
version_added: 0.2.0
author:
  - The unikernel.fleet authors (@unikernel-fleet)
description:
  - Makes a host of every unikernel that runs on one or many albatross nodes, in the group O(group), with what albatross
    tells of it as variables.
  - Asks albatross itself, by its sockets on this machine or over TLS. Neither C(albatross-client) nor a login on the
    nodes is needed. All nodes are asked at once, each with one request.
  - Its source is a YAML file whose name ends with C(albatross.yml) or C(albatross.yaml).
  - Further groups are V(albatross_node_NAME) of each node, and V(albatross_path_A_B) of each path V(a:b), which is a
    child of those of the paths above it. What group names do not allow becomes V(_) in them, so the paths V(a:b) and
    V(a-b) have one group; two nodes never have.
  - A unikernel that is not running is unknown to albatross, and therefore no host.
  - A unikernel that was cut over may run under a second label, C(NAME.fleet-2). It is the host of NAME all the same;
    C(albatross_name) is what it is called on albatross. While both run, at a cut-over, it is the one under its name.
requirements:
  - asn1crypto on the controller
  - cryptography on the controller, for nodes over TLS
notes:
  - The arguments of unikernels are among the variables. They are readable for everybody who may ask albatross, and a
    cache of files, as C(jsonfile) is one, may be readable for everybody on the controller.
  - Values that come from albatross are never evaluated as templates.
  - What a cache holds and cannot be understood is warned of, passed over, and replaced by what the nodes answer.
  - Nobody can log in to a unikernel. Plays over these hosts delegate their tasks, or run on the controller.
extends_documentation_fragment:
  - ansible.builtin.constructed
  - ansible.builtin.inventory_cache
options:
  plugin:
    description: Marks the file as a source for this plugin.
    type: str
    required: true
    choices: [unikernel.fleet.albatross]
  nodes:
    description:
      - The nodes to ask. Files and folders that are not absolute are sought beside the source file.
      - Each has either O(nodes[].sockets) or O(nodes[].address).
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - What the node is called in groups, hosts' names, and the variable C(unikernel_node).
          - Left out, it is O(nodes[].address), or V(localhost) for sockets.
        type: str
      sockets:
        description: The folder of the sockets of an albatross on this machine, usually C(/run/albatross/util).
        type: path
      path:
        description:
          - Only what lies below this path, with O(nodes[].sockets).
          - Over TLS it is the path that the certificate speaks for.
        type: str
      address:
        description: Name or address of an C(albatross-tls-endpoint).
        type: str
      port:
        description: Its port.
        type: int
        default: 1025
      server_ca:
        description: The CA whose certificates the server may show, in PEM.
        type: path
      server_certificate:
        description: The only certificate that the server may show, in PEM. Left out, any of O(nodes[].server_ca).
        type: path
      certificates:
        description: The CA in whose name is asked, with those above it, in PEM.
        type: path
      key:
        description: The private key of that CA, in PEM, readable by its owner only.
        type: path
      generation:
        description: The generation of the albatross that runs there. Nothing is negotiated by its protocol.
        type: str
        choices: ['2.5', '2.6', '2.7']
        default: '2.7'
  unreachable:
    description:
      - What to do when a node does not answer. Its unikernels are then missing from the inventory, which must not be
        taken for their not running.
      - With V(fail) there is no inventory from this source, with V(warn) there is one of the other nodes. It is not
        cached.
    type: str
    choices: [fail, warn]
    default: fail
  timeout:
    description: Seconds that a node is waited for, for the connection and again for its answer.
    type: float
    default: 10
  group:
    description:
      - The group of all of them.
      - By default it is not V(unikernels), since this collection's playbooks take that one's hosts for declared. With
        V(unikernels) here and O(host_names=label), what runs adds its variables to the declarations of the same names,
        and whatever else runs counts as declared as well.
    type: str
    default: albatross_unikernels
  host_names:
    description:
      - How hosts are named. V(unique) is C(LABEL@NODE), with the labels of the path before it and V(_) between them, as
        in C(dev_www@dom0-a) for the unikernel C(dev:www) of the node C(dom0-a). No two unikernels have the same.
      - With V(label) it is the label alone, as in an inventory that declares its unikernels. Two unikernels with the
        same label are an error then.
    type: str
    choices: [unique, label]
    default: unique
"""

EXAMPLES = r"""
# production.albatross.yml: two nodes over TLS, and the one on this machine
plugin: unikernel.fleet.albatross
nodes:
  - name: dom0-a
    address: dom0-a.example.org
    server_ca: ca/cacert.pem
    certificates: ca/cacert.pem
    key: ca/ca.key
  - name: dom0-b
    address: 192.0.2.7
    port: 1026
    generation: '2.6'
    server_ca: ca/cacert.pem
    certificates: tenants/dev.pem
    key: tenants/dev.key
  - name: here
    sockets: /run/albatross/util

---
# Groups by bridge and by what starts again, a variable of our own, and answers that are kept for ten minutes
plugin: unikernel.fleet.albatross
nodes:
  - sockets: /run/albatross/util
unreachable: warn
keyed_groups:
  - key: albatross_bridges
    prefix: bridge
groups:
  restarting: albatross_restart
  large: albatross_memory_mib >= 256
compose:
  short_digest: albatross_digest[:12]
strict: true
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: /var/cache/ansible/albatross
cache_timeout: 600
"""

from pathlib import Path
from typing import Any, Optional

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable
from ansible.utils.unsafe_proxy import wrap_var

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.albatross_inventory import (
    Answer,
    Host,
    answers_from,
    ask,
    hosts_of,
    kept_from,
    node_group,
    nodes_from,
    path_groups,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import FleetError


def _never_a_template(value: Any) -> Any:
    """Whoever can create a unikernel chooses its arguments, and ansible-core before 2.19 would evaluate them. What is
    marked is shown with its mark by ansible-inventory, so only what could be a template is."""
    if isinstance(value, str):
        return wrap_var(value) if "{" in value else value
    if isinstance(value, list):
        return [_never_a_template(item) for item in value]
    if isinstance(value, dict):
        return {key: _never_a_template(item) for key, item in value.items()}
    return value


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    NAME = "unikernel.fleet.albatross"

    def verify_file(self, path: str) -> bool:
        base: Any = super()
        return bool(base.verify_file(path)) and path.endswith(("albatross.yml", "albatross.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        self.load_cache_plugin()
        try:
            for host in hosts_of(self._answers(path, cache), by_label=self.get_option("host_names") == "label"):
                self._add(host)
        except FleetError as error:
            raise AnsibleParserError(f"{path}: {error}") from error

    def _answers(self, path: str, cache: bool) -> list[Answer]:
        """From the cache, if they are there and are of these very nodes; else from the nodes."""
        declared, key = self.get_option("nodes"), self.get_cache_key(path)
        use = self.get_option("cache")
        kept = self._kept(path, key, declared) if use and cache else None
        if kept is not None:
            return kept
        answers = ask(nodes_from(declared, Path(path).resolve().parent), self.get_option("timeout"))
        silent = [answer for answer in answers if answer.failure is not None]
        for answer in silent:
            told = f"Node {answer.node!r} did not say what it runs. {answer.failure}"
            if self.get_option("unreachable") == "fail":
                raise AnsibleParserError(f"{path}: {told} Set 'unreachable: warn' to go on without it.")
            self.display.warning(f"{path}: {told} Its unikernels are missing from the inventory.")
        if use and not silent:
            # Written when the run ends; what is too old, or was asked past with --flush-cache, is replaced by it.
            self._cache[key] = kept_from(answers, declared)
        return answers

    def _kept(self, path: str, key: str, declared: Any) -> Optional[list[Answer]]:
        """What the cache has of these nodes. A cache that is of no use costs one question to them, and no inventory."""
        try:
            return answers_from(self._cache.get(key), declared)
        except Exception as error:  # whatever a cache plugin, which may be anybody's, makes of what it cannot read
            told = " ".join(str(error).split()) or type(error).__name__
            self.display.warning(
                f"{path}: what the cache {self.get_option('cache_plugin')} has of it cannot be understood ({told}), so "
                "the nodes are asked, and what they answer replaces it."
            )
            return None

    def _add(self, host: Host) -> None:
        inventory: Any = self.inventory
        name = inventory.add_host(host.name, group=self._group(self.get_option("group")))
        inventory.add_host(name, group=self._group(node_group(host.node)))
        above = None
        for group in map(self._group, path_groups(host.path)):
            if above is not None:
                inventory.add_child(above, group)
            above = group
        if above is not None:
            inventory.add_child(above, name)
        variables = {key: _never_a_template(value) for key, value in host.variables.items()}
        for key, value in variables.items():
            inventory.set_variable(name, key, value)
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), variables, name, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), variables, name, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, name, strict=strict)

    def _group(self, name: str) -> str:
        inventory: Any = self.inventory
        return str(inventory.add_group(self._sanitize_group_name(name)))
