# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""builder-web as a source, against its double."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import (
    BuildNotFound,
    InvalidDeclaration,
    SourceError,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import Abi, Build, Device
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.sources import builder_web_answers, comparison
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.sources.builder_web import BuilderWeb
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.sources.protocol import (
    ComparisonState,
    Lookup,
    NameAndVersion,
    SourceOptions,
    VersionChange,
)
from ansible_collections.unikernel.fleet.tests.support.builder_web import BuilderWebDouble
from ansible_collections.unikernel.fleet.tests.support.builder_web_parts.builds import Artifact
from ansible_collections.unikernel.fleet.tests.support.builder_web_parts.captured import captured
from ansible_collections.unikernel.fleet.tests.support.builder_web_recorded import (
    V1,
    V2,
    build_id,
    fill,
    new_inputs,
    old_inputs,
)
from ansible_collections.unikernel.fleet.tests.support.builder_web_scenarios import SCENARIOS, Place

LATEST = Lookup(job="web", platform="debian-12")


@pytest.fixture
def web() -> Iterator[BuilderWebDouble]:
    with BuilderWebDouble() as double:
        yield double


def source(web: BuilderWebDouble, **options: object) -> BuilderWeb:
    return BuilderWeb(
        SourceOptions("builds", "builder_web", web.url, **{"retries": 2, "total_timeout_s": 20.0, **options})
    )


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
@pytest.mark.parametrize("overloaded_every", [0, 2])
def test_the_scenarios_shared_with_a_real_server(
    web: BuilderWebDouble, scenario: Callable[[Place], None], overloaded_every: int
) -> None:
    web.add_build("web", b"first", inputs=old_inputs())
    web.add_build("web", b"other platform", platform="freebsd-14")
    web.add_build("web", b"second" * 5000, inputs=new_inputs())
    web.add_build("web", b"third", platform="freebsd-14")
    web.overloaded_every = overloaded_every
    scenario(Place(source(web), "web", "debian-12"))


def test_the_latest_of_a_platform_is_not_the_latest_of_all(web: BuilderWebDouble) -> None:
    web.add_build("web", b"ours", solo5_target="hvt", devices=(("service", "NET_BASIC"),))
    web.add_build("web", b"theirs", platform="freebsd-14")
    build = source(web).find(LATEST)
    assert (build.sha256, build.size, build.filename) == (digest(b"ours"), 4, "web.hvt")
    assert (build.abi, build.devices) == (Abi("hvt", 2), (Device("service", "NET_BASIC"),))


def test_the_latest_without_a_platform_is_refused_before_anything_is_asked(web: BuilderWebDouble) -> None:
    with pytest.raises(InvalidDeclaration, match="platform"):
        source(web).find(Lookup(job="web"))
    assert web.asked == []


def test_nothing_is_located_by_latest(web: BuilderWebDouble) -> None:
    build = source(web).find(Lookup(job="web", id=web.add_build("web", b"x").uuid))
    assert "latest" not in build.location
    assert build.location.startswith(f"{web.url}/job/web/build/{build.id}/f/bin/")


def test_a_failed_build_is_not_found_with_a_reason(web: BuilderWebDouble) -> None:
    failed = web.add_build("web", exit_status=2)
    with pytest.raises(BuildNotFound, match="no single main binary"):
        source(web).find(Lookup(job="web", id=failed.uuid))


def test_a_build_of_another_job_is_not_found_although_the_server_echoes_the_job(web: BuilderWebDouble) -> None:
    web.add_build("web", b"ours")
    theirs = web.add_build("dns", b"theirs")
    with pytest.raises(BuildNotFound, match="not a build of the job 'web'"):
        source(web).find(Lookup(job="web", id=theirs.uuid))


def test_a_build_of_another_platform_is_not_found(web: BuilderWebDouble) -> None:
    build = web.add_build("web", b"x", platform="freebsd-14")
    with pytest.raises(BuildNotFound, match="freebsd-14"):
        source(web).find(Lookup(job="web", id=build.uuid, platform="debian-12"))


