# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the server compressed, inflated piece by piece: never more than it may be, whatever the octets promise."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from .errors import MalformedAnswer

_PIECE = 1 << 20


def inflated(pieces: Iterable[bytes], max_bytes: int, where: str) -> Iterator[bytes]:
    """The content of one zlib stream that came in pieces; MalformedAnswer when it is none, or holds too much."""
    stream = zlib.decompressobj()
    size = 0
    try:
        for piece in pieces:
            while piece:
                out = stream.decompress(piece, _PIECE)
                size += len(out)
                if size > max_bytes:
                    raise MalformedAnswer(f"{where} sent something that inflates to more than {max_bytes} bytes.")
                if out:
                    yield out
                if stream.eof:
                    break
                piece = stream.unconsumed_tail
            if stream.unused_data:
                raise MalformedAnswer(f"{where} sent something after the end of a compressed stream.")
        rest = stream.flush()
    except zlib.error as error:
        raise MalformedAnswer(f"{where} sent something that is not compressed as it says: {error}.") from None
    if not stream.eof or size + len(rest) > max_bytes:
        raise MalformedAnswer(f"{where} sent a compressed stream that is cut.")
    if rest:
        yield rest
