# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The URLs of sources: which are accepted, and what credentials are bound to."""

from __future__ import annotations

from urllib.parse import urlsplit

from ..errors import InvalidDeclaration


def checked_url(url: str, what: str) -> str:
    """An http(s) URL without credentials, query or fragment, and without a slash at its end."""
    try:
        parts = urlsplit(url)
        _unused = parts.port
    except ValueError as error:
        raise InvalidDeclaration(f"The URL of {what} cannot be read: {error}. Nothing was asked.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidDeclaration(f"The URL of {what} must begin with http:// or https:// and name a host.")
    if parts.username is not None or parts.password is not None:
        raise InvalidDeclaration(
            f"The URL of {what} holds credentials; give them as 'username' and 'password' instead, "
            "where they are kept out of logs."
        )
    if parts.query or parts.fragment:
        raise InvalidDeclaration(f"The URL of {what} must end with its path: no '?' and no '#'.")
    return url.rstrip("/")


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port: what credentials are bound to."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return parts.scheme, (parts.hostname or "").lower(), port
