# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kinds of checks that there are. Static: Ansible packs a module by following its import statements."""

from __future__ import annotations

from collections.abc import Mapping

from .console import ConsoleKind
from .dns import DnsKind
from .http import HttpKind
from .process import ProcessKind
from .protocol import CheckKind
from .tcp import TcpKind

CHECKS: Mapping[str, CheckKind] = {
    kind.kind: kind for kind in (HttpKind(), DnsKind(), TcpKind(), ProcessKind(), ConsoleKind())
}
