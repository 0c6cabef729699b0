# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can go wrong between us and an albatross server, told apart by what it means for the unikernel.

``NotSent``, ``Unsendable`` and ``Refused`` say what happened. After ``AnswerLost`` nobody knows: ask what runs.
"""

from __future__ import annotations

from ..errors import DriverError, FleetError, Hindered


class Malformed(FleetError):
    """Octets that are not of the protocol; the message says where. Nothing of them is used."""

    def within(self, place: str) -> Malformed:
        """The same, told from one level further out."""
        return Malformed(f"{place}: {self}")


class Unsendable(DriverError):
    """A request that no server of this generation understands, or that is known to harm it: it was not sent."""


class NotSent(Hindered):
    """The server could not be reached, or not to the end of the request: it has carried out nothing of it."""


class Refused(DriverError):
    """The server answered that it failed. What it had already done by then depends on the command."""

    def __init__(self, message: str, text: str) -> None:
        super().__init__(message)
        self.text = text
        """The server's own words."""


class AnswerLost(Hindered):
    """The request was sent and no answer came that can be read: whether it was carried out is not known."""


class ClosedUnanswered(AnswerLost):
    """The server closed the connection without a word, as it does with what it cannot read."""


class MalformedAnswer(AnswerLost):
    """An answer came, and it is not of the protocol."""
