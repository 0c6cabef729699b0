# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module ``image``: the node's side of bringing one image, and of removing those that nothing needs."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Optional

from ..codec import encode
from ..errors import ImageError, ImageMissing, InvalidDeclaration
from ..images.download import DownloadOptions, Unreachable, download, shown
from ..images.inspection import check_image
from ..images.store import DEFAULT_GRACE_S, DEFAULT_MOST_BYTES, ImageStore
from ..images.verification import verified
from ..layout import NodeLayout
from ..model import Abi, Device, Image, checked_sha256
from ..releases.retention import marked_images
from . import options

ARGUMENTS = (
    options.ROOT,
    options.Option("state", default="present", choices=("present", "pruned")),
    options.Option("sha256"),
    options.Option("size", "int"),
    options.Option("url"),
    options.Option("src", "path"),
    options.Option("method", default="auto", choices=("auto", "node", "controller")),
    options.Option(
        "abi",
        "dict",
        options=(options.Option("target", required=True), options.Option("version", "int", required=True)),
    ),
    options.Option(
        "devices",
        "list",
        elements="dict",
        options=(options.Option("name", required=True), options.Option("type", required=True)),
    ),
    options.Option("url_username"),
    options.Option("url_password", secret=True),
    options.Option("ca_path", "path"),
    options.Option("validate_certs", "bool", default=True),
    options.Option("proxy"),
    options.Option("timeout", "float", default=15.0),
    options.Option("total_timeout", "float", default=600.0),
    options.Option("retries", "int", default=4),
    options.Option("max_bytes", "int", default=DEFAULT_MOST_BYTES),
    options.Option("grace", "float", default=DEFAULT_GRACE_S),
    options.Option("controller_cache", "path", default="~/.cache/unikernel-fleet"),
    options.Option("controller_ca_path", "path"),
    options.Option("controller_proxy"),
)

REQUIRED_IF = [["state", "present", ["sha256", "size"]]]


