# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The builds that the recorded builder-web held, put into the double as far as the recordings tell them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from ansible_collections.unikernel.fleet.tests.support.builder_web import INPUTS, BuilderWebDouble
from ansible_collections.unikernel.fleet.tests.support.builder_web_parts.builds import Artifact
from ansible_collections.unikernel.fleet.tests.support.builder_web_parts.captured import captured

RECORDED_AT = datetime(2026, 11, 22, 3, 38, 44, tzinfo=timezone.utc)
V1 = "eeeabc3de98e319f2b43f6d61f2136b5e6b014d00bd8744e85f5ba6e36ed4862"
V2 = "37749daa07b07d5de95856055257c5f232e9dfc0899609b92df946642887d604"
V6 = "b1bf2f687fd9ab5439d11e2249e4a1287ef8acb412f64455a166dda7e804c077"
DEBUG = "e8b1fc0498e39787448ee04d660dd9a47c8b89253e1a8638c97a5fc2224382bf"
SERVICE = (("service", "NET_BASIC"),)
CONSOLE = "0.012s:Initialising\n12.500s:[hello] installed\n64.900s:done\n"
SCRIPT = "#!/bin/sh\nopam install hello\n"


def build_id(number: int) -> str:
    return f"{number:08d}-0000-4000-8000-{number:012d}"


def new_inputs() -> dict[str, str]:
    """What build 2 was made from, as recorded."""
    names = ("61-file-opam-switch.txt", "62-file-build-environment.txt", "63-file-system-packages.txt")
    return {key: captured(name)[0][2].decode("utf-8") for key, name in zip(INPUTS, names)}


def old_inputs() -> dict[str, str]:
    """What build 1 was made from: not recorded, so put together from the recorded comparison of the two."""
    new = new_inputs()
    switch = new["opam-switch"]
    for after, before in (
        ('  "ohex.0.2.0"\n', ""),
        ("mirage-crypto.2.0.2", "mirage-crypto.2.0.0"),
        ('version: "2.0.2"', 'version: "2.0.0"'),
        (' "ohex" ]', " ]"),
        ('depends: [ "ohex" {>= "0.2.0"} ]\n', ""),
        ("tcpip-9.0.1", "tcpip-9.0.0"),
        ("c" * 64, "a" * 64),
        ("ethernet-3.2.0", "arp-4.0.0"),
        ('"ethernet"', '"arp"'),
        ("d" * 64, "b" * 64),
        (switch[switch.index('package "ohex"') :], ""),
    ):
        assert after in switch, after
        switch = switch.replace(after, before)
    environment = new["build-environment"].replace("ADDED_VAR=2", "REMOVED_VAR=1").replace("1710000000", "1700000000")
    packages = new["system-packages"].replace("libfoo-dev=1.2", "libseccomp-dev=2.5.4-1").replace("+deb12u1", "")
    return dict(zip(INPUTS, (switch, environment, packages)))


def fill(web: BuilderWebDouble) -> BuilderWebDouble:
    """Everything that the recordings show."""
    web.now = lambda: RECORDED_AT
    web.users = {"lab": ("labpass", None), "restricted": ("restrictedpass", frozenset({"hello"}))}
    web.synopses = {
        "hello": "Says hello over HTTP",
        "odd": "Says hello over HTTP",
        "oldie": "Not built lately",
        "tool": "A tool",
    }
    web.sections = {"tool": "Packages"}
    old, new = old_inputs(), new_inputs()
    v1, v2, v6 = Artifact.recorded(V1, 131544), Artifact.recorded(V2, 131544), Artifact.recorded(V6, 127448)
    debug = Artifact.recorded(DEBUG, 38)

    def hello(number: int, hours_ago: float, platform: str, artifacts: dict[str, Artifact], **kwargs: object) -> None:
        web.add_build(
            "hello",
            platform=platform,
            uuid=build_id(number),
            artifacts=artifacts,
            started=RECORDED_AT - timedelta(hours=hours_ago),
            solo5_target="hvt" if artifacts else None,
            devices=SERVICE,
            script=SCRIPT,
            console=CONSOLE,
            **kwargs,
        )

    hello(1, 120, "debian-12", {"bin/hello.hvt": v1}, inputs=old)
    hello(2, 48, "debian-12", {"bin/hello.hvt": v2, "hello.hvt.debug": debug}, inputs=new)
    hello(3, 24, "freebsd-14", {"bin/hello.hvt": v6}, inputs=new)
    hello(4, 12, "debian-12", {}, exit_status=2)
    hello(5, 6, "debian-12", {"bin/hello.hvt": v2}, inputs=new)
    hello(6, 3, "freebsd-14", {"bin/hello.hvt": v6}, inputs=new, exit_status=1)
    hello(7, 2, "freebsd-14", {})

    tool = Artifact.recorded("c10112cff1b22e0f554643f0bfa74bfb0c12629552844f5414ea5dcd3b2ff18c", 22)
    for number, files in ((11, {"bin/tool": tool}), (12, {"bin/a": Artifact.of(b"a"), "bin/b": Artifact.of(b"b")})):
        started = RECORDED_AT - timedelta(hours=72 if number == 11 else 71)
        web.add_build("tool", uuid=build_id(number), artifacts=files, started=started)
    web.add_build(
        "oldie",
        b"old",
        uuid=build_id(21),
        inputs=new,
        started=RECORDED_AT - timedelta(days=60),
        solo5_target="hvt",
        devices=SERVICE,
    )
    switches = ('opam-version: "2.0"\ninstalled: [', new["opam-switch"].replace('package "tls"', 'package "tlz"'), "")
    for number, switch in zip((31, 32, 33), switches):
        web.add_build(
            "odd",
            b"odd %d" % number,
            uuid=build_id(number),
            inputs={**new, "opam-switch": switch},
            started=RECORDED_AT - timedelta(hours=50 - number),
            solo5_target="hvt",
            devices=SERVICE,
        )
    for i, (uuid, name, sha256) in enumerate(
        (
            (
                "4a32e8dc-9965-49f6-ba5c-ab4642c42b08",
                "hello.spt",
                "a7797fa9e0d92248d9172040b64884833f09b9310938b21259b5a943fe56df60",
            ),
            (
                "c9398503-5a86-4b19-9e26-4f78871f7ced",
                "hello.spt",
                "d50cacedd1b16c89e567b84a02f9000cf00e4636ad64449c9a92ac41a90a2ac8",
            ),
            (
                "7d9821ad-797e-4377-a4ff-d764fbee2eaa",
                "hello-spt.bin",
                "4d63260a204a0fea11070b6039dcaa3e3cdfe4fba89642b85cd637b6de8504f7",
            ),
        )
    ):
        web.add_build(
            "hello-spt",
            uuid=uuid,
            artifacts={f"bin/{name}": Artifact.recorded(sha256, 86968)},
            started=RECORDED_AT - timedelta(minutes=30 - i),
            solo5_target="spt",
            devices=SERVICE,
        )
    return web
