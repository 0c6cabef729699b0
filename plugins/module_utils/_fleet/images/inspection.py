# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether an image is what its build says: made for that tender, with those devices."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Optional

from ..errors import ImageError
from ..model import Abi, Device
from .elf import Solo5, read_notes


def check_image(path: Path, abi: Optional[Abi] = None, devices: Optional[tuple[Device, ...]] = None) -> Solo5:
    """ABI and devices of the image. ImageError when they are not those expected; None expects nothing."""
    try:
        with open(path, "rb") as image:
            found_abi, found_devices = read_notes(image)
    except OSError as error:
        raise ImageError(f"{path} cannot be inspected ({error.strerror}). It was refused.") from error
    if abi is not None and abi != found_abi:
        raise ImageError(
            f"The image was built for {_tender(found_abi)}, and its build says {_tender(abi)}. It was refused; what "
            "runs was left running. Choose a build for the right platform."
        )
    if devices is not None and _sorted(devices) != _sorted(found_devices or ()):
        raise ImageError(
            f"The image wants {_named(found_devices or ())}, and its build says {_named(devices)}. It was refused; "
            "what runs was left running. Look the build up again."
        )
    return found_abi, found_devices


def _sorted(devices: Iterable[Device]) -> list[tuple[str, str]]:
    return sorted((device.name, device.type) for device in devices)


def _tender(abi: Optional[Abi]) -> str:
    return "no Solo5 tender" if abi is None else f"Solo5 {abi.target} (ABI version {abi.version})"


def _named(devices: Iterable[Device]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in _sorted(devices)) or "no devices"