def bring_or_prune(parameters: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Carry out the module's ``state`` (or only say what would happen)."""
    layout = NodeLayout(Path(parameters["root"]))
    if parameters["state"] == "pruned":
        return _prune(layout, parameters["grace"], check_mode)
    return _bring(layout, parameters, check_mode)


def image_from(parameters: Mapping[str, Any]) -> Image:
    """The image that is meant; InvalidDeclaration when it cannot be one, ImageError when it is too large."""
    image = Image(sha256=checked_sha256(parameters["sha256"]), size=parameters["size"])
    if image.size < 1:
        raise InvalidDeclaration(f"The image {image.sha256} cannot have {image.size} bytes. Nothing was changed.")
    if image.size > parameters["max_bytes"]:
        raise ImageError(
            f"The image {image.sha256} has {image.size} bytes, and at most {parameters['max_bytes']} are allowed "
            "(max_bytes). Nothing was changed."
        )
    return image


def download_options(parameters: Mapping[str, Any], by_controller: bool) -> DownloadOptions:
    """How the url is reached: from the controller with its own proxy and CA, from the node with the node's."""
    ca_path = parameters["ca_path"]
    if by_controller:
        ca_path = parameters["controller_ca_path"] or ca_path
    # With a controller to fall back on, a node without a way out is not worth minutes of time-outs.
    impatient = not by_controller and parameters["method"] == "auto"
    return DownloadOptions(
        url=parameters["url"],
        username=parameters["url_username"],
        password=parameters["url_password"],
        ca_path=ca_path,
        validate_certs=parameters["validate_certs"],
        proxy=parameters["controller_proxy"] if by_controller else parameters["proxy"],
        timeout_s=parameters["timeout"],
        total_timeout_s=parameters["total_timeout"],
        retries=max(0, parameters["retries"]),
        connect_retries=0 if impatient else None,
    )


def is_http(url: str) -> bool:
    return url.lower().startswith(("http://", "https://"))


def _bring(layout: NodeLayout, parameters: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    image = image_from(parameters)
    store = ImageStore(layout)
    inspect = functools.partial(check_image, abi=_abi(parameters), devices=_devices(parameters))
    try:
        path = store.verify(image) if check_mode else store.claim(image)
    except ImageMissing:
        pass
    else:
        found = inspect(path)
        return {**_result(layout, image, "present"), "abi": encode(found[0]), "devices": encode(found[1])}
    how, source = _way(image, parameters)
    if how == "pushed":
        return {**_result(layout, image, how), "needs_push": True, "push_reason": source}
    if check_mode:
        if how == "copied":
            inspect(verified(Path(source), image))
        return _result(layout, image, how)
    most = parameters["max_bytes"]
    if how == "copied":
        store.add_file(Path(source), image, most, inspect)
    else:

        def receive(chunks: Iterator[bytes]) -> Image:
            return store.add_stream(chunks, image, most, inspect)

        try:
            download(download_options(parameters, by_controller=False), image, receive)
        except Unreachable as error:
            if parameters["method"] == "node":
                raise
            return {**_result(layout, image, "pushed"), "needs_push": True, "push_reason": str(error)}
    found = check_image(layout.image(image.sha256))
    return {**_result(layout, image, how), "abi": encode(found[0]), "devices": encode(found[1])}


def _way(image: Image, parameters: Mapping[str, Any]) -> tuple[str, str]:
    """How an image that is not there comes: ``copied`` and from where, ``fetched``, or ``pushed`` and why."""
    url, method = parameters["url"], parameters["method"]
    if parameters["src"]:
        return "copied", parameters["src"]
    if not url:
        raise ImageError(
            f"The image {image.sha256} is not on the node, and neither url nor src says where it is. Nothing was "
            "changed. Give one of them: url is what unikernel.fleet.build_info returns as location."
        )
    if method == "controller":
        return "pushed", "the controller is to bring it (method)"
    if is_http(url):
        return "fetched", url
    if method == "node":
        raise ImageError(
            f"{shown(url) if '://' in url else url} is no http(s) URL, so the node cannot fetch it (method: node). "
            "Nothing was changed. Give src for a file that is on the node already, or use method: auto."
        )
    return "pushed", "the file is on the controller"


def _result(layout: NodeLayout, image: Image, how: str) -> dict[str, Any]:
    path = str(layout.image(image.sha256))
    changed = how != "present"
    after = f"image: {image.sha256}\nsize: {image.size} bytes\n"
    return {
        "changed": changed,
        "sha256": image.sha256,
        "size": image.size,
        "path": path,
        "how": how,
        "bytes_transferred": image.size if changed else 0,
        "abi": None,
        "devices": None,
        "diff": {
            "before_header": path,
            "after_header": path,
            "before": "image: absent\n" if changed else after,
            "after": after,
        },
    }


def _prune(layout: NodeLayout, grace_s: float, check_mode: bool) -> dict[str, Any]:
    pruned = ImageStore(layout).prune(lambda: marked_images(layout), grace_s=max(0.0, grace_s), dry_run=check_mode)
    return {
        "changed": bool(pruned.removed),
        "removed": encode(pruned.removed),
        "kept": pruned.kept,
        "freed": pruned.freed,
        "diff": {
            "before_header": str(layout.images),
            "after_header": str(layout.images),
            "before": "".join(f"image: {image.sha256} ({image.size} bytes)\n" for image in pruned.removed),
            "after": "",
        },
    }


def _abi(parameters: Mapping[str, Any]) -> Optional[Abi]:
    abi = parameters["abi"]
    return None if abi is None else Abi(target=abi["target"], version=abi["version"])


def _devices(parameters: Mapping[str, Any]) -> Optional[tuple[Device, ...]]:
    devices = parameters["devices"]
    return None if devices is None else tuple(Device(name=item["name"], type=item["type"]) for item in devices)
