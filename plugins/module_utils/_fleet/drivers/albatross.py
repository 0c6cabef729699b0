# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Driver ``albatross``: unikernels that an albatross server runs, on this node or, over TLS, anywhere.

albatross kills what runs before it looks at what is to replace it, calls a started tender a success, and sometimes
never answers. So all that can be known is looked at before, the way back is fetched first, and what really runs is
asked for afterwards: it alone decides.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Optional, Protocol

from ..albatross.client import Client
from ..albatross.errors import AnswerLost, NotSent, Refused, Unsendable
from ..albatross.names import Name
from ..albatross.records import UnikernelInfo
from ..errors import DriverError, ImageError, ImageMissing, ReleaseRefused
from ..images.elf import read_notes
from ..layout import NodeLayout
from ..model import Capabilities, Exit, Image, Instance, Release
from . import albatross_console as console
from .albatross_place import Place, Places
from .albatross_records import Attributed, Created, Records, attributed
from .albatross_refusals import refusals_of_image, refusals_of_options, refusals_of_server
from .albatross_running import Running, config_of, differences, found_configuration, told, wanted
from .protocol import Rehearsals

SETTLES_WITHIN_S = 5.0
"""After an answer was lost: the server either carries the request out about now, or never will."""
_POLL_S = 0.05
_NOT_KNOWN_HERE = (
    "which tenders albatross has, it tells nobody: only the start shows whether the one for this image is there"
)


class Images(Protocol):
    """What the driver needs of the node's image store."""

    def holds(self, sha256: str) -> bool: ...

    def verify(self, image: Image) -> Path: ...

    def add_stream(self, chunks: Iterable[bytes], expected: Optional[Image] = None) -> Image: ...


