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
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Optional

from ..albatross.client import Client
from ..albatross.records import UnikernelInfo
from ..albatross.under_way import UnderWay
from ..errors import DriverError, ImageMissing, ReleaseRefused
from ..images.elf import read_notes
from ..layout import NodeLayout
from ..model import Capabilities, Exit, Image, Instance, Release, SwapMethod
from . import albatross_console as console, albatross_cut_over as beside
from .albatross_console_daemon import refusals_of_console
from .albatross_creation import Creations, Images, what_runs
from .albatross_labels import labels_of, why_reserved
from .albatross_place import Place, Places
from .albatross_records import Attributed, Created, Records, attributed, not_ours
from .albatross_refusals import refusals_of_image, refusals_of_options, refusals_of_server
from .albatross_rehearsals import AlbatrossRehearsals
from .albatross_running import found_configuration, told
from .protocol import Rehearsals

_NOT_KNOWN_HERE = (
    "which tenders albatross has, it tells nobody: only the start shows whether the one for this image is there"
)


class AlbatrossDriver:
    """Runs the releases of a unikernel one after the other, under its name; at a cut-over, under two labels in turn."""

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
        return Capabilities(
            swap_methods=("stop_start", "cut_over"),
            discovers=True,
            shared=True,
            details={"not_known": _NOT_KNOWN_HERE},
        )

    @property
    def rehearsals(self) -> Rehearsals:
        return AlbatrossRehearsals(self._layout, self._images, self._places, self._pause)

    # --- looking ---

    def inspect(self, names: Sequence[str]) -> Mapping[str, tuple[Instance, ...]]:
        return {name: tuple(self._instances(name, self._places.client)) for name in names}

    def _instances(self, name: str, client_of: Callable[[Place], Client]) -> list[Instance]:
        records = self._records(name).all()
        if not records:
            return []
        place = self._place(name)
        client = client_of(place)
        running = self._attributed(name, client, place, records)
        newest = max(record.order for record in records)
        return [
            self._alive(name, running[record.number])
            if record.number in running
            else Instance(name, record.number, False, exit=self._end_of(client, place, record, record.order == newest))
            for record in records
        ]

    def _attributed(self, name: str, client: Client, place: Place, records: Sequence[Created]) -> dict[int, Attributed]:
        """What runs of these, by number."""
        found: dict[int, Attributed] = {}
        there = what_runs(client, place, (*labels_of(name), *(one.label for one in records)))
        for label, info in there.items():
            one = attributed([record for record in records if record.label == label], info)
            if one is not None:
                found[one.number] = one
        unknown = [label for label in there if all(record.label != label for record in records)]
        if unknown and records:
            newest = max(records, key=lambda record: record.order)
            found[newest.number] = not_ours(newest, found.get(newest.number), place.name(unknown[0]), there[unknown[0]])
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

    def _creations(self, name: str, place: Place, client: Optional[Client] = None) -> Creations:
        asked = client or place.client()
        return Creations(name, place, asked, self._layout, self._images, self._places, self._pause)

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
        reserved = why_reserved(name)
        if reserved is not None:
            reasons.append(reserved)
        unready = beside.why_no_ready_check(release.configuration)
        if unready is not None and beside.waits_for_console(release.configuration):
            reasons.append(unready)
        if release.running and not reasons:
            creations = self._creations(name, place)
            there = creations.there(labels_of(name))
            serving = creations.serving(there, None)
            client = place.client()
            reasons = refusals_of_server(name, place, release, client, serving or name)
            reasons += refusals_of_console(place, client, serving)
            if serving is not None and not reasons and release.configuration.swap is SwapMethod.CUT_OVER:
                obstacles = creations.obstacles(release, there[serving], serving)
                reasons = [f"swap: cut_over is not possible: {reason}" for reason in obstacles]
        if reasons:
            raise ReleaseRefused(
                f"{name}: {release} cannot run on {place}: {'; '.join(reasons)}. Nothing was stopped or started."
            )
        return ()

    # --- changing ---

    def swap(self, name: str, old: Optional[Release], new: Optional[Release]) -> Optional[Instance]:
        """What runs as ``new`` would is left running and counts as it from now on. Else it is created beside what runs
        where that is asked for and can be, or else by force create in its place. Nothing else of ours runs afterwards,
        whatever a change that was cut short has left."""
        if new is None or not new.running:
            self._destroy_all(name, "replaced" if new is None else "stopped")
            if new is not None:
                self._creations(name, self._place(name)).note_as_stopped(new)
            return None
        place = self._places.of(name) or Place()
        creations = self._creations(name, place, _under_way(place))
        label, info = creations.made(old, new, creations.there(labels_of(name)))
        creations.note(new, label, info)
        return next((one for one in self._instances(name, _under_way) if one.release == new.number), None)

    def _destroy_all(self, name: str, why: str) -> None:
        records = self._records(name)
        there = records.all()
        if not there and self._places.of(name) is None:
            return
        place = self._place(name)
        creations = self._creations(name, place, _under_way(place))
        for label in dict.fromkeys((*labels_of(name), *(record.label for record in there))):
            creations.destroy(label)
        for record in there:
            if not record.ended:
                records.put(replace(record, ended=why))

    def stop(self, name: str, release: int) -> Optional[Exit]:
        records = self._records(name)
        there = records.all()
        record = next((one for one in there if one.number == release), None)
        if record is None:
            return None
        place = self._place(name)
        client = _under_way(place)
        if release in self._attributed(name, client, place, there):
            self._creations(name, place, client).destroy(record.label)
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
        if release in self._attributed(name, place.client(), place, records.all()):
            raise DriverError(f"{name}, release {release}, runs on {place}, so its records were kept.")
        if record.unanswered and record.before is not None and _is_waited_for(place, record):
            return  # so that it is known for ours when it comes up after all
        records.discard(release)

    # --- adopting ---

    def discovered(self, name: str, number: int) -> Optional[Release]:
        found = self._found(name)
        if found is None:
            return None
        place, label, info = found
        recorded = self._recorded(name, label, info)
        if recorded is not None:
            return recorded
        return Release(number, Image(info.digest.hex(), 0), found_configuration(name, place, info, label))

    def fetch_image(self, name: str, number: int) -> Optional[tuple[Release, Image]]:
        found = self._found(name)
        if found is None:
            return None
        place, label, info = found
        recorded = self._recorded(name, label, info)
        if recorded is not None:
            with suppress(ImageMissing):
                self._images.verify(recorded.image)
                return recorded, recorded.image
        creations = self._creations(name, place)
        image = creations.fetched(label, info)
        if recorded is not None:
            return recorded, recorded.image
        configuration = found_configuration(name, place, info, label)
        with open(self._images.verify(image), "rb") as file:
            abi, devices = read_notes(file)
        release = Release(number, image, configuration, abi=abi, devices=devices)
        # What it runs as is what was found, and not what its configuration would be sent as: that may be less exact.
        creations.note(release, label, info, told(info))
        return release, image

    def _found(self, name: str) -> Optional[tuple[Place, str, UnikernelInfo]]:
        """Under its name; or under its second label, where all that was known of it here was lost."""
        place = self._places.of(name)
        if place is None or why_reserved(name) is not None:
            return None
        client = self._places.client(place)
        return next(((place, label, info) for label, info in what_runs(client, place, labels_of(name)).items()), None)

    def _recorded(self, name: str, label: str, info: UnikernelInfo) -> Optional[Release]:
        """The release that it was started from by us, unchanged since: where a state was lost."""
        records = self._records(name)
        mine = attributed([one for one in records.all() if one.label == label], info)
        return records.release(mine.number) if mine is not None and mine.altered is None else None


def _under_way(place: Place) -> Client:
    """Who is asked once a change has begun."""
    client = place.client()
    return replace(client, transport=UnderWay(client.transport))


def _is_waited_for(place: Place, record: Created) -> bool:
    """Whether what ran when it was asked for still runs: albatross starts it when that has ended."""
    info = _under_way(place).unikernel(place.name(record.label))
    return info is not None and info.started == record.before
