# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many look-ups at once, uploads, and what the two modules make of their options."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Optional

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.build_info import look_up_builds
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.build_publish import publish_build
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import (
    BuildNotFound,
    InvalidDeclaration,
    SourceError,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import Build
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.sources.http_client import NoAnswer
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.sources.lookups import (
    UNANSWERED,
    Question,
    Verdict,
    look_up,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.sources.protocol import (
    Comparison,
    ComparisonAnswer,
    ComparisonState,
    Lookup,
    SourceOptions,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.sources.registry import open_source
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.sources.uploading import upload
from ansible_collections.unikernel.fleet.tests.support.builder_web import BuilderWebDouble
from ansible_collections.unikernel.fleet.tests.support.builder_web_recorded import new_inputs, old_inputs


def build(name: str, sha256: str) -> Build:
    return Build("s", name, f"id of {name}", "p", sha256, 1, name, f"/{name}")


class Told:
    """A source that answers from a table, and counts what it is asked."""

    def __init__(self, builds: dict[str, Any]) -> None:
        self._builds = builds
        self._lock = threading.Lock()
        self.asked: list[Lookup] = []
        self.compared = 0
        self.before: Optional[Callable[[], object]] = None

    def find(self, lookup: Lookup) -> Build:
        with self._lock:
            self.asked.append(lookup)
        if self.before:
            self.before()
        found = self._builds.get(lookup.sha256 or lookup.job or "", BuildNotFound("no such build"))
        if isinstance(found, Exception):
            raise found
        assert isinstance(found, Build)
        return found

    def compare(self, old: Build, new: Build) -> ComparisonAnswer:
        with self._lock:
            self.compared += 1
        return ComparisonAnswer(ComparisonState.AVAILABLE, Comparison(old.id, new.id))


OLD, NEW = "0" * 64, "1" * 64


def question(key: str, job: str, running: Optional[str] = None, compare: bool = True) -> Question:
    return Question(key, "s", Lookup(job=job, platform="p"), running, compare)


def test_one_look_up_that_fails_does_not_disturb_the_others() -> None:
    source = Told({"a": build("a", NEW), "b": SourceError("no answer"), "c": RuntimeError("a fault of ours")})
    answers = look_up({"s": source}, [question(job, job) for job in ("a", "b", "c", "d")])
    assert {key: answer.verdict for key, answer in answers.items()} == {
        "a": Verdict.FOUND,
        "b": Verdict.UNKNOWN,
        "c": Verdict.UNKNOWN,
        "d": Verdict.NOT_FOUND,
    }
    assert answers["b"].error == "no answer" and answers["b"].update_available is None


def test_equal_look_ups_and_comparisons_are_made_once() -> None:
    source = Told({"a": build("a", NEW), OLD: build("a", OLD)})
    answers = look_up({"s": source}, [question(str(n), "a", OLD) for n in range(50)])
    assert all(answer.comparison_state is ComparisonState.AVAILABLE for answer in answers.values())
    assert sorted(str(lookup.sha256) for lookup in source.asked) == [OLD, "None"]
    assert source.compared == 1


def test_look_ups_run_at_once_and_not_more_than_allowed() -> None:
    source = Told({str(n): build(str(n), NEW) for n in range(8)})
    together = threading.Barrier(4, timeout=10)
    source.before = together.wait
    answers = look_up({"s": source}, [question(str(n), str(n)) for n in range(8)], workers=4)
    assert {answer.verdict for answer in answers.values()} == {Verdict.FOUND}


@pytest.mark.parametrize(
    ("running", "compare", "update", "state"),
    [
        (None, True, None, ComparisonState.NOT_ASKED),
        (NEW, True, False, ComparisonState.SAME),
        (OLD, True, True, ComparisonState.AVAILABLE),
        (OLD, False, True, ComparisonState.NOT_ASKED),
        ("2" * 64, True, True, ComparisonState.UNAVAILABLE),
        ("3" * 64, True, True, ComparisonState.UNKNOWN),
    ],
)
def test_an_update_is_decided_by_the_hash_whatever_becomes_of_the_comparison(
    running: Optional[str], compare: bool, update: Optional[bool], state: ComparisonState
) -> None:
    source = Told({"a": build("a", NEW), OLD: build("a", OLD), "3" * 64: SourceError("no answer")})
    answer = look_up({"s": source}, [question("k", "a", running, compare)])["k"]
    assert (answer.update_available, answer.comparison_state) == (update, state)


def test_a_source_that_answers_nobody_is_not_asked_a_thousand_times() -> None:
    jobs = [str(n) for n in range(100)]
    silent = Told(dict.fromkeys(jobs, NoAnswer("silent for 15 s")))
    answers = look_up({"s": silent}, [question(job, job) for job in jobs], workers=1)
    assert {answer.verdict for answer in answers.values()} == {Verdict.UNKNOWN}
    assert len(silent.asked) == UNANSWERED
    assert "silent for 15 s" in str(answers["99"].error)


def test_a_source_that_answers_now_and_then_is_asked_to_the_end() -> None:
    jobs = [str(n) for n in range(20)]
    source = Told({job: NoAnswer("broke off") if int(job) % 3 else build(job, NEW) for job in jobs})
    look_up({"s": source}, [question(job, job) for job in jobs], workers=1)
    assert len(source.asked) == 20


def test_a_source_that_is_not_declared_and_a_hash_that_is_none_are_unknown() -> None:
    source = Told({"a": build("a", NEW)})
    answers = look_up({"s": source}, [Question("k", "other", Lookup(job="a")), question("l", "a", "no hash")])
    assert {answer.verdict for answer in answers.values()} == {Verdict.UNKNOWN}


def test_equal_keys_are_refused() -> None:
    with pytest.raises(InvalidDeclaration, match="same key: k"):
        look_up({}, [question("k", "a"), question("k", "b")])


def test_an_unknown_type_of_source_is_refused() -> None:
    with pytest.raises(InvalidDeclaration, match="builder_web, release_repository"):
        open_source(SourceOptions("s", "ftp", "x"))


# --- the modules' work --------------------------------------------------------------------------


@pytest.fixture
def web() -> Iterator[BuilderWebDouble]:
    with BuilderWebDouble() as double:
        yield double


def source_entry(web: BuilderWebDouble, **options: Any) -> dict[str, Any]:
    return {"name": "builds", "type": "builder_web", "url": web.url, "retries": 3, "timeout": 5.0, **options}


def test_build_info_looks_up_and_compares(web: BuilderWebDouble) -> None:
    old = web.add_build("web", b"old", inputs=old_inputs())
    web.add_build("web", b"new", inputs=new_inputs())
    running = hashlib.sha256(b"old").hexdigest()
    builds = [
        {"key": "www", "source": "builds", "job": "web", "platform": "debian-12", "running_sha256": running},
        {"key": "dns", "source": "builds", "job": "dns", "platform": "debian-12", "id": None},
        {"key": "ftp", "source": "broken", "job": "ftp", "platform": "debian-12"},
    ]
    broken = source_entry(web, name="broken", ca_path="/nowhere.pem", password="hush")
    result = look_up_builds({"sources": [source_entry(web), broken], "builds": builds, "compare": True, "workers": 4})
    assert result["changed"] is False
    www, dns, ftp = (result["builds"][key] for key in ("www", "dns", "ftp"))
    assert (www["verdict"], www["update_available"], www["comparison_state"]) == ("found", True, "available")
    assert www["comparison"]["old"] == old.uuid
    assert (dns["verdict"], dns["build"]) == ("not_found", None)
    assert ftp["verdict"] == "unknown" and "/nowhere.pem" in ftp["error"]


def test_build_info_refuses_a_look_up_at_a_source_that_is_not_given(web: BuilderWebDouble) -> None:
    builds = [{"key": "k", "source": "other"}]
    with pytest.raises(InvalidDeclaration, match="other"):
        look_up_builds({"sources": [source_entry(web)], "builds": builds, "compare": True, "workers": 4})


def image(folder: Path, content: bytes) -> Path:
    path = folder / "web.hvt"
    path.write_bytes(content)
    return path


def options(web: BuilderWebDouble, **changes: Any) -> SourceOptions:
    known = {"username": "lab", "password": "labpass", **changes}
    return SourceOptions("builds", "builder_web", web.url, **known)


def test_an_upload_makes_a_build_once(web: BuilderWebDouble, tmp_path: Path) -> None:
    path = image(tmp_path, b"binary")
    assert upload(options(web), "web", "debian-12", path, "web.hvt", check_mode=True) == (True, None)
    changed, first = upload(options(web), "web", "debian-12", path, "web.hvt")
    again, second = upload(options(web), "web", "debian-12", path, "web.hvt")
    assert (changed, again, len(web.builds)) == (True, False, 1)
    assert first == second and first is not None
    assert (first.id, first.filename) == (web.builds[0].uuid, "web.hvt")


def test_the_same_bytes_are_uploaded_for_another_platform(web: BuilderWebDouble, tmp_path: Path) -> None:
    path = image(tmp_path, b"binary")
    for platform in ("debian-12", "freebsd-14"):
        changed, build = upload(options(web), "web", platform, path, "web.hvt")
        assert changed and build is not None and build.platform == platform


def test_an_upload_to_a_server_that_fails_every_second_request_makes_one_build(
    web: BuilderWebDouble, tmp_path: Path
) -> None:
    web.overloaded_every = 2
    changed, build = upload(options(web), "web", "debian-12", image(tmp_path, b"binary"), "web.hvt")
    assert changed and build is not None and len(web.builds) == 1


def test_an_upload_with_wrong_credentials_or_a_bad_name_is_refused(web: BuilderWebDouble, tmp_path: Path) -> None:
    path = image(tmp_path, b"binary")
    with pytest.raises(SourceError, match="refused the credentials"):
        upload(options(web, password="wrong"), "web", "debian-12", path, "web.hvt")
    with pytest.raises(InvalidDeclaration, match="refuses the file name"):
        upload(options(web), "web", "debian-12", path, "../x")
    assert web.builds == []


def publish_options(source: dict[str, Any], image_path: Path, **changes: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(("filename", "id", "started_at", "finished_at", "inputs"))
    return {
        "source": source,
        "job": "web",
        "platform": "p",
        "path": str(image_path),
        "channels": [],
        **nothing,
    } | changes


def test_build_publish_puts_a_build_where_it_is_told(web: BuilderWebDouble, tmp_path: Path) -> None:
    path = image(tmp_path, b"binary")
    folder = {"name": "releases", "type": "release_repository", "url": str(tmp_path / "releases")}
    server = source_entry(web, username="lab", password="labpass")
    for source in (folder, server):
        given = publish_options(source, path)
        assert publish_build(given, check_mode=True)["changed"]
        first, again = publish_build(given, check_mode=False), publish_build(given, check_mode=False)
        assert (first["changed"], again["changed"]) == (True, False)
        assert first["build"] == again["build"]
        assert first["diff"]["before"]["build"] is None
        assert again["diff"]["before"] == again["diff"]["after"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"channels": ["beta"]}, "channels"),
        ({"inputs": {"opam_switch": "x"}}, "inputs"),
        ({"path": "/nowhere/x"}, "no image"),
    ],
)
def test_build_publish_refuses_what_builder_web_cannot_take(
    web: BuilderWebDouble, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    given = publish_options(source_entry(web), image(tmp_path, b"x"), **changes)
    with pytest.raises(InvalidDeclaration, match=said):
        publish_build(given, check_mode=False)
    assert web.asked == []


def test_build_publish_writes_to_no_repository_by_url(tmp_path: Path) -> None:
    source = {"name": "r", "type": "release_repository", "url": "https://releases.example.org"}
    with pytest.raises(InvalidDeclaration, match="by its path"):
        publish_build(publish_options(source, image(tmp_path, b"x")), check_mode=False)
