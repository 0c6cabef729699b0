# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A connection to this machine that breaks when the file ``fleet_cut`` is there: a network to fail when one wants."""

from __future__ import annotations

import os
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection.local import Connection as Local

DOCUMENTATION = """
name: breakable
author: The unikernel.fleet authors
short_description: Runs on this machine until a file says that the network is gone
description: For the tests of what happens when a node cannot be reached any more.
options:
  cut:
    description: While this file is there, nothing is reached.
    type: path
    required: true
    vars:
      - name: fleet_cut
"""


class Connection(Local):  # type: ignore[misc]
    """Every use of it looks first."""

    transport = "breakable"

    def _look(self) -> None:
        if os.path.exists(self.get_option("cut")):
            raise AnsibleConnectionFailure("the network was cut by the test")

    def _connect(self) -> Connection:
        self._look()
        return super()._connect()  # type: ignore[no-any-return]

    def exec_command(self, *arguments: Any, **options: Any) -> Any:
        self._look()
        return super().exec_command(*arguments, **options)

    def put_file(self, *arguments: Any, **options: Any) -> Any:
        self._look()
        return super().put_file(*arguments, **options)

    def fetch_file(self, *arguments: Any, **options: Any) -> Any:
        self._look()
        return super().fetch_file(*arguments, **options)
