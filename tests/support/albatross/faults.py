# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the double raises to itself."""

from __future__ import annotations


class Fault(Exception):
    """A failure that the client is told, in albatross' words."""


class Died(BaseException):
    """An exception that the real daemon does not catch: it ends, and its unikernels run on."""
