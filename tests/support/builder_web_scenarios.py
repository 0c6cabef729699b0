# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must hold of builder-web as a source, whichever server answers: the double, or a real one (tests/live)."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import BuildNotFound
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.sources.builder_web import BuilderWeb
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.sources.protocol import ComparisonState, Lookup


@dataclass(frozen=True)
class Place:
    """A server, and a job and platform of it that has successful builds."""

    source: BuilderWeb
    job: str
    platform: str


def the_latest_build_of_a_platform_is_complete_and_located_by_its_id(place: Place) -> None:
    build = place.source.find(Lookup(job=place.job, platform=place.platform))
    assert (build.job, build.platform) == (place.job, place.platform)
    assert build.size > 0
    assert build.location.endswith(f"/build/{build.id}/f/bin/{build.filename}")


def a_build_found_by_its_id_is_the_same(place: Place) -> None:
    latest = place.source.find(Lookup(job=place.job, platform=place.platform))
    assert place.source.find(Lookup(job=place.job, id=latest.id)) == latest


def a_build_found_by_its_sha256_has_it(place: Place) -> None:
    latest = place.source.find(Lookup(job=place.job, platform=place.platform))
    found = place.source.find(Lookup(sha256=latest.sha256.upper()))
    assert (found.sha256, found.size) == (latest.sha256, latest.size)


def the_bytes_at_the_location_are_those_promised(place: Place) -> None:
    latest = place.source.find(Lookup(job=place.job, platform=place.platform))
    content = downloaded(latest.location)
    assert (len(content), hashlib.sha256(content).hexdigest()) == (latest.size, latest.sha256)


def downloaded(url: str) -> bytes:
    for _unused in range(4):
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            # A server on two CPUs fails every second request.
            if error.code < 500:
                raise
    raise AssertionError(f"{url} fails again and again")


def what_does_not_exist_is_not_found(place: Place) -> None:
    for lookup in (
        Lookup(job="no-such-job", platform=place.platform),
        Lookup(job=place.job, platform="no-such-platform"),
        Lookup(job=place.job, id=str(uuid4())),
        Lookup(sha256=hashlib.sha256(uuid4().bytes).hexdigest()),
    ):
        with pytest.raises(BuildNotFound):
            place.source.find(lookup)


def an_id_under_the_name_of_another_job_is_not_found(place: Place) -> None:
    latest = place.source.find(Lookup(job=place.job, platform=place.platform))
    with pytest.raises(BuildNotFound):
        place.source.find(Lookup(job="no-such-job", id=latest.id))


def a_build_compared_with_itself_is_the_same(place: Place) -> None:
    latest = place.source.find(Lookup(job=place.job, platform=place.platform))
    assert place.source.compare(latest, latest).state is ComparisonState.SAME


SCENARIOS: tuple[Callable[[Place], None], ...] = (
    the_latest_build_of_a_platform_is_complete_and_located_by_its_id,
    a_build_found_by_its_id_is_the_same,
    a_build_found_by_its_sha256_has_it,
    the_bytes_at_the_location_are_those_promised,
    what_does_not_exist_is_not_found,
    an_id_under_the_name_of_another_job_is_not_found,
    a_build_compared_with_itself_is_the_same,
)
