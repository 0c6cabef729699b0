# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ``build_info`` does with its options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..codec import encode
from ..errors import InvalidDeclaration
from ..sources.lookups import Question, look_up
from ..sources.protocol import Lookup
from ..sources.registry import open_sources
from .options import Option, specs
from .source import SOURCE

ARGUMENTS = (
    Option("sources", "list", elements="dict", options=SOURCE, required=True),
    Option(
        "builds",
        "list",
        elements="dict",
        required=True,
        options=(
            Option("key", required=True),
            Option("source", required=True),
            Option("job"),
            Option("platform"),
            Option("id"),
            Option("sha256"),
            Option("channel"),
            Option("running_sha256"),
        ),
    ),
    Option("compare", "bool", default=True),
    Option("workers", "int", default=8),
)


def argument_spec() -> dict[str, Any]:
    """Of the module. A look-up's key is a name and no secret, which has to be said of an option called so."""
    spec = specs(ARGUMENTS)
    spec["builds"]["options"]["key"]["no_log"] = False
    return spec


def look_up_builds(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The module's result. Only options that cannot be meant fail it; trouble with a source is in the answers."""
    sources = open_sources(parameters["sources"])
    questions = [_question(build, parameters["compare"]) for build in parameters["builds"]]
    unknown = sorted({question.source for question in questions} - set(sources))
    if unknown:
        raise InvalidDeclaration(
            f"The look-ups name the sources {', '.join(unknown)}, and 'sources' has only: "
            f"{', '.join(sorted(sources)) or 'none'}. Nothing was asked."
        )
    answers = look_up(sources, questions, parameters["workers"])
    return {"changed": False, "builds": {key: encode(answer) for key, answer in answers.items()}}


def _question(build: Mapping[str, Any], compare: bool) -> Question:
    lookup = Lookup(**{name: build.get(name) or None for name in ("job", "platform", "id", "sha256", "channel")})
    return Question(build["key"], build["source"], lookup, build.get("running_sha256") or None, compare)
