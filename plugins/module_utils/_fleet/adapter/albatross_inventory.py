# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which albatross nodes an inventory asks, what they answer, and which hosts and groups that makes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

from ..albatross.authority import read_authority
from ..albatross.client import Client
from ..albatross.conversation import Patience
from ..albatross.names import Name
from ..albatross.records import Generation, NamedInfo, moment
from ..albatross.tls import PORT, Tls
from ..albatross.unix_sockets import UnixSockets
from ..drivers.albatross_labels import name_of
from ..drivers.albatross_rehearsal_label import is_rehearsal
from ..errors import DriverError, InvalidDeclaration

SOCKETS_KEYS = frozenset({"sockets", "path"})
TLS_KEYS = frozenset({"address", "port", "server_ca", "server_certificate", "certificates", "key"})
COMMON_KEYS = frozenset({"name", "generation"})
NEEDED_FOR_TLS = ("server_ca", "certificates", "key")
_AT_ONCE = 16
"""Nodes that are asked at the same time."""
_NOT_IN_GROUPS = re.compile(r"[^A-Za-z0-9_]", re.ASCII)
_NEEDED_OF_A_HOST = ("unikernel_name", "unikernel_path", "albatross_name")
_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}", re.ASCII)

Variables = dict[str, Any]


@dataclass(frozen=True)
class AskedNode:
    """A node of the inventory's source, and how its albatross is asked."""

    name: str
    transport: Union[UnixSockets, Tls]
    generation: Generation = Generation.V2_7
    path: Optional[tuple[str, ...]] = ()
    """Only what lies below it. None: that of the certificate, over TLS."""


@dataclass(frozen=True)
class Answer:
    """What a node said: a unikernel each, as variables; or why it said nothing."""

    node: str
    unikernels: tuple[Variables, ...] = ()
    failure: Optional[str] = None


@dataclass(frozen=True)
class Host:
    """A unikernel as the inventory has it."""

    name: str
    node: str
    path: tuple[str, ...]
    variables: Variables


# --- which nodes


def nodes_from(declared: Any, folder: Path) -> tuple[AskedNode, ...]:
    """The nodes of a source file that lies in a folder. InvalidDeclaration says which entry is wrong, and how."""
    if not isinstance(declared, Sequence) or isinstance(declared, str) or not declared:
        raise InvalidDeclaration("nodes: a list with at least one node is needed.")
    nodes = [_node(entry, f"nodes[{position}]", folder) for position, entry in enumerate(declared)]
    for name in {node.name for node in nodes}:
        if sum(node.name == name for node in nodes) > 1:
            raise InvalidDeclaration(f"nodes: two are named {name!r}. Give each a 'name' of its own.")
    grouped: dict[str, str] = {}
    for node in nodes:
        other = grouped.setdefault(_NOT_IN_GROUPS.sub("_", node.name), node.name)
        if other != node.name:
            raise InvalidDeclaration(
                f"nodes: {other!r} and {node.name!r} would share the group {node_group(node.name)!r}, since a group's "
                "name has neither '.' nor '-'. Give one of them another 'name'."
            )
    return tuple(nodes)


def _node(entry: Any, where: str, folder: Path) -> AskedNode:
    if not isinstance(entry, Mapping):
        raise InvalidDeclaration(f"{where}: a node is a dictionary with 'sockets' or 'address', not {entry!r:.80}.")
    if ("sockets" in entry) == ("address" in entry):
        raise InvalidDeclaration(
            f"{where}: either 'sockets' (a folder of this machine) or 'address' (over TLS) is needed, and not both."
        )
    local = "sockets" in entry
    unknown = set(map(str, entry)) - COMMON_KEYS - (SOCKETS_KEYS if local else TLS_KEYS)
    if unknown:
        raise InvalidDeclaration(
            f"{where}: {', '.join(sorted(unknown))} is not known of a node that is asked "
            f"{'by its sockets' if local else 'over TLS'}."
        )
    name = str(entry.get("name") or ("localhost" if local else entry["address"]))
    if not _NODE.fullmatch(name):
        raise InvalidDeclaration(
            f"{where}: {name!r:.80} cannot be part of hosts' names. Give it a 'name' of letters, digits, '.', '-' "
            "and '_'."
        )
    generation = _generation(entry.get("generation", Generation.V2_7.value), where)
    if local:
        path = Name.parse(f"{str(entry.get('path') or '').rstrip(':')}:").path
        return AskedNode(name, UnixSockets(folder / str(entry["sockets"])), generation, path)
    lacking = [key for key in NEEDED_FOR_TLS if not entry.get(key)]
    if lacking:
        raise InvalidDeclaration(f"{where}: {', '.join(lacking)} is needed to ask {entry['address']} over TLS.")
    pinned = entry.get("server_certificate")
    transport = Tls(
        str(entry["address"]),
        server_ca=folder / str(entry["server_ca"]),
        certificates=folder / str(entry["certificates"]),
        key=folder / str(entry["key"]),
        port=_port(entry.get("port", PORT), where),
        server_certificate=folder / str(pinned) if pinned else None,
    )
    return AskedNode(name, transport, generation, None)


def _generation(told: Any, where: str) -> Generation:
    try:
        return Generation(str(told))
    except ValueError:
        known = ", ".join(generation.value for generation in Generation)
        raise InvalidDeclaration(f"{where}: generation is {told!r:.40}; known are {known}.") from None


def _port(told: Any, where: str) -> int:
    if not str(told).isdecimal() or not 0 < int(told) < 65_536:
        raise InvalidDeclaration(f"{where}: {told!r:.40} is no port.")
    return int(told)


# --- what they answer


