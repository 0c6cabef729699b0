# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of albatross: a path of labels, and a label. Written canonically: what is not is closed unanswered.

``:hello`` is the unikernel hello of the root path, ``dev:world`` that of the path ``dev``; ``dev:`` is the path itself
and ``:`` the root. ``dev`` would be the unikernel ``:dev``: a policy for it would change the root's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional

from ..errors import InvalidDeclaration

LABEL = re.compile(r"[A-Za-z0-9.][A-Za-z0-9.-]{0,62}", re.ASCII)
_RULE = "1 to 63 of the characters a-z, A-Z, 0-9, '-' and '.', not beginning with '-'"
_DEEPEST = 32
_LONGEST = 64 * (_DEEPEST + 1)


@dataclass(frozen=True)
class Name:
    """What a request is about, or what an answer names."""

    path: tuple[str, ...] = ()
    label: Optional[str] = None
    """None: the path itself, and everything below it."""

    def __post_init__(self) -> None:
        for label in (*self.path, *(() if self.label is None else (self.label,))):
            if not isinstance(label, str) or not LABEL.fullmatch(label):
                raise InvalidDeclaration(f"{label!r:.80} is no label of albatross: {_RULE}. Nothing was sent.")
        if len(self.path) > _DEEPEST:
            raise InvalidDeclaration(f"A path of {len(self.path)} labels; at most {_DEEPEST} are understood here.")

    @classmethod
    def parse(cls, text: str) -> Name:
        """A name from its text, canonical or not; InvalidDeclaration for what the server would refuse."""
        if not text or len(text) > _LONGEST:
            raise InvalidDeclaration(f"{text!r:.80} is no name of albatross: 'label', 'path:label' or 'path:' are.")
        *path, label = text.split(":")
        if path and path[0] == "":
            del path[0]
        return cls(tuple(path), label or None)

    def __str__(self) -> str:
        return ":".join((*self.path, "")) + (self.label or "") if self.path else ":" + (self.label or "")

    @property
    def of_path(self) -> Name:
        """The path that it lies in."""
        return Name(self.path)

    def below(self, prefix: tuple[str, ...]) -> Name:
        """A name that was told relative to a path, in full."""
        return Name((*prefix, *self.path), self.label)


ROOT = Name()