def test_an_older_build_with_equal_bytes_gets_its_hash_from_the_file(web: BuilderWebDouble) -> None:
    older = web.add_build("web", b"same", filename="older.hvt")
    web.add_build("web", b"same", filename="newer.hvt")
    build = source(web).find(Lookup(job="web", id=older.uuid))
    assert (build.id, build.sha256, build.size, build.filename) == (older.uuid, digest(b"same"), 4, "older.hvt")


def test_a_listing_that_names_another_jobs_build_does_not_mislead(web: BuilderWebDouble) -> None:
    ours = web.add_build("web", b"same", filename="web.hvt")
    web.add_build("copy", b"same", filename="copy.hvt")
    build = source(web).find(LATEST)
    assert (build.id, build.filename, build.sha256) == (ours.uuid, "web.hvt", digest(b"same"))


def test_a_listing_that_takes_a_side_file_for_the_main_binary_does_not_mislead(web: BuilderWebDouble) -> None:
    web.add_build("web", b"old")
    new = web.add_build("web", b"new", artifacts={"previous/web.hvt": Artifact.of(b"old")})
    web.add_build("copy", b"new", filename="copy.hvt")
    # Now the job lists the new build with the old binary's hash, and the new hash with another job's build.
    build = source(web).find(LATEST)
    assert (build.id, build.sha256, build.filename) == (new.uuid, digest(b"new"), "web.hvt")


def test_no_file_is_downloaded_to_learn_its_hash(web: BuilderWebDouble) -> None:
    older = web.add_build("web", b"x" * 50_000_000)
    web.add_build("web", b"x" * 50_000_000)
    assert source(web).find(Lookup(job="web", id=older.uuid)).size == 50_000_000


def test_a_hash_of_something_else_than_the_main_binary_is_not_found(web: BuilderWebDouble) -> None:
    web.add_build("web", b"binary", artifacts={"web.debug": Artifact.of(b"debug")})
    with pytest.raises(BuildNotFound, match="main binary"):
        source(web).find(Lookup(sha256=digest(b"debug")))


def test_a_hash_whose_newest_build_is_another_jobs_is_found_for_ours(web: BuilderWebDouble) -> None:
    web.add_build("web", b"same")
    web.add_build("copy", b"same")
    assert source(web).find(Lookup(job="web", sha256=digest(b"same"))).job == "web"
    assert source(web).find(Lookup(sha256=digest(b"same"))).job == "copy"
    with pytest.raises(BuildNotFound):
        source(web).find(Lookup(job="dns", sha256=digest(b"same")))


@pytest.mark.parametrize(
    "lookup",
    [
        Lookup(job="../x", platform="p"),
        Lookup(job="..", platform="p"),
        Lookup(job="", platform="p"),
        Lookup(job="a\nb", platform="p"),
        Lookup(job="web", id="latest"),
        Lookup(job="web", sha256="12"),
        Lookup(job="web", platform="p", channel="beta"),
        Lookup(id=build_id(1), sha256=V1, job="web"),
    ],
)
def test_a_look_up_that_cannot_be_meant_is_refused_without_asking(web: BuilderWebDouble, lookup: Lookup) -> None:
    with pytest.raises(InvalidDeclaration):
        source(web).find(lookup)
    assert web.asked == []


def test_a_job_with_odd_characters_is_encoded(web: BuilderWebDouble) -> None:
    web.add_build("web server+x", b"x")
    build = source(web).find(Lookup(job="web server+x", platform="debian-12"))
    assert "/job/web%20server%2Bx/build/" in build.location


# --- what goes wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("text_500", "status 500 and said 'Internal server error'"),
        ("html_500", "status 500"),
        ("garbage_json", "did not lead to a build"),
        ("redirect_loop", "did not lead to a build"),
        ("short_body", "broke off|cut short"),
        ("dropped", "cannot be reached or broke off"),
    ],
)
def test_trouble_is_unknown_and_never_not_found(web: BuilderWebDouble, fault: str, said: str) -> None:
    web.add_build("web", b"x")
    web.break_down(fault)
    with pytest.raises(SourceError, match=said) as caught:
        source(web, retries=1).find(LATEST)
    assert not isinstance(caught.value, BuildNotFound)
    assert "<" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize("fault", ["garbage_json", "endless_body", "slow_body", "slow_headers", "redirect_loop"])
