# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The demo: two unikernels on this machine, deployed, updated and rolled back by the real playbooks.

Needs no root and no network; everything lies in ``.build/demo`` and is removed at the end.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.journal import Journal
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.node import local_node
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.proposal import Declaration, Wanted
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import Holder, Phase
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import TrialOptions, locked
from demo_builds import publish_version

PROJECT = Path(__file__).resolve().parent.parent
FOLDER = PROJECT / ".build" / "demo"
UNIKERNELS = ("web", "names")
PATIENCE_S = 30.0


class Demo:
    """One run of the demo."""

    def __init__(self, folder: Path) -> None:
        self.layout = NodeLayout(folder / "node")
        self.repository = folder / "repository"
        self.web_port = free_port(socket.SOCK_STREAM)
        self.dns_port = free_port(socket.SOCK_DGRAM)
        self.environment = {
            **os.environ,
            "FLEET_DEMO": str(folder),
            "FLEET_DEMO_WEB_PORT": str(self.web_port),
            "FLEET_DEMO_DNS_PORT": str(self.dns_port),
            "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "false",
            "ANSIBLE_DISPLAY_OK_HOSTS": "false",
            "ANSIBLE_FORCE_COLOR": "1" if sys.stdout.isatty() else "0",
            "ANSIBLE_NOCOWS": "1",
            "ANSIBLE_PIPELINING": "true",
        }
        self.steps = 0

    def tell(self, text: str) -> None:
        self.steps += 1
        print(f"\n--- {self.steps}. {text}\n", flush=True)

    def command(self, playbook: str, *arguments: str) -> list[str]:
        words = ["-i", "inventories/demo", f"unikernel.fleet.{playbook}", *arguments]
        print(f"$ ansible-playbook {' '.join(words)}", flush=True)
        return [str(Path(sys.executable).with_name("ansible-playbook")), *words]

    def play(self, playbook: str, *arguments: str, ends_well: bool = True) -> None:
        """Run a playbook and show what it prints; it must end as expected, or the demo has failed."""
        process = subprocess.run(
            self.command(playbook, *arguments),
            cwd=PROJECT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        show(process.stdout)
        if (process.returncode == 0) is not ends_well:
            raise SystemExit(f"The demo failed: that playbook ended with exit status {process.returncode}.")
        print(f"(exit status {process.returncode})", flush=True)

    def play_and_die(self, playbook: str, *arguments: str) -> None:
        """Start a playbook, and kill it without warning as soon as a trial is open."""
        process = subprocess.Popen(
            self.command(playbook, *arguments),
            cwd=PROJECT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_for("a trial to be open", lambda: self.phase("names") is Phase.ON_TRIAL)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        print("The trial is open. The controller was killed (SIGKILL); nobody is left to confirm or to roll back.")

    def phase(self, name: str) -> Phase:
        return Journal(self.layout, name).read().phase

    def ask(self) -> str:
        """What the two unikernels answer, asked from outside of all this."""
        web = answered(lambda: ask_web(self.web_port))
        names = answered(lambda: ask_dns(self.dns_port))
        print(f"The web server answers:  {web}")
        print(f"The name server answers: hello.lab. is {names}", flush=True)
        return f"{web}; {names}"

    def expect(self, *words: str) -> None:
        answer = self.ask()
        for word in words:
            if word not in answer:
                raise SystemExit(f"The demo failed: {word!r} was expected in the answers.")

    def run(self) -> None:
        self.tell("Two demo unikernels, a web server and a name server, are built in version 1. What would happen?")
        for name in UNIKERNELS:
            publish_version(self.repository, name, 1)
        self.play("plan")

        self.tell("Deploy them. Each is started, watched, and confirmed once its checks have passed.")
        self.play("deploy")
        self.expect("version 1", "192.0.2.1")

        self.tell("Version 2 is built. The plan compares it with what runs, package by package.")
        for name in UNIKERNELS:
            publish_version(self.repository, name, 2)
        self.play("plan")

        self.tell("Update. A second run finds nothing left to do.")
        self.play("deploy")
        self.expect("version 2", "192.0.2.2")
        self.play("deploy")

        self.tell("Version 3 of the web server starts, but it does not work. It is rolled back, and the run says so.")
        publish_version(self.repository, "web", 3)
        self.play("deploy", ends_well=False)
        self.expect("version 2", "192.0.2.2")

        self.tell("The name server gets another configuration, and in the middle of it the controller is killed.")
        self.play_and_die("deploy", "--limit", "names", "-e", '{"unikernel_environment": {"GREETING": "hey"}}')
        wait_for("the guard to act", lambda: self.phase("names") is Phase.STABLE)
        print("The guard, a small program on the node, saw that nobody confirmed it, and put the old release back.")
        self.expect("version 2", "192.0.2.2")

        self.tell("How things stand, with the history of each. Version 3 is held: it is not tried again by itself.")
        self.play("status")

    def clean_up(self) -> None:
        """Stop what runs, the way the collection stops it, and remove every file."""
        node = local_node(self.layout)
        for name in UNIKERNELS:
            with locked(node, name, Holder(who="the demo"), wait_s=PATIENCE_S) as transaction:
                transaction.declare(
                    Declaration(wanted=Wanted.ABSENT), TrialOptions(timeout_s=0, takeover=True), arm=None
                )
        shutil.rmtree(FOLDER)


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answered(ask: Callable[[], str]) -> str:
    """The answer; a program that was started a moment ago gets a few seconds to open its port."""
    give_up = time.monotonic() + 5
    while True:
        try:
            return ask()
        except OSError:
            if time.monotonic() > give_up:
                raise
        time.sleep(0.05)


def ask_web(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/version", timeout=5) as answer:
        text: str = answer.read().decode().strip()
        return text


def ask_dns(port: int) -> str:
    query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x05hello\x03lab\x00\x00\x01\x00\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.5)
        client.sendto(query, ("127.0.0.1", port))
        return socket.inet_ntoa(client.recv(512)[-4:])


def show(output: str) -> None:
    """What a playbook printed, without the empty lines and the rulers of plays in which nothing is shown."""
    lines = [line.rstrip() for line in output.splitlines()]
    kept = [line for line in lines if line and not line.startswith("PLAY [")]
    print("\n".join("  " + line for line in kept), flush=True)


def wait_for(what: str, condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > give_up:
            raise SystemExit(f"The demo failed: waited {PATIENCE_S:g} s for {what}.")
        time.sleep(0.05)


def main() -> int:
    began = time.monotonic()
    if FOLDER.exists():
        print("An earlier demo was interrupted; it is cleaned up first.")
        Demo(FOLDER).clean_up()
    FOLDER.mkdir(parents=True)
    demo = Demo(FOLDER)
    try:
        demo.run()
    finally:
        demo.clean_up()
    print(f"\nThat was all, in {time.monotonic() - began:.0f} s. Everything was stopped and removed again.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
