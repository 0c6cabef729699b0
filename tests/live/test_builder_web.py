# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The scenarios of builder-web against a real server: ``BUILDER_WEB_URL``, and if need be ``BUILDER_WEB_JOB``."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.sources.builder_web import BuilderWeb
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.sources.protocol import SourceOptions
from ansible_collections.unikernel.fleet.tests.support.builder_web_scenarios import SCENARIOS, Place

URL = os.environ.get("BUILDER_WEB_URL", "").rstrip("/")
pytestmark = pytest.mark.skipif(not URL, reason="BUILDER_WEB_URL does not name a real builder-web server")


def asked(path: str) -> Any:
    request = urllib.request.Request(URL + path, headers={"Accept": "application/json"})
    for _unused in range(4):
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise
    raise AssertionError(f"{URL}{path} fails again and again")


@pytest.fixture(scope="module")
def place() -> Place:
    wanted = os.environ.get("BUILDER_WEB_JOB")
    jobs = asked("/all-builds")["jobs"]
    job = next(job for job in jobs if job.get("latest") and wanted in (None, job["name"]))
    build = asked(f"/job/{job['name']}/build/{job['latest']['uuid']}")
    return Place(BuilderWeb(SourceOptions("live", "builder_web", URL)), job["name"], build["platform"])


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_real_server(scenario: Callable[[Place], None], place: Place) -> None:
    scenario(place)
