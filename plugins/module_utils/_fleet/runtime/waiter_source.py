# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The text of the waiter's program: the library may come from the zip of an Ansible module, which is gone soon."""

from __future__ import annotations

import marshal

from . import waiter


def waiter_source() -> str:
    # Every loader that has imported it can say it; the type of a module's loader does not know that.
    source: str = waiter.__loader__.get_source(waiter.__name__)  # type: ignore[union-attr]
    return source


def waiter_code() -> bytes:
    """The same compiled, for this very Python: to compile the text takes longer than all else of a start. A loader has
    it at hand where there is compiled code beside the source, as in the guard's archive."""
    code = waiter.__loader__.get_code(waiter.__name__)  # type: ignore[union-attr]
    return marshal.dumps(code)
