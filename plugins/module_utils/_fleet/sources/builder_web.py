# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds from a builder-web server.

Every build is named by its id in the end, never by ``latest``, so that what was looked up and what is downloaded
later are the same. Where an answer of the server may mean another job, platform or file than it seems to, it is
checked with a second question.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from contextlib import suppress
from typing import Optional, TypeVar
from urllib.parse import quote, unquote, urlencode, urlsplit

from ..errors import BuildNotFound, InvalidDeclaration, SourceError
from ..model import Build, checked_sha256
from . import builder_web_answers as answers
from .http_client import Answer, Deadline, HttpClient, ServerFault, redirect_target
from .protocol import ComparisonAnswer, ComparisonState, Lookup, SourceOptions
from .source_urls import checked_url

T = TypeVar("T")


class BuilderWeb:
    """A builder-web server, read only."""

    def __init__(self, options: SourceOptions) -> None:
        self._name = options.name
        self._base = checked_url(options.url, f"the source {options.name!r}")
        self._http = HttpClient(options)

    # --- finding ------------------------------------------------------------------------------

    def find(self, lookup: Lookup) -> Build:
        """See Source.find. Bounded by ``total_timeout_s`` as a whole."""
        if lookup.channel is not None:
            raise InvalidDeclaration(f"{self._who} has no channels; leave 'channel' out for it.")
        if lookup.id is not None and lookup.sha256 is not None:
            raise InvalidDeclaration("A build is looked up by its id or by its sha256, not by both.")
        deadline = self._http.deadline()
        if lookup.sha256 is not None:
            return self._by_sha256(checked_sha256(lookup.sha256), lookup, deadline)
        job = checked_job(lookup.job)
        if lookup.id is not None:
            if not answers.is_uuid(lookup.id):
                raise InvalidDeclaration(f"{lookup.id!r} is no build id of builder-web: a UUID is needed.")
            return self._by_id(job, lookup.id.lower(), lookup.platform, deadline)
        if not lookup.platform:
            raise InvalidDeclaration(
                f"The latest build of {job!r} needs a platform: without one, {self._who} would answer with the "
                "newest build of any platform."
            )
        return self._by_id(job, self._latest(job, lookup.platform, deadline), lookup.platform, deadline)

    def _latest(self, job: str, platform: str, deadline: Deadline) -> str:
        url = f"{self._job(job)}/build/latest?{urlencode({'platform': platform})}"
        answer = self._http.get(url, deadline, follow=False)
        if answer.status == 404:
            raise BuildNotFound(f"{self._who} has no successful build of the job {job!r} for platform {platform!r}.")
        _unused, build_id = self._named_build(answer)
        return build_id

    def _by_id(self, job: str, build_id: str, platform: Optional[str], deadline: Deadline) -> Build:
        build = self._build(job, build_id, deadline)
        if platform and build.platform != platform:
            raise BuildNotFound(
                f"The build {build_id} of {self._who} is for the platform {build.platform!r}, not {platform!r}."
            )
        listed = self._listing(job, build.platform, deadline)
        binary = self._main_binary(job, build_id, listed, deadline)
        # The server answers any job's path with any build: only the listing tells whose build it is. It has one
        # entry per binary, so an older build with equal bytes is found by its hash instead of its id.
        if all(entry.sha256 != binary.sha256 for entry in listed):
            raise BuildNotFound(f"The build {build_id} of {self._who} is not a build of the job {job!r}.")
        return self._complete(job, build, build.platform, binary)

    def _by_sha256(self, sha256: str, lookup: Lookup, deadline: Deadline) -> Build:
        answer = self._http.get(f"{self._base}/hash?{urlencode({'sha256': sha256})}", deadline, follow=False)
        nothing = f"{self._who} has no build whose main binary has the SHA-256 {sha256}"
        if answer.status == 404:
            raise BuildNotFound(f"{nothing}.")
        found_job, build_id = self._named_build(answer)
        build = self._build(found_job, build_id, deadline)
        job = checked_job(lookup.job) if lookup.job is not None else found_job
        platform = lookup.platform or build.platform
        listed = self._listing(job, platform, deadline)
        if all(entry.sha256 != sha256 for entry in listed):
            where = f" of the job {job!r} for the platform {platform!r}"
            raise BuildNotFound(f"{nothing}{where}; another artifact, job or platform has those bytes.")
        # The answer names the newest build with any artifact of that content, not necessarily the main binary.
        binary = self._main_binary(job, build_id, listed, deadline)
        if binary.sha256 != sha256:
            raise BuildNotFound(f"{nothing}: in the build {build_id} another artifact has it.")
        return self._complete(job, build, platform, binary)

    def _build(self, job: str, build_id: str, deadline: Deadline) -> answers.BuildAnswer:
        url = self._build_url(job, build_id)
        answer = self._http.get(url, deadline)
        if answer.status == 404:
            raise BuildNotFound(f"{self._who} has no build {build_id} (job {job!r}).")
        build = self._read(answer, answers.build)
        if build.id != build_id:
            raise SourceError(f"{self._who} was asked for the build {build_id} and answered with {build.id}.")
        if not build.main_binary:
            raise BuildNotFound(
                f"The build {build_id} of the job {job!r} at {self._who} failed or has no single main binary: "
                "there is no image to run."
            )
        return build

    def _listing(self, job: str, platform: str, deadline: Deadline) -> tuple[answers.ListedBinary, ...]:
        answer = self._http.get(f"{self._job(job)}?{urlencode({'platform': platform})}", deadline)
        if answer.status == 404:
            raise BuildNotFound(f"{self._who} has no job {job!r}.")
        return self._read(answer, answers.listing)

    def _main_binary(
        self, job: str, build_id: str, listed: tuple[answers.ListedBinary, ...], deadline: Deadline
    ) -> answers.ListedBinary:
        """Name, hash and size of a build's main binary: from the listing, if the file itself agrees, else from the
        file's headers. Never downloads it."""
        for entry in listed:
            if entry.id == build_id and self._file_has(job, entry, deadline):
                return entry
        answer = self._http.get(f"{self._build_url(job, build_id)}/main-binary", deadline, follow=False)
        if answer.status == 404:
            raise BuildNotFound(f"The build {build_id} of the job {job!r} at {self._who} has no main binary.")
        path = urlsplit(redirect_target(answer)).path.split("/")
        if path[-3:-1] != ["f", "bin"]:
            raise SourceError(f"{self._who} does not say where the main binary of the build {build_id} is.")
        filename = self._checked(lambda: answers.file_name(unquote(path[-1]), f"the build {build_id}"))
        file = self._http.get(self._file(job, build_id, filename), deadline, accept="*/*", with_body=False)
        if file.status != 200:
            raise SourceError(f"{self._who} lists the build {build_id}, but not its file (status {file.status}).")
        size = file.headers.get("content-length", "")
        if not size.isdigit():
            raise SourceError(f"{self._who} does not tell the size of the file of the build {build_id}.")
        return answers.ListedBinary(build_id, filename, self._hash_of(file, build_id), int(size))

    def _file_has(self, job: str, entry: answers.ListedBinary, deadline: Deadline) -> bool:
        """Whether that build's ``bin/<filename>`` has that hash, which the server says without sending it."""
        # The bare base64 form: the quoted one of the RFC never matches here.
        tag = base64.b64encode(bytes.fromhex(entry.sha256)).decode("ascii")
        url = self._file(job, entry.id, entry.filename)
        answer = self._http.get(url, deadline, accept="*/*", headers={"If-None-Match": tag}, with_body=False)
        return answer.status == 304

    def _hash_of(self, file: Answer, build_id: str) -> str:
        try:
            digest = base64.b64decode(file.headers.get("etag", ""), validate=True)
        except (binascii.Error, ValueError):
            digest = b""
        if len(digest) != 32:
            raise SourceError(f"{self._who} does not tell the hash of the file of the build {build_id}.")
        return digest.hex()

    def _complete(self, job: str, build: answers.BuildAnswer, platform: str, binary: answers.ListedBinary) -> Build:
        return Build(
            source=self._name,
            job=job,
            id=build.id,
            platform=platform,
            sha256=binary.sha256,
            size=binary.size,
            filename=binary.filename,
            location=self._file(job, build.id, binary.filename),
            started_at=build.started_at,
            finished_at=build.finished_at,
            abi=build.abi,
            devices=build.devices,
        )

    # --- comparing ----------------------------------------------------------------------------

    def compare(self, old: Build, new: Build) -> ComparisonAnswer:
        """See Source.compare: every trouble becomes a state."""
        if old.sha256 == new.sha256:
            return ComparisonAnswer(ComparisonState.SAME, reason="Both builds have the same image.")
        if not answers.is_uuid(old.id) or not answers.is_uuid(new.id):
            return ComparisonAnswer(ComparisonState.UNAVAILABLE, reason="One of the builds has no id at this source.")
        ids = old.id.lower(), new.id.lower()
        try:
            answer = self._http.get(f"{self._base}/compare/{ids[0]}/{ids[1]}", self._http.deadline())
            if answer.status == 404:
                return ComparisonAnswer(
                    ComparisonState.UNAVAILABLE,
                    reason=f"{self._who} lacks one of the builds, or the inputs that it was built from.",
                )
            comparison = self._read(answer, lambda data: answers.comparison(data, *ids))
        except ServerFault as fault:
            # An exception while comparing has the form of a page, as that of an overloaded server has.
            if fault.media_type == "text/html" and not was_overloaded(fault):
                reason = f"{self._who} fails to compare the two: the packages of one may not be readable for it."
                return ComparisonAnswer(ComparisonState.UNAVAILABLE, reason=reason)
            return ComparisonAnswer(ComparisonState.UNKNOWN, reason=str(fault))
        except SourceError as error:
            return ComparisonAnswer(ComparisonState.UNKNOWN, reason=str(error))
        return ComparisonAnswer(ComparisonState.AVAILABLE, comparison)

    # --- small pieces -------------------------------------------------------------------------

    @property
    def _who(self) -> str:
        return f"The source {self._name!r}"

    def _job(self, job: str) -> str:
        return f"{self._base}/job/{quote(job, safe='')}"

    def _build_url(self, job: str, build_id: str) -> str:
        return f"{self._job(job)}/build/{build_id}"

    def _file(self, job: str, build_id: str, filename: str) -> str:
        return f"{self._build_url(job, build_id)}/f/bin/{quote(filename, safe='')}"

    def _named_build(self, answer: Answer) -> tuple[str, str]:
        """Job and id out of a redirect to ``/job/J/build/U``; its host does not matter, only its path is used."""
        if answer.status in (301, 302, 303, 307, 308):
            path = urlsplit(redirect_target(answer)).path.split("/")
            if len(path) >= 4 and path[-4] == "job" and path[-2] == "build" and answers.is_uuid(path[-1]):
                with suppress(InvalidDeclaration):
                    return checked_job(unquote(path[-3])), path[-1].lower()
        raise SourceError(
            f"{self._who} did not lead to a build (status {answer.status}): is {self._base} a builder-web server?"
        )

    def _read(self, answer: Answer, read: Callable[[object], T]) -> T:
        if answer.status != 200:
            raise SourceError(f"{self._who} answered {urlsplit(answer.url).path} with status {answer.status}.")
        return self._checked(lambda: read(answers.parsed_json(answer.body, answer.media_type)))

    def _checked(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except answers.Misshapen as error:
            raise SourceError(
                f"{self._who} did not answer as a builder-web server does: {error}. Check its URL ({self._base})."
            ) from None


def was_overloaded(fault: ServerFault) -> bool:
    """Whether the server found no processor for the request, so that it did nothing. With its default settings on two
    processors that is every second request."""
    return b"No_domain_available" in fault.body


def checked_job(job: Optional[str]) -> str:
    """A job's name if it can stand in a path of builder-web, else InvalidDeclaration."""
    if not job:
        raise InvalidDeclaration("A look-up at builder-web needs the name of a job, unless it is by sha256.")
    if job in (".", "..") or "/" in job or not job.isprintable() or len(job) > 200:
        raise InvalidDeclaration(f"{job[:80]!r} is no name of a job at builder-web.")
    return job
