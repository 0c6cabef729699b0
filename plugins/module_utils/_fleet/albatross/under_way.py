# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A transport for whoever has begun a change, and must end it one way or the other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Optional

from ..errors import InvalidDeclaration
from .conversation import Conversation, Patience, Transport
from .errors import NotSent
from .messages import Command
from .names import Name


@dataclass(frozen=True)
class UnderWay:
    """The same transport. What is wrong with its files by now is no mistake in a declaration that could be refused any
    more, but a request that was not sent: the change is gone back from, as after any other of these."""

    transport: Transport

    @property
    def where(self) -> str:
        return self.transport.where

    def open(
        self, name: Name, command: Command, patience: Patience, upload: Optional[Iterable[bytes]] = None
    ) -> Conversation:
        try:
            return self.transport.open(name, command, patience, upload)
        except InvalidDeclaration as error:
            raise NotSent(
                f"{self.where} cannot be asked any more in the middle of a change (what was asked before stays carried "
                f"out): {error}"
            ) from error
