# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's side of the module ``image``: it downloads and pushes what the node cannot fetch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Optional
from urllib.parse import unquote, urlsplit

from ansible.errors import AnsibleActionFail

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.adapter.image import (
    ARGUMENTS,
    REQUIRED_IF,
    download_options,
    image_from,
    is_http,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import FleetError
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.images.cache import ImageCache
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.images.download import download
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.images.store import ImageStore
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.images.verification import verified
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import Image
from ansible_collections.unikernel.fleet.plugins.plugin_utils.guard_first import GuardFirstAction


class ActionModule(GuardFirstAction):
    """Asks the node first; most often the image is there already, or the node fetches it."""

    _supports_async = False

    module = "image"
    arguments = ARGUMENTS
    required_if = REQUIRED_IF

    def carried_out(self, parameters: Mapping[str, Any], task_vars: Optional[dict[str, Any]]) -> dict[str, Any]:
        source: dict[str, Any] = {}
        file = None if parameters["state"] == "pruned" else file_on_controller(parameters["url"])
        if file is not None and parameters["method"] == "auto" and self._is_here(file):
            source = {"src": parameters["src"] or str(file)}
        result = self._bring(parameters, source, task_vars)
        if not result.pop("needs_push", False) or self._task.check_mode:
            return result
        reason = result["push_reason"]
        try:
            image = image_from(parameters)
            path = verified(file, image) if file is not None else downloaded(parameters, image)
        except FleetError as error:
            msg = f"{error} (The controller tried, because: {reason})"
            return {"failed": True, "changed": False, "msg": msg, "error": type(error).__name__}
        return {**self._push(path, parameters, task_vars), "push_reason": reason}

    def _bring(
        self, parameters: Mapping[str, Any], source: Mapping[str, Any], task_vars: Optional[dict[str, Any]]
    ) -> dict[str, Any]:
        return self.answer({**parameters, **source}, {**self._task.args, **source}, task_vars)

    def _is_here(self, file: Path) -> bool:
        """Whether the node is this machine, so that the file need not be transferred."""
        return self._connection.transport == "local" and os.access(file, os.R_OK)

    def _push(self, path: Path, parameters: Mapping[str, Any], task_vars: Optional[dict[str, Any]]) -> dict[str, Any]:
        folder = self._connection._shell.tmpdir or self._make_tmp_path()
        there = self._connection._shell.join_path(folder, "image")
        self._transfer_file(str(path), there)
        # The module may run as another user than the one who transferred.
        self._fixup_perms2((folder, there))
        pushed = self._bring(parameters, {"src": there}, task_vars)
        if pushed.get("how") == "copied":
            pushed["how"] = "pushed"
        # ActionBase.cleanup removes the temporary folder, also after an error.
        return pushed


def file_on_controller(url: Optional[str]) -> Optional[Path]:
    """The file that a url without http means; None for http(s) and for nothing."""
    if not url or is_http(url):
        return None
    if url.startswith("/"):
        return Path(url)
    try:
        parts = urlsplit(url)
        if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path.startswith("/"):
            return Path(unquote(parts.path))
    except ValueError:
        pass
    raise AnsibleActionFail(f"url: {url!r} is neither an http(s) URL nor an absolute path. Nothing was changed.")


def downloaded(options: Mapping[str, Any], image: Image) -> Path:
    """The image from the controller's cache, downloaded if no other process has done so."""

    def bring(store: ImageStore) -> None:
        def receive(chunks: Iterator[bytes]) -> Image:
            return store.add_stream(chunks, image, options["max_bytes"])

        download(download_options(options, by_controller=True), image, receive)

    cache = ImageCache(Path(os.path.expanduser(options["controller_cache"])))
    return cache.obtain(image, bring, wait_s=options["total_timeout"])
