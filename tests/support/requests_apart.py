# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client that never rests in a process of its own: what its starter computes does not keep a request waiting."""

from __future__ import annotations

import gc
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from ansible_collections.unikernel.fleet.tests.support.requests_made import Requests
from ansible_collections.unikernel.fleet.tests.support.requests_without_end import Client

FORK = multiprocessing.get_context("fork")
"""It stays in the network namespace of the thread that forks."""
END_S = 10.0


@contextmanager
def requests_apart(address: str, **pace: Any) -> Iterator[Requests]:
    """Requests are made from the begin to the end of the ``with``; they are all there after it, and none before.

    ``pace``: what :class:`Client` takes.
    """
    ours, theirs = FORK.Pipe()
    process = FORK.Process(target=_ask, args=(ours, theirs, address, pace), daemon=True)
    process.start()
    theirs.close()
    made = Requests()
    try:
        ours.recv()  # EOFError, here and below: it ended, and said why
        yield made
        ours.send("enough")
        made.requests += ours.recv()
    finally:
        ours.close()  # which ends it, too
        process.join(END_S)
        process.kill()


def _ask(others: Connection, ours: Connection, address: str, pace: dict[str, Any]) -> None:
    # With the other end open here as well, this process would not hear that its starter is gone.
    others.close()
    # It holds all that its starter had imported; looking through that for garbage takes longer than a request.
    gc.disable()
    with Client(address, **pace) as client:
        ours.send("begun")
        try:
            ours.recv()
        except EOFError:
            return
    ours.send(client.requests)
