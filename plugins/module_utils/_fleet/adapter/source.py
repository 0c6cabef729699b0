# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a source of builds is described in options, said once for all modules that use one."""

from __future__ import annotations

from .options import Option

SOURCE = (
    Option("name", required=True),
    Option("type", required=True, choices=("builder_web", "release_repository")),
    Option("url", required=True),
    Option("username"),
    Option("password", secret=True),
    Option("ca_path", "path"),
    Option("validate_certs", "bool", default=True),
    Option("proxy"),
    Option("timeout", "float", default=15.0),
    Option("total_timeout", "float", default=120.0),
    Option("retries", "int", default=4),
)
