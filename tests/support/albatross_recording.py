# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The session that the captures were recorded in, to be had again with another server.

The requests that hold a whole image were not kept, so they are made again from what ``DECODED.md`` tells of them, with
images of our own that say on their consoles what the recorded ones said. What was done between the captures (bridges
that come and go, a daemon that starts anew, steps of which no capture was kept) is done here too.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass, replace
from typing import Optional, Union

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross import wire
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.messages import (
    AddPolicy,
    ConsoleLine,
    Create,
    Destroy,
    ListUnikernels,
    Message,
    Payload,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.names import Name
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import (
    FailBehaviour,
    NetworkUse,
    Policy,
    UnikernelConfig,
)
from ansible_collections.unikernel.fleet.tests.support.albatross.images import image
from ansible_collections.unikernel.fleet.tests.support.albatross_captures import REPLY, capture

_HTTPD = """#!/bin/sh
cat <<'BANNER'
{banner}
BANNER
echo 'httpd: version {version} starting'
for word; do
    case $word in
    --ipv4=*) ipv4=${{word#--ipv4=}} ;;
    *) echo "httpd: note: ignored argument: $word" ;;
    esac
done
if [ -z "$ipv4" ]; then
    echo 'httpd: error: need --ipv4=A.B.C.D[/LEN]'
    echo 'Solo5: solo5_exit(64) called'
    exit 64
fi
echo "httpd: address $ipv4 mtu 1500"
{after}
"""
READY = "echo 'httpd: ready'\nexec sleep 300"


def _httpd(version: str, after: str = READY) -> bytes:
    messages = [wire.decode(frame) for frame in capture("07-console-subscribe", REPLY).frames()]
    lines = [one.payload.line for one in messages if isinstance(one.payload, ConsoleLine)]
    banner = "\n".join(line for line in lines if not line.startswith("httpd:"))
    return image(_HTTPD.format(banner=banner, version=version, after=after))


V1, V2, V3 = _httpd("v1"), _httpd("v2"), _httpd("v3")
EXITS_1 = _httpd("v4", "exit 1")
CRASHES = _httpd("v4", "sleep 0.5\nexit 2")

DIGESTS = {
    "c049ba385bcaa71540b8082829305d5539c68d6d6e8e2968178e56b23753e5c7": hashlib.sha256(V1).digest(),
    "5a2316e14a67df48d57122add66224fbe91acf99d195637afc127f940b5ec697": hashlib.sha256(V2).digest(),
    "37749daa07b07d5de95856055257c5f232e9dfc0899609b92df946642887d604": hashlib.sha256(V3).digest(),
}
"""Of a recorded image, and of ours in its place."""

# --- what is done ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recorded:
    """A request of which all octets were kept, on a Unix socket or in a certificate."""

    name: str


@dataclass(frozen=True)
class Rebuilt:
    """A request with an image, or in the place of one: in order, where one capture holds several."""

    name: str
    requests: tuple[Message, ...]


@dataclass(frozen=True)
class Streamed:
    """A recorded request in a certificate, with this image in its stream."""

    name: str
    image: bytes


@dataclass(frozen=True)
class InCertificate:
    """A request in a certificate that was not kept."""

    name: str
    of: Name
    request: Create


@dataclass(frozen=True)
class Done:
    """Between the captures: a request whose answer is not compared."""

    request: Message


@dataclass(frozen=True)
class Bridge:
    name: str
    there: bool


@dataclass(frozen=True)
class Restarted:
    """albatrossd was."""


@dataclass(frozen=True)
class Lives:
    """Wait until the unikernel is ready."""

    name: Name


@dataclass(frozen=True)
class IsGone:
    """Wait until it does not run, and its console is at its end."""

    name: Name


@dataclass(frozen=True)
class Loops:
    """Wait until it was just started again."""

    name: Name


Step = Union[Recorded, Rebuilt, Streamed, InCertificate, Done, Bridge, Restarted, Lives, IsGone, Loops]

HELLO, WORLD, FRESH, NOBR = Name((), "hello"), Name(("dev",), "world"), Name((), "fresh"), Name((), "nobr")
DEV = Name(("dev",))


def _config(octets: bytes, address: Optional[str] = "10.78.0.2/24", bridge: str = "br-alb") -> UnikernelConfig:
    return UnikernelConfig(
        memory_mib=16,
        networks=(NetworkUse("service", bridge),),
        arguments=() if address is None else (f"--ipv4={address}",),
        image=octets,
    )


def _rebuilt(name: str, of: Name, payload: Payload) -> Rebuilt:
    return Rebuilt(name, (Message(of, payload),))


def _forced(name: str, config: UnikernelConfig) -> Rebuilt:
    return _rebuilt(name, HELLO, Create(config, force=True))


_WORLD = UnikernelConfig(
    memory_mib=32,
    cpus=(1,),
    fail_behaviour=FailBehaviour(restart=True),
    startup=10,
    networks=(NetworkUse("service", "br-alb", "02:00:00:00:00:03"),),
    arguments=("--ipv4=10.78.0.3/24",),
    image=zlib.compress(V2, 9),
    compressed=True,
)
_OTHERNET = replace(_config(V2), networks=(NetworkUse("othernet", "br-alb"),))
_UPDATED = replace(_config(V3), networks=(NetworkUse("service", "br-alb", "00:80:41:cd:8a:eb"),))

BRIDGES = ("br-alb", "br-gone")
"""At the beginning."""

STORY: tuple[Step, ...] = (
    Recorded("01-info-empty"),
    Recorded("02-policy-info"),
    _rebuilt("03-create-ok-v1", HELLO, Create(_config(V1))),
    Lives(HELLO),
    Recorded("04-info-1"),
    Recorded("05-info-by-name"),
    Recorded("06-info-missing-name"),
    Recorded("07-console-subscribe"),
    _rebuilt("08-create-duplicate", HELLO, Create(_config(V1))),
    _rebuilt("09-create-bridge-not-in-policy", NOBR, Create(_config(V1, "10.78.0.4/24", "br-nope"))),
    Bridge("br-gone", False),
    _rebuilt("10-create-bridge-gone", NOBR, Create(_config(V1, "10.78.0.4/24", "br-gone"))),
    _rebuilt("11-create-cpu-not-in-policy", Name((), "nocpu"), Create(replace(_config(V1), cpus=(7,)))),
    Recorded("13-add-policy-dev"),
    _rebuilt("15-create-ok-dev-world-v2", WORLD, Create(_WORLD)),
    _forced("18-force-create-ok-v2", _config(V2)),
    _rebuilt("19-force-create-new", FRESH, Create(_config(V1, "10.78.0.4/24"), force=True)),
    _forced("20-force-create-policy-fail", _config(V1, bridge="br-nope")),
    _forced("21-force-create-bridge-gone", _config(V1, bridge="br-gone")),
    Recorded("22-info-after-21"),
    _forced("23-restore", _config(V2)),
    Recorded("24-raw-force-create-garbage-image"),
    _forced("25-restore", _config(V2)),
    _forced("26-raw-force-create-manifest-mismatch", _OTHERNET),
    _forced("27-restore", _config(V2)),
    Recorded("28-restart-ok"),
    Recorded("29-restart-with-args"),
    Recorded("30-restart-missing"),
    Recorded("31-get-level0"),
    Recorded("32-get-level9"),
    Recorded("33-get-missing"),
    Lives(HELLO),
    Recorded("34-destroy-ok"),
    Recorded("35-destroy-again-first-time"),
    Recorded("35-destroy-missing"),
    IsGone(HELLO),
    Recorded("36-inactive-consoles"),
    Recorded("37-console-history-of-dead"),
    Recorded("38-console-waiting"),
    Recorded("40-block-info-empty"),
    Recorded("41-block-create"),
    Recorded("43-block-destroy"),
    Recorded("44-block-destroy-missing"),
    *(Recorded(f"46-raw-{what}") for what in ("garbage", "http", "short", "trail", "two", "v4", "v6", "zero")),
    Recorded("49-raw-success-as-request"),
    Recorded("50-raw-console-cmd-to-vmmd"),
    _rebuilt("51-create-crash-exit1", Name((), "crash1"), Create(_config(EXITS_1, "10.78.0.5/24"))),
    _rebuilt("52-create-bootfail-64", Name((), "boot64"), Create(replace(_config(V1, None), add_name=False))),
    IsGone(Name((), "boot64")),
    Recorded("53-info-boot64-gone"),
    Recorded("54-console-boot64"),
    _rebuilt(
        "55-create-crashloop",
        Name((), "loop"),
        Create(replace(_config(CRASHES, "10.78.0.6/24"), fail_behaviour=FailBehaviour(restart=True))),
    ),
    _rebuilt("57-create-too-little-mem", Name((), "nomem"), Create(replace(_config(V1, "10.78.0.7/24"), memory_mib=0))),
    IsGone(Name((), "nomem")),
    Recorded("58-info-nomem"),
    Recorded("59-console-nomem"),
    Loops(Name((), "loop")),
    Recorded("60-destroy-crashlooping"),
    # The recordings over TLS were made next, on a daemon that had been started anew.
    Restarted(),
    Done(Message(HELLO, Create(_config(V2), force=True))),
    Recorded("t01-tls-info"),
    Recorded("t02-tls-info-strict"),
    Recorded("t03-tls-info-hello"),
    InCertificate("t04-tls-force-create-image-in-cert", HELLO, Create(_config(V2), force=True)),
    Streamed("t05-tls-force-create-image-streamed", V2),
    Streamed("t06-tls-create-duplicate", V2),
    Done(Message(DEV, AddPolicy(Policy((0, 1), 3, 128, ("br-alb",), None)))),
    Recorded("t10-tls-policy-info"),
    Recorded("t11-tls-restart"),
    Recorded("t12-tls-get-level9"),
    Recorded("t13-tls-destroy"),
    Recorded("t14-tls-destroy-missing"),
    Recorded("t15-tls-unknown-ca"),
    Done(Message(HELLO, Destroy())),
    Done(Message(HELLO, Create(_config(V3)))),
    Rebuilt("61-update", (Message(HELLO, ListUnikernels()), Message(HELLO, Create(_UPDATED, force=True)))),
    Recorded("62-restart-args-manifest-mismatch"),
    Bridge("br-late", True),
    _rebuilt("63-create-bridge-made-later", Name((), "late"), Create(_config(V1, "10.78.0.7/24", "br-late"))),
    Restarted(),
    _rebuilt("64-create-bridge-late-after-restart", Name((), "late"), Create(_config(V1, "10.78.0.7/24", "br-late"))),
    Bridge("br-late", False),
    Recorded("65-restart-args-bridge-gone"),
)
