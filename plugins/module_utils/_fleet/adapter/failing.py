# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one place where errors become ``fail_json``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Optional, Protocol

from ..errors import FleetError


class Failing(Protocol):
    """As much of AnsibleModule as is needed to fail."""

    def fail_json(self, msg: str, **kwargs: Any) -> Any: ...


@contextmanager
def failing(module: Failing, details: Optional[Mapping[str, Any]] = None) -> Iterator[None]:
    """Turn what the library refuses, and what the operating system refuses it, into a failed module."""
    try:
        yield
    except FleetError as error:
        module.fail_json(msg=str(error), error=type(error).__name__, **(details or {}))
    except OSError as error:
        module.fail_json(
            msg=f"The operating system refused: {error}. See the state with unikernel.fleet.unikernel_info; what was "
            "begun is settled by the next run.",
            error=type(error).__name__,
            **(details or {}),
        )
