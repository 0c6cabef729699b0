# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an albatross runs, asked once and told many times. Over TLS each question is a connection with a certificate of
its own, and a node may have hundreds of unikernels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from ..albatross.client import Client
from ..albatross.names import Name
from ..albatross.records import UnikernelInfo
from ..errors import DriverError


@dataclass
class OnceAsked(Client):
    """A client to which what runs is what ran when it was first asked."""

    _listed: Optional[dict[Name, UnikernelInfo]] = field(default=None, init=False, repr=False)
    _fault: Optional[DriverError] = field(default=None, init=False, repr=False)

    def unikernel(self, name: Name) -> Optional[UnikernelInfo]:
        if self._fault is not None:
            raise self._fault  # its time-out is waited for once, too
        if self._listed is None:
            try:
                self._listed = {entry.name: entry.info for entry in self.unikernels(name.of_path)}
            except DriverError as error:
                self._fault = error
                raise
        return self._listed.get(name)