def test_an_answer_without_end_or_sense_is_bounded(web: BuilderWebDouble, fault: str) -> None:
    build = web.add_build("web", b"x")
    web.break_down(fault)
    with pytest.raises(SourceError) as caught:
        source(web, total_timeout_s=0.6).find(Lookup(job="web", id=build.uuid))
    assert not isinstance(caught.value, BuildNotFound)


def test_a_404_as_a_page_is_not_found_and_the_page_is_not_shown(web: BuilderWebDouble) -> None:
    web.add_build("web", b"x")
    web.break_down("html_404")
    with pytest.raises(BuildNotFound) as caught:
        source(web).find(LATEST)
    assert "<" not in str(caught.value)


def test_a_server_that_fails_every_second_request_is_found_out_in_the_end(web: BuilderWebDouble) -> None:
    web.add_build("web", b"x")
    web.overloaded_every = 2
    assert source(web).find(LATEST).sha256 == digest(b"x")


def test_a_server_of_another_kind_is_named_as_such(web: BuilderWebDouble) -> None:
    build = web.add_build("web", b"x")
    web.break_down("garbage_json")
    with pytest.raises(SourceError, match="did not answer as a builder-web server does"):
        source(web).find(Lookup(job="web", id=build.uuid))


def test_nobody_at_the_port_is_unknown() -> None:
    with BuilderWebDouble() as gone:
        url = gone.url
    with pytest.raises(SourceError, match="cannot be reached"):
        BuilderWeb(SourceOptions("builds", "builder_web", url, retries=0)).find(LATEST)


# --- shapes -------------------------------------------------------------------------------------

GOOD = json.loads(captured("36-build-json.txt")[0][2])


@pytest.mark.parametrize(
    "change",
    [
        {"uuid": "../../etc"},
        {"uuid": None},
        {"platform": 5},
        {"start_time": "yesterday"},
        {"main_binary": "true"},
        {"solo5_abi": {"target": "hvt"}},
        {"solo5_abi": {"target": "hvt", "version": True}},
        {"solo5_manifest": {"devices": [{"name": "x"}]}},
        {"solo5_manifest": []},
    ],
)
def test_a_build_of_another_shape_is_refused(change: dict[str, object]) -> None:
    assert builder_web_answers.build(GOOD).main_binary
    with pytest.raises(SourceError):
        builder_web_answers.build({**GOOD, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": "zz"},
        {"sha256": V1[:-1]},
        {"size": -1},
        {"size": "5"},
        {"size": True},
        {"filename": "../x"},
        {"filename": ".."},
        {"filename": "a\x00b"},
        {"filename": ""},
    ],
)
def test_a_listing_of_another_shape_is_refused(change: dict[str, object]) -> None:
    listed = json.loads(captured("10-job-json.txt")[0][2])
    assert len(builder_web_answers.listing(listed)) == 3
    listed["builds"][0]["main_binary"].update(change)
    with pytest.raises(SourceError):
        builder_web_answers.listing(listed)


# --- comparing ----------------------------------------------------------------------------------


def build(number: int, sha256: str) -> Build:
    return Build("builds", "hello", build_id(number), "debian-12", sha256, 131544, "hello.hvt", "http://x/")


