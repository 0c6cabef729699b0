# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the controller does with a question before and after it asks the guard."""

from __future__ import annotations

from typing import Any, Optional

import pytest

pytestmark = pytest.mark.controller


class Hidden:
    """As ansible-core has it before 2.19."""

    __ENCRYPTED__ = True

    def __str__(self) -> str:
        return "plain"


def test_what_a_vault_hides_is_plain_before_it_is_validated() -> None:
    from ansible_collections.unikernel.fleet.plugins.plugin_utils.guard_first import without_vault

    given = {"secret_environment": {"KEY": Hidden()}, "secret_arguments": ["a", Hidden()], "memory_mib": 32}
    assert without_vault(given) == {
        "secret_environment": {"KEY": "plain"},
        "secret_arguments": ["a", "plain"],
        "memory_mib": 32,
    }


@pytest.mark.parametrize(
    "said, expected",
    [
        ({"changed": False, "shown": "--pin=84723911"}, {"changed": False, "shown": "--pin=********"}),
        ({"failed": True, "error": "MissingLibrary", "msg": "dnspython is needed"}, None),
        ({"failed": True, "error": "Held", "msg": "held"}, {"failed": True, "error": "Held", "msg": "held"}),
    ],
)
def test_an_answer_hides_secrets_and_what_is_missing_there_is_tried_elsewhere(
    monkeypatch: pytest.MonkeyPatch, said: dict[str, Any], expected: Optional[dict[str, Any]]
) -> None:
    import json

    from ansible_collections.unikernel.fleet.plugins.action.unikernel import ActionModule
    from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.by_guard import ANSWER

    class Task:
        check_mode = False

    action = ActionModule.__new__(ActionModule)
    action._task = Task()
    output = f"{ANSWER}{json.dumps(said)}"
    monkeypatch.setattr(action, "_is_pipelining_enabled", lambda style: True, raising=False)
    monkeypatch.setattr(action, "_compute_environment_string", lambda: "", raising=False)
    monkeypatch.setattr(
        action,
        "_low_level_execute_command",
        lambda command, in_data: {"rc": 0, "stdout": output, "stderr": ""},
        raising=False,
    )
    assert action._by_guard({"root": "/srv", "secret_environment": {"PIN": 84723911}}) == expected