def ask(nodes: Sequence[AskedNode], timeout_s: float) -> list[Answer]:
    """All nodes at once. One that does not answer is an answer with a failure, and never one without unikernels."""
    with ThreadPoolExecutor(min(_AT_ONCE, len(nodes))) as pool:
        return list(pool.map(lambda node: _ask(node, timeout_s), nodes))


def _ask(node: AskedNode, timeout_s: float) -> Answer:
    client = Client(node.transport, node.generation, Patience(timeout_s, timeout_s, timeout_s))
    try:
        found = client.unikernels(Name(path_of(node)))
    except (DriverError, InvalidDeclaration) as error:
        return Answer(node.name, failure=str(error))
    return Answer(node.name, tuple(variables_of(entry, node.name) for entry in _each_once(found)))


def kept_from(answers: Sequence[Answer], declared: Any) -> dict[str, Any]:
    """The answers as a cache keeps them, with the nodes that they are of."""
    kept = [{"node": answer.node, "unikernels": list(answer.unikernels)} for answer in answers]
    return {"nodes": declared, "answers": kept}


def answers_from(kept: Any, declared: Any) -> Optional[list[Answer]]:
    """The answers that a cache kept; None where there are none, or they are of other nodes.

    ValueError for what :func:`kept_from` did not make: a cache is a file or a server that others write to as well.
    """
    if kept is None:
        return None
    if not isinstance(kept, Mapping):
        raise ValueError(f"it is no mapping: {kept!r:.60}")
    answers = kept.get("answers")
    if "nodes" not in kept or not isinstance(answers, list) or not all(map(_is_answer, answers)):
        raise ValueError("it does not hold what nodes answered")
    if kept["nodes"] != declared:
        return None
    return [Answer(answer["node"], tuple(answer["unikernels"])) for answer in answers]


def _is_answer(kept: Any) -> bool:
    if not isinstance(kept, Mapping) or not isinstance(kept.get("node"), str):
        return False
    unikernels = kept.get("unikernels")
    return isinstance(unikernels, list) and all(
        isinstance(one, Mapping) and all(isinstance(one.get(key), str) for key in _NEEDED_OF_A_HOST)
        for one in unikernels
    )


def path_of(node: AskedNode) -> tuple[str, ...]:
    """What is asked for. InvalidDeclaration when a certificate or its key is of no use."""
    if node.path is None and isinstance(node.transport, Tls):
        return read_authority(node.transport.certificates, node.transport.key).path
    return node.path or ()


def _each_once(found: Sequence[NamedInfo]) -> list[NamedInfo]:
    """A unikernel that is being cut over runs under both of its labels: then the one of its name stands for it.
    What is only being rehearsed is none."""
    found = [entry for entry in found if not is_rehearsal(entry.name.label)]
    named = {entry.name for entry in found}
    return [entry for entry in found if _unikernel(entry.name) == entry.name or _unikernel(entry.name) not in named]


def _unikernel(name: Name) -> Name:
    return Name(name.path, name_of(name.label)) if name.label else name


def variables_of(entry: NamedInfo, node: str) -> Variables:
    """What albatross tells of a unikernel, as variables of its host."""
    name, info = entry.name, entry.info
    return {
        "unikernel_name": name_of(name.label or ""),
        "unikernel_path": ":".join(name.path),
        "unikernel_node": node,
        "albatross_name": str(name),
        "albatross_type": info.type.value,
        "albatross_digest": info.digest.hex(),
        "albatross_started": moment(info.started).isoformat() if info.started else None,
        "albatross_memory_mib": info.memory_mib,
        "albatross_cpus": sorted(info.cpus),
        "albatross_arguments": [_printable(argument) for argument in info.arguments],
        "albatross_bridges": sorted({_printable(network.bridge) for network in info.networks}),
        "albatross_networks": [
            {"name": _printable(one.guest_device), "bridge": _printable(one.bridge), "mac": one.mac}
            for one in info.networks
        ],
        "albatross_blocks": [
            {
                "name": _printable(one.guest_device),
                "volume": _printable(one.host_device),
                "sector_size": one.sector_size,
            }
            for one in info.blocks
        ],
        "albatross_restart": info.fail_behaviour.restart,
        "albatross_restart_codes": sorted(info.fail_behaviour.codes),
        "albatross_startup": info.startup,
    }


def _printable(text: str) -> str:
    """albatross passes on any octets; JSON and templates want characters."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


# --- which hosts and groups


def hosts_of(answers: Iterable[Answer], by_label: bool) -> list[Host]:
    """A host for each unikernel, named so that no other can have that name; or by its label alone, as long as no two
    have the same."""
    hosts: dict[str, Host] = {}
    for answer in answers:
        for variables in answer.unikernels:
            path = tuple(filter(None, variables["unikernel_path"].split(":")))
            # No label holds '_' or '@', so neither two paths nor two nodes can make the same name.
            unique = f"{'_'.join((*path, variables['unikernel_name']))}@{answer.node}"
            name = variables["unikernel_name"] if by_label else unique
            if name in hosts:
                raise InvalidDeclaration(
                    f"Two unikernels are called {name!r}: {hosts[name].variables['albatross_name']} of "
                    f"{hosts[name].node} and {variables['albatross_name']} of {answer.node}. Set host_names to unique."
                )
            hosts[name] = Host(name, answer.node, path, variables)
    return list(hosts.values())


def node_group(node: str) -> str:
    return f"albatross_node_{_NOT_IN_GROUPS.sub('_', node)}"


def path_groups(path: tuple[str, ...]) -> list[str]:
    """Of a path and those above it, the outermost first; none for the root."""
    return ["albatross_path_" + "_".join(path[: depth + 1]) for depth in range(len(path))]
