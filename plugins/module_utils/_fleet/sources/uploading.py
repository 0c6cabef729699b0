# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Putting a build into a builder-web server, by its hand-upload of a binary."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Optional
from urllib.parse import quote, urlencode

from ..errors import BuildNotFound, InvalidDeclaration, SourceError
from ..model import Build
from .builder_web import BuilderWeb, checked_job, was_overloaded
from .http_client import HttpClient, ServerFault
from .protocol import Lookup, SourceOptions
from .source_urls import checked_url

CHUNK_BYTES = 1024 * 1024


def upload(
    options: SourceOptions, job: str, platform: str, image: Path, filename: str, check_mode: bool = False
) -> tuple[bool, Optional[Build]]:
    """Whether something was (or in check mode would be) uploaded, and the build; None for one that is not there yet.

    builder-web makes a new build of every upload and does not say which: so the job is first asked for those bytes,
    and again after it, and before a failed upload is repeated. Such a build has no inputs, so it cannot be compared.
    InvalidDeclaration for a name that the server refuses, SourceError for everything else.
    """
    checked_job(job)
    if not platform or "/" in platform:
        raise InvalidDeclaration(f"{platform[:80]!r} is no platform at builder-web.")
    source = BuilderWeb(options)
    client = HttpClient(options)
    wanted = Lookup(job=job, platform=platform, sha256=_sha256(image))
    found = _find(source, wanted)
    if found is not None or check_mode:
        return found is None, found
    path = f"/job/{quote(job, safe='')}/platform/{quote(platform, safe='')}/upload"
    url = f"{checked_url(options.url, options.name)}{path}?{urlencode({'binary_name': filename})}"
    for attempt in range(options.retries + 1):
        try:
            answer = client.post(url, image, client.deadline())
        except ServerFault as fault:
            if not was_overloaded(fault):
                # It may have got through all the same.
                found = _find(source, wanted)
                if found is not None:
                    return True, found
            if attempt == options.retries:
                raise
            continue
        if answer.status == 400:
            raise InvalidDeclaration(f"The source {options.name!r} refuses the file name {filename!r}.")
        if answer.status != 201:
            raise SourceError(f"The source {options.name!r} did not take the upload (status {answer.status}).")
        break
    found = _find(source, wanted)
    if found is None:
        raise SourceError(
            f"The source {options.name!r} took the upload of {filename!r}, and does not list it under the job {job!r}."
        )
    return True, found


def _find(source: BuilderWeb, wanted: Lookup) -> Optional[Build]:
    try:
        return source.find(wanted)
    except BuildNotFound:
        return None


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            while part := stream.read(CHUNK_BYTES):
                digest.update(part)
    except OSError as error:
        raise InvalidDeclaration(f"The image {path} cannot be read: {error.strerror}. Nothing was uploaded.") from None
    return digest.hexdigest()
