# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guard's units under systemd: the sweep with its timer, the start at boot, and one transient unit per trial."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ..errors import DriverError
from ..layout import NodeLayout
from ..runtime.unit_files import INSTALLED, TRANSIENT, install_waiter, python_for_units, templates, write_units
from ..runtime.units import NOTE, checked_word, prefix

ARM_TIMEOUT_S = 30.0
SERVICE = (
    # It is what repairs a node that ran out of memory, so it goes last.
    "OOMScoreAdjust=-500",
    "UMask=0077",
    "NoNewPrivileges=yes",
    # Nothing here that gives it a mount namespace (ProtectHome= and most others do): a network namespace is kept by a
    # mount, and one that the guard makes in a mount namespace of its own cannot be entered by the instance's unit.
    "CapabilityBoundingSet=~CAP_SYS_MODULE CAP_SYS_TIME CAP_SYSLOG CAP_SYS_BOOT CAP_SYS_RAWIO CAP_WAKE_ALARM",
    "SystemCallFilter=~@clock @module @raw-io @reboot @swap",
    "SystemCallErrorNumber=EPERM",
    "RestrictRealtime=yes",
    "LockPersonality=yes",
)
"""It starts units, makes taps and namespaces, and reads images: root with few restraints. Instances are none of its
children."""


def sweep_timer(root: Path) -> str:
    return f"{prefix(root)}-guard-sweep.timer"


def sweep_service(root: Path) -> str:
    return f"{prefix(root)}-guard-sweep.service"


def boot_service(root: Path) -> str:
    return f"{prefix(root)}-guard-boot.service"


def bridges_service(root: Path) -> str:
    return f"{prefix(root)}-bridges.service"


def trial_unit(root: Path, name: str, trial: str) -> str:
    return f"{prefix(root)}-trial-{name}-{trial}.service"


def sweep_units(layout: NodeLayout) -> dict[str, str]:
    """File name to text of what ends overdue trials and guards again what lost its guard."""
    root = layout.root
    return {
        sweep_service(root): _text(
            "[Unit]",
            "Description=Settle what was left open of unikernels",
            f"After={boot_service(root)}",
            f"ConditionPathExists={layout.guard}",
            f"RequiresMountsFor={root}",
            "",
            "[Service]",
            "Type=oneshot",
            f"ExecStart={_command(layout)} sweep --quiet",
            # An instance may take its grace to end, and a revert follows; each is bounded by itself.
            "TimeoutStartSec=1h",
            # Once a minute, and no word in the journal unless there is something to say.
            "SyslogLevel=notice",
            "LogLevelMax=notice",
            *SERVICE,
        ),
        sweep_timer(root): _text(
            "[Unit]",
            "Description=Settle what was left open of unikernels, every minute",
            # At boot the declared start order counts, so the boot comes first.
            f"After={boot_service(root)}",
            "",
            "[Timer]",
            "OnCalendar=minutely",
            "Persistent=true",
            # Otherwise systemd may let it wait for another minute.
            "AccuracySec=1s",
            "",
            "[Install]",
            "WantedBy=timers.target",
        ),
    }


def guard_units(layout: NodeLayout) -> dict[str, str]:
    """All of the guard's own units of a prepared node."""
    root = layout.root
    return {
        **sweep_units(layout),
        bridges_service(root): _text(
            "[Unit]",
            "Description=Make the bridges that unikernels are plugged into",
            # The machine's own configuration comes first; a bridge that it makes is left alone.
            "Wants=network-pre.target",
            "After=network-pre.target local-fs.target systemd-networkd.service networking.service",
            f"ConditionPathExists={layout.bridges}",
            f"ConditionPathExists={layout.guard}",
            f"RequiresMountsFor={root}",
            "",
            "[Service]",
            "Type=oneshot",
            "RemainAfterExit=yes",
            f"ExecStart={_command(layout)} bridges",
            "TimeoutStartSec=2min",
            *SERVICE,
            "",
            "[Install]",
            "WantedBy=multi-user.target",
        ),
        boot_service(root): _text(
            "[Unit]",
            "Description=Start the unikernels that should run, in their order",
            f"After=network-pre.target network.target local-fs.target {bridges_service(root)}",
            f"Wants={bridges_service(root)}",
            f"ConditionPathExists={layout.guard}",
            f"RequiresMountsFor={root}",
            "",
            "[Service]",
            "Type=oneshot",
            "RemainAfterExit=yes",
            f"ExecStart={_command(layout)} boot",
            "TimeoutStartSec=1h",
            *SERVICE,
            "",
            "[Install]",
            "WantedBy=multi-user.target",
        ),
    }


def node_units(layout: NodeLayout) -> dict[str, str]:
    """Everything that a prepared node has."""
    return {**templates(layout), **guard_units(layout)}


def refresh_units(layout: NodeLayout) -> bool:
    """Bring the units that there are, and the waiter that they run, to this version. True when something changed."""
    install_waiter(layout)
    changed = False
    for folder in (INSTALLED, TRANSIENT):
        there = {name: text for name, text in node_units(layout).items() if (folder / name).exists()}
        changed = write_units(there, folder) or changed
    return changed


def ensure_sweep(layout: NodeLayout) -> None:
    """On a machine that role node did not prepare: sweep until its next boot, which also ends every trial there is."""
    timer = sweep_timer(layout.root)
    if not any((folder / timer).exists() for folder in (INSTALLED, TRANSIENT)):
        write_units(sweep_units(layout), TRANSIENT)
        _run(["systemctl", "--no-ask-password", "start", timer])


def start_trial(layout: NodeLayout, archive: Path, name: str, trial: str, checks: Path) -> None:
    """Start the guard of a trial in a unit of its own; returns once it is armed. DriverError otherwise.

    A guard that is killed is started again by systemd at once, and takes the trial up from the journal. One that ends
    by itself, because it refused or because the trial is over, is not.
    """
    log = layout.guard_log(name)
    properties = (
        "Type=notify",
        "Restart=on-abnormal",
        "RestartSec=200ms",
        "StartLimitIntervalSec=0",
        f"TimeoutStartSec={ARM_TIMEOUT_S:.0f}s",
        f"StandardOutput=append:{log}",
        f"StandardError=append:{log}",
        *SERVICE,
    )
    _run(
        [
            "systemd-run",
            "--quiet",
            "--collect",
            "--no-ask-password",
            f"--unit={trial_unit(layout.root, name, trial)}",
            f"--description=Guard of a trial of {name}",
            *(f"--property={line}" for line in properties),
            "--",
            python_for_units(),
            "-I",
            str(archive),
            "--root",
            str(layout.root),
            "watch",
            "--checks",
            str(checks),
            name,
            trial,
        ]
    )


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=ARM_TIMEOUT_S + 5, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DriverError(f"{command[0]} failed: {error}") from error
    if done.returncode != 0:
        said = (done.stderr + done.stdout).decode("utf-8", "replace").strip()[-500:]
        raise DriverError(f"{command[0]} failed: {said or f'exit status {done.returncode}'}")


def _command(layout: NodeLayout) -> str:
    python, guard, root = python_for_units(), str(layout.guard), str(layout.root)
    return " ".join((*map(checked_word, (python,)), "-I", checked_word(guard), "--root", checked_word(root)))


def _text(*lines: str) -> str:
    return "\n".join((NOTE, *lines, ""))