def test_the_swapped_labels_of_the_recorded_comparison_are_undone(web: BuilderWebDouble) -> None:
    answer = source(fill(web)).compare(build(1, V1), build(2, V2))
    assert answer.state is ComparisonState.AVAILABLE and answer.comparison is not None
    found = answer.comparison
    assert found.environment.added == (NameAndVersion("ADDED_VAR", "2"),)
    assert found.environment.removed == (NameAndVersion("REMOVED_VAR", "1"),)
    assert found.environment.changed == (VersionChange("SOURCE_DATE_EPOCH", "1700000000", "1710000000"),)
    assert found.system_packages.added == (NameAndVersion("libfoo-dev", "1.2"),)
    assert found.system_packages.removed == (NameAndVersion("libseccomp-dev", "2.5.4-1"),)
    assert found.packages.added == (NameAndVersion("ohex", "0.2.0"),)
    assert found.source_trees.added == (NameAndVersion("ethernet", "https://example.org/ethernet-3.2.0.tbz"),)
    assert found.source_trees.removed == (NameAndVersion("arp", "https://example.org/arp-4.0.0.tbz"),)
    assert found.source_trees.changed == ("tcpip",)
    assert [change.package for change in found.opam_files] == ["hello.dev", "tls.2.0.1"]
    assert (found.size_before, found.size_after) == (131544, 131544)


def test_what_is_computed_from_the_inputs_is_what_the_recorded_comparison_says() -> None:
    recorded = json.loads(captured("84-compare-json.txt")[0][2])
    theirs = builder_web_answers.comparison(recorded, build_id(1), build_id(2))
    old, new = (comparison.Inputs(*inputs.values()) for inputs in (old_inputs(), new_inputs()))
    assert comparison.compare(build_id(1), old, build_id(2), new, (131544, 131544)) == theirs


def test_duniverse_trouble_of_the_server_is_kept_as_text() -> None:
    recorded = json.loads(captured("84-compare-json.txt")[0][2])
    recorded["opam_diff"]["duniverse_diff"] = "couldn't decode hashes"
    found = builder_web_answers.comparison(recorded, build_id(1), build_id(2))
    assert found.source_trees.error == "couldn't decode hashes"


def test_equal_images_are_the_same_without_asking(web: BuilderWebDouble) -> None:
    assert source(web).compare(build(2, V2), build(5, V2)).state is ComparisonState.SAME
    assert web.asked == []


def test_a_build_uploaded_by_hand_cannot_be_compared(web: BuilderWebDouble) -> None:
    old, new = web.add_build("web", b"old"), web.add_build("web", b"new")
    found = [source(web).find(Lookup(job="web", id=b.uuid)) for b in (old, new)]
    answer = source(web).compare(*found)
    assert answer.state is ComparisonState.UNAVAILABLE and "inputs" in answer.reason


def test_an_opam_switch_that_the_server_cannot_read_makes_it_unavailable(web: BuilderWebDouble) -> None:
    answer = source(fill(web)).compare(build(2, V2), build(31, V1))
    assert answer.state is ComparisonState.UNAVAILABLE and "<" not in answer.reason


@pytest.mark.parametrize("fault", ["text_500", "dropped", "garbage_json", "short_body", "redirect_loop"])
def test_trouble_while_comparing_is_unknown(web: BuilderWebDouble, fault: str) -> None:
    web.break_down(fault)
    assert source(web, retries=1).compare(build(1, V1), build(2, V2)).state is ComparisonState.UNKNOWN


def test_an_overloaded_server_leaves_the_comparison_unknown(web: BuilderWebDouble) -> None:
    web.overloaded_every = 1
    answer = source(fill(web), retries=1).compare(build(1, V1), build(2, V2))
    assert answer.state is ComparisonState.UNKNOWN


def test_credentials_go_to_the_server_and_its_hash_tag_is_the_bare_base64_form(web: BuilderWebDouble) -> None:
    web.add_build("web", b"x")
    source(web, username="lab", password="p\u00e4ss").find(LATEST)
    expected = "Basic " + base64.b64encode("lab:p\u00e4ss".encode()).decode()
    assert {asked.headers.get("authorization") for asked in web.asked} == {expected}
    tags = [asked.headers["if-none-match"] for asked in web.asked if "if-none-match" in asked.headers]
    assert tags == [base64.b64encode(bytes.fromhex(digest(b"x"))).decode()]
