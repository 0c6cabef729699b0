# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of a unikernel, said once: argument specs of the modules, variables of the role and what the plan
reads from the inventory are all made from, or checked against, these tables.

A variable of the inventory is the option's name with ``unikernel_`` in front.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

from ..layout import DEFAULT_ROOT

PREFIX = "unikernel_"


@dataclass(frozen=True)
class Option:
    """One option: its place in an argument spec, and what it means when left out."""

    name: str
    type: str = "str"
    default: Any = None
    elements: Optional[str] = None
    choices: Optional[tuple[str, ...]] = None
    secret: bool = False
    options: tuple[Option, ...] = ()
    required: bool = False

    @property
    def variable(self) -> str:
        return PREFIX + self.name

    def spec(self) -> dict[str, Any]:
        """Its entry in an argument spec."""
        entry: dict[str, Any] = {"type": self.type}
        if self.default is not None:
            entry["default"] = self.default
        if self.elements:
            entry["elements"] = self.elements
        if self.choices:
            entry["choices"] = list(self.choices)
        if self.required:
            entry["required"] = True
        if self.secret:
            entry["no_log"] = True
        if self.options:
            entry["options"] = specs(self.options)
        return entry


def specs(options: tuple[Option, ...]) -> dict[str, Any]:
    """An argument spec of several options. Entries without ``no_log`` whose names look secret say so explicitly."""
    return {option.name: option.spec() for option in options}


# Left out, a configuration option keeps the value of the running release: hence none of them has a default here.
CONFIGURATION = (
    Option("driver", choices=("unix", "solo5", "qemu", "albatross")),
    Option("memory_mib", "int"),
    Option("cpus", "list", elements="int"),
    Option("arguments", "list", elements="str"),
    Option("secret_arguments", "list", elements="str", secret=True),
    Option("environment", "dict"),
    Option("secret_environment", "dict", secret=True),
    Option("working_directory", "path"),
    Option(
        "limits",
        "dict",
        options=(
            Option("open_files", "int"),
            Option("processes", "int"),
            Option("file_size_mib", "int"),
            Option("cpu_time_s", "int"),
        ),
    ),
    Option(
        "boot",
        "dict",
        options=(
            Option("image", choices=("kernel", "disk")),
            Option("initrd", "dict", options=(Option("sha256", required=True), Option("size", "int", required=True))),
            Option("power_button", "bool"),
        ),
    ),
    Option("core_dump", "dict", options=(Option("enabled", "bool"), Option("most_mib", "int"))),
    Option(
        "albatross",
        "dict",
        options=(
            Option("path"),
            Option("sockets", "path"),
            Option("address"),
            Option("port", "int"),
            Option("certificates", "path"),
            Option("key", "path"),
            Option("server_ca", "path"),
            Option("server_certificate", "path"),
            Option("generation", choices=("2.5", "2.6", "2.7")),
            Option("timeout", "float"),
            Option("quarantine_bridge"),
            Option("add_name", "bool"),
        ),
    ),
    Option(
        "networks",
        "list",
        elements="dict",
        options=(
            Option("name", required=True),
            Option("bridge", required=True),
            Option("mac"),
            Option("addresses", "list", elements="str"),
            Option("gateway"),
        ),
    ),
    Option(
        "block_devices",
        "list",
        elements="dict",
        options=(Option("name", required=True), Option("size_mib", "int"), Option("path", "path")),
    ),
    Option("swap", choices=("auto", "stop_start", "cut_over")),
    Option("ready", "dict"),
    Option("restart", choices=("never", "on_failure", "always")),
    Option("start_order", "int"),
    Option("stop_grace", "float"),
)

ROOT = Option("root", "path", default=DEFAULT_ROOT)
NAME = Option("name", required=True)
STATE = Option("state", default="running", choices=("running", "stopped", "absent"))

IMAGE = (
    Option("sha256"),
    Option("size", "int"),
    Option(
        "build",
        "dict",
        options=(Option("source"), Option("job"), Option("id"), Option("platform"), Option("finished_at")),
    ),
    Option("abi", "dict"),
    Option("devices", "list", elements="dict"),
)

SCHEDULE = (
    Option("deadline", "float", default=30.0),
    Option("stable_for", "float", default=3.0),
    Option("consecutive", "int", default=2),
    Option("interval", "float", default=1.0),
    Option("delays", "list", elements="float", default=[1.0, 1.0, 1.0, 2.0, 3.0, 3.0, 4.0, 5.0]),
)

CHECKS = (
    Option("checks", "list", elements="dict", default=[]),
    Option("address"),
)

TRIAL = (
    Option("trial_timeout", "float"),
    Option("retry_failed", "bool", default=False),
    Option("takeover", "bool", default=False),
    Option("accept_no_way_back", "bool", default=False),
    Option("keep_releases", "int", default=3),
    Option("data_compatible", "bool", default=False),
    Option("snapshot", choices=("reflink", "lvm", "copy", "hook")),
    Option("snapshot_hook", "path"),
    Option("remove_data", "bool", default=False),
    Option("guard", "bool", default=True),
    Option("rehearse", "bool", default=False),
    Option("rehearse_inconclusive", default="refuse", choices=("refuse", "proceed")),
)

HOLDER = (Option("who"), Option("run"))

# What only the plan, the role and the playbooks know: which build is meant, and where it runs.
DECLARED = (
    Option("node", required=True),
    Option("sources", "dict", default={}),
    Option("source"),
    Option("job"),
    Option("platform"),
    Option("channel"),
    Option("build", default="latest"),
    Option("sha256"),
)


PLACE_VARIABLES = (*(o.variable for o in (NAME, ROOT, STATE, *DECLARED[:1])), PREFIX + "driver", PREFIX + "albatross")
"""Where a unikernel is, and whether it should be there."""

PLAN_VARIABLES = tuple(
    dict.fromkeys(
        (
            *PLACE_VARIABLES,
            *(o.variable for o in (*DECLARED[1:], *CONFIGURATION)),
            PREFIX + "retry_failed",
            PREFIX + "rehearse",
        )
    )
)
"""All that a plan compares."""


def configuration_given(parameters: dict[str, Any]) -> dict[str, Any]:
    """The configuration options that were given, in the encoded form of a Configuration."""
    given = {o.name: parameters[o.name] for o in CONFIGURATION if parameters.get(o.name) is not None}
    if "stop_grace" in given:
        given["stop_grace_s"] = float(given.pop("stop_grace"))
    for name in ("environment", "secret_environment"):
        if name in given:
            given[name] = {str(key): _text(value) for key, value in given[name].items()}
    for name in ("arguments", "secret_arguments"):
        if name in given:
            given[name] = [_text(value) for value in given[name]]
    for name in ("limits", "boot", "core_dump"):
        if name in given:
            given[name] = _without_nothing(given[name])
    # The rest of it says where albatross is, which is no part of a release.
    added = given.pop("albatross", {}).get("add_name")
    if added is not None:
        given["albatross"] = {"add_name": added}
    for name in ("networks", "block_devices"):
        if name in given:
            given[name] = [_without_nothing(device) for device in given[name]]
    return given


def _without_nothing(given: dict[str, Any]) -> dict[str, Any]:
    """What was given: Ansible fills suboptions that were left out with None."""
    return {key: value for key, value in given.items() if value is not None}


def _text(value: Any) -> str:
    """A number or a truth value of YAML as the text that a command line or an environment holds."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