class AlbatrossDriver:
    """Runs the releases of a unikernel one after the other, under one label of albatross."""

    name = "albatross"

    def __init__(
        self, layout: NodeLayout, images: Images, places: Places, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._layout = layout
        self._images = images
        self._places = places
        self._pause = pause

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(discovers=True, shared=True, details={"not_known": _NOT_KNOWN_HERE})

    @property
    def rehearsals(self) -> Optional[Rehearsals]:
        return None

    # --- looking ---

    def inspect(self, names: Sequence[str]) -> Mapping[str, tuple[Instance, ...]]:
        return {name: tuple(self._instances(name)) for name in names}

    def _instances(self, name: str) -> list[Instance]:
        records = self._records(name).all()
        if not records:
            return []
        place = self._place(name)
        client = place.client()
        running = self._attributed(client, place, records)
        newest = max(record.order for record in records)
        return [
            self._alive(name, running[record.number])
            if record.number in running
            else Instance(name, record.number, False, exit=self._end_of(client, place, record, record.order == newest))
            for record in records
        ]

    def _attributed(self, client: Client, place: Place, records: Sequence[Created]) -> dict[int, Attributed]:
        """What runs of these, by number."""
        found = {}
        for label in dict.fromkeys(record.label for record in records):
            info = client.unikernel(place.name(label))
            if info is not None:
                one = attributed([record for record in records if record.label == label], info)
                if one is not None:
                    found[one.number] = one
        return found

    def _alive(self, name: str, running: Attributed) -> Instance:
        return Instance(
            name=name,
            release=running.number,
            alive=True,
            identity=running.identity,
            restarts=1 if running.restarted else 0,
            uptime_s=console.seconds_since(running.info.started),
            altered=running.altered,
        )

    def _end_of(self, client: Client, place: Place, record: Created, newest: bool) -> Exit:
        if record.ended:
            return Exit(meaning=f"was {record.ended}")
        said: tuple[str, ...] = ()
        if newest:
            with suppress(DriverError):
                said = console.spoken_by(client, place.name(record.label), record, ())
        return Exit(meaning=console.last_words(said))

    def _records(self, name: str) -> Records:
        return Records(self._layout, name)

    def _place(self, name: str) -> Place:
        place = self._places.of(name)
        if place is None:
            raise DriverError(
                f"{name}: it is not known where its albatross is: {self._layout.albatross(name)} is gone. Nothing was "
                "changed. Declare it again (albatross)."
            )
        return place

    def core(self, name: str, release: int) -> None:
        """Albatross keeps none."""

    def console(self, name: str, release: int, lines: int) -> tuple[str, ...]:
        records = self._records(name).all()
        record = next((one for one in records if one.number == release), None)
        if record is None:
            return ()
        place = self._place(name)
        later = [one for one in records if one.label == record.label and one.order > record.order]
        return console.spoken_by(place.client(), place.name(record.label), record, later, lines)

    # --- refusing ---

    def validate(self, name: str, release: Release) -> tuple[str, ...]:
        try:
            image = self._images.verify(release.image)
        except ImageMissing as error:
            raise ReleaseRefused(f"{name}: {release} cannot run: {error} Nothing was stopped or started.") from error
        place = self._places.of(name) or Place()
        reasons = [*refusals_of_options(release.configuration, place), *refusals_of_image(release, image)]
        if release.running and not reasons:
            reasons = refusals_of_server(name, place, release, place.client(), name)
        if reasons:
            raise ReleaseRefused(
                f"{name}: {release} cannot run on {place}: {'; '.join(reasons)}. Nothing was stopped or started."
            )
        return ()

    # --- changing ---

    def swap(self, name: str, old: Optional[Release], new: Optional[Release]) -> Optional[Instance]:
        """``stop_start``, by force create; what runs as ``new`` would is left running and counts as it from now on."""
        if new is None or not new.running:
            self._destroy_all(name, "replaced" if new is None else "stopped")
            if new is not None:
                self._note_as_stopped(name, new)
            return None
        place = self._places.of(name) or Place()
        client = place.client()
        full = place.name(name)
        running = wanted(name, place, new)
        found = client.unikernel(full)
        if found is not None and self._runs_as(name, running, found):
            self._note(name, place, new, running, found)
        else:
            info = self._replace(name, place, client, new, running, found)
            self._note(name, place, new, running, info)
        return next((one for one in self._instances(name) if one.release == new.number), None)

    def _runs_as(self, name: str, running: Running, found: UnikernelInfo) -> bool:
        """Whether what runs is what is wanted already: with other words for it, nothing need be stopped."""
        records = [one for one in self._records(name).all() if one.label == name]
        mine = attributed(records, found)
        record = next((one for one in records if mine is not None and one.number == mine.number), None)
        unseen = record.running.add_name if record is not None and mine is not None and mine.altered is None else None
        return not differences(running, replace(told(found), add_name=unseen))

    def _note(self, name: str, place: Place, release: Release, running: Running, info: UnikernelInfo) -> None:
        """That this is what runs, and nothing else of us."""
        records = self._records(name)
        there = records.of(release.number)
        if there is None or (there.running, there.ended) != (running, ""):
            record = replace(self._record(name, release, running, None), started=info.started)
            records.begin(record, release, self._verified(name, release))
        elif there.started != info.started:
            records.put(replace(there, started=info.started))
        for other in records.all():
            if other.number != release.number and not other.ended:
                records.put(replace(other, ended="replaced"))

    def _note_as_stopped(self, name: str, release: Release) -> None:
        """So that somebody else's start of it is seen."""
        place = self._place(name)
        record = replace(self._record(name, release, wanted(name, place, release), None), ended="stopped")
        self._records(name).begin(record, release, None)

    def _record(self, name: str, release: Release, running: Running, before: Optional[str]) -> Created:
        self._places.write(name)
        orders = [one.order for one in self._records(name).all() if one.number != release.number]
        return Created(
            number=release.number,
            order=max(orders, default=0) + 1,
            label=name,
            running=running,
            asked_at=console.stamp(),
            before=before,
        )

    def _replace(
        self,
        name: str,
        place: Place,
        client: Client,
        release: Release,
        running: Running,
        found: Optional[UnikernelInfo],
    ) -> UnikernelInfo:
        image = self._verified(name, release)
        content = image.read_bytes()
        self._keep_way_back(name, place, client, found)
        before = found.started if found is not None else None
        self._records(name).begin(self._record(name, release, running, before), release, image)
        full = place.name(name)
        try:
            client.force_create(full, config_of(running, content))
        except (NotSent, Unsendable) as error:
            raise DriverError(f"{name}: {release} was not started: {error}") from error
        except Refused as refused:
            raise DriverError(f"{name}: {release} was not started: {refused}{_left(client, full)}") from refused
        except AnswerLost as lost:
            return self._made_sure(name, client, full, release, running, before, lost)
        info = client.unikernel(full)
        if info is None:
            # albatross calls it a success when the tender was started, and drops what ended from its list.
            said = console.spoken_by(client, full, self._record_of(name, release), ())
            raise DriverError(f"{name}: {release} ended right after its start: it {console.last_words(said)}")
        return info

    def _record_of(self, name: str, release: Release) -> Created:
        record = self._records(name).of(release.number)
        if record is None:
            raise DriverError(f"{name}: the record of {release} was removed by somebody while it was started")
        return record

    def _made_sure(
        self,
        name: str,
        client: Client,
        full: Name,
        release: Release,
        running: Running,
        before: Optional[str],
        lost: AnswerLost,
    ) -> UnikernelInfo:
        """What became of a request without an answer: by what runs, for a bounded time, never by guessing."""
        give_up = time.monotonic() + SETTLES_WITHIN_S
        seen = "albatross could not be asked what runs now"
        while True:
            with suppress(DriverError):
                info = client.unikernel(full)
                if info is not None and info.started != before and not differences(running, told(info)):
                    return info
                seen = "nothing runs under its name"
                if info is not None:
                    seen = "what ran before still runs" if info.started == before else "something else runs there now"
            if time.monotonic() >= give_up:
                raise DriverError(
                    f"{name}: {release} was asked for, and its answer was lost ({lost}) {SETTLES_WITHIN_S:g} s later "
                    f"{seen}."
                ) from lost
            self._pause(_POLL_S)

    def _keep_way_back(self, name: str, place: Place, client: Client, found: Optional[UnikernelInfo]) -> None:
        """The image of what is about to be killed, in the store: also of what somebody else put there."""
        if found is not None and not self._images.holds(found.digest.hex()):
            self._fetched(name, place, client, found)

    def _fetched(self, name: str, place: Place, client: Client, found: UnikernelInfo) -> Image:
        digest = found.digest.hex()
        content = client.image(place.name(name))
        if content is None:
            raise DriverError(f"{name}: it ended while its image was fetched from {place}. Look at its console.")
        try:
            return self._images.add_stream([content], Image(digest, len(content)))
        except ImageError as error:
            raise DriverError(
                f"{name} runs on {place}, and its image could not be brought into the store, so there would be no way "
                f"back to it: {error} It was left running."
            ) from error

    def _verified(self, name: str, release: Release) -> Path:
        try:
            return self._images.verify(release.image)
        except ImageMissing as error:
            raise DriverError(f"{name}: {release} was not started: {error} Nothing was stopped.") from error

    def _destroy_all(self, name: str, why: str) -> None:
        records = self._records(name)
        there = records.all()
        if not there and self._places.of(name) is None:
            return
        place = self._place(name)
        client = place.client()
        for label in dict.fromkeys((name, *(record.label for record in there))):
            self._destroy(name, client, place.name(label))
        for record in there:
            if not record.ended:
                records.put(replace(record, ended=why))

    def _destroy(self, name: str, client: Client, full: Name) -> None:
        """Until albatross lists it no more: its answers to a destroy are odd, and one may not come at all."""
        try:
            client.destroy(full)
        except AnswerLost as lost:
            give_up = time.monotonic() + SETTLES_WITHIN_S
            while True:
                with suppress(DriverError):
                    if client.unikernel(full) is None:
                        return
                if time.monotonic() >= give_up:
                    raise DriverError(f"{name}: it was to be destroyed, and still runs: {lost}") from lost
                self._pause(_POLL_S)

    def stop(self, name: str, release: int) -> Optional[Exit]:
        records = self._records(name)
        there = records.all()
        record = next((one for one in there if one.number == release), None)
        if record is None:
            return None
        place = self._place(name)
        client = place.client()
        if release in self._attributed(client, place, there):
            self._destroy(name, client, place.name(record.label))
            records.put(replace(record, ended="stopped"))
        return Exit(meaning="was stopped")

    def on_trial(self, name: str, release: int, trial: bool) -> None:
        """albatross restarts by what it was told at the creation, and cannot be told otherwise. A restart during a
        trial is seen by the time of its start, and counts as an end."""

    def discard(self, name: str, release: int) -> None:
        records = self._records(name)
        record = records.of(release)
        if record is None:
            return
        place = self._place(name)
        if release in self._attributed(place.client(), place, records.all()):
            raise DriverError(f"{name}, release {release}, runs on {place}, so its records were kept.")
        records.discard(release)

    # --- adopting ---

    def discovered(self, name: str, number: int) -> Optional[Release]:
        found = self._found(name)
        if found is None:
            return None
        place, _client, info = found
        recorded = self._recorded(name, info)
        if recorded is not None:
            return recorded
        return Release(number, Image(info.digest.hex(), 0), found_configuration(name, place, info))

    def fetch_image(self, name: str, number: int) -> Optional[tuple[Release, Image]]:
        found = self._found(name)
        if found is None:
            return None
        place, client, info = found
        recorded = self._recorded(name, info)
        if recorded is not None:
            with suppress(ImageMissing):
                self._images.verify(recorded.image)
                return recorded, recorded.image
        image = self._fetched(name, place, client, info)
        if recorded is not None:
            return recorded, recorded.image
        configuration = found_configuration(name, place, info)
        with open(self._images.verify(image), "rb") as file:
            abi, devices = read_notes(file)
        release = Release(number, image, configuration, abi=abi, devices=devices)
        # What it runs as is what was found, and not what its configuration would be sent as: that may be less exact.
        self._note(name, place, release, told(info), info)
        return release, image

    def _found(self, name: str) -> Optional[tuple[Place, Client, UnikernelInfo]]:
        place = self._places.of(name)
        if place is None:
            return None
        client = place.client()
        info = client.unikernel(place.name(name))
        return None if info is None else (place, client, info)

    def _recorded(self, name: str, info: UnikernelInfo) -> Optional[Release]:
        """The release that it was started from by us, unchanged since: where a state was lost."""
        records = self._records(name)
        mine = attributed([one for one in records.all() if one.label == name], info)
        return records.release(mine.number) if mine is not None and mine.altered is None else None


def _left(client: Client, full: Name) -> str:
    """What a refusal left, for the message: some come before the kill, and some after it."""
    with suppress(DriverError):
        return " What ran before still runs." if client.unikernel(full) is not None else " What ran before was killed."
    return ""
