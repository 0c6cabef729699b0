# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When two releases are the same, told in a way that gives no secret away.

The node knows whole releases; the plan, on the controller, knows the declared secrets but sees of the running ones
only digests, keyed with a salt of the unikernel. Both compute the same fingerprint.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any, Optional

from ..codec import encode
from ..model import Release, secret_fields


def public_part(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """An encoded configuration without its secret fields."""
    secret = secret_fields()
    return {name: value for name, value in configuration.items() if name not in secret}


def secrets_digests(salt: str, configuration: Mapping[str, Any]) -> dict[str, str]:
    """A keyed digest of each secret field that the encoded configuration has."""
    return {name: _keyed(salt, configuration[name]) for name in secret_fields() if name in configuration}


def fingerprint(salt: str, release: Optional[Release]) -> str:
    """Equal for equal image, configuration and running state, whatever the number."""
    if release is None:
        return absent(salt)
    configuration = encode(release.configuration)
    digests = secrets_digests(salt, configuration)
    return fingerprint_from_parts(salt, release.image.sha256, public_part(configuration), digests, release.running)


def fingerprint_from_parts(
    salt: str, sha256: str, public: Mapping[str, Any], digests: Mapping[str, str], running: bool
) -> str:
    return _keyed(salt, [sha256, public, digests, running])


def absent(salt: str) -> str:
    """The fingerprint of there being no release."""
    return _keyed(salt, None)


def _keyed(salt: str, data: Any) -> str:
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hmac.new(salt.encode("ascii"), text.encode("utf-8"), hashlib.sha256).hexdigest()
