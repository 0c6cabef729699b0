# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an albatross runs, asked once and told many times. Over TLS each question is a connection with a certificate of
its own, and a node may have hundreds of unikernels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from ..albatross.client import Client
from ..albatross.names import ROOT, Name
from ..albatross.records import NamedInfo
from ..errors import DriverError


@dataclass
class OnceAsked(Client):
    """A client to which what runs is what ran when it was first asked."""

    _listed: dict[Name, tuple[NamedInfo, ...]] = field(default_factory=dict, init=False, repr=False)
    _fault: Optional[DriverError] = field(default=None, init=False, repr=False)

    def unikernels(self, name: Name = ROOT) -> tuple[NamedInfo, ...]:
        if self._fault is not None:
            raise self._fault  # its time-out is waited for once, too
        if name not in self._listed:
            try:
                self._listed[name] = super().unikernels(name)
            except DriverError as error:
                self._fault = error
                raise
        return self._listed[name]
