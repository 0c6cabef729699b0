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
from ..model import Capabilities, Exit, Image, Instance, Release, SwapMethod
from . import albatross_console as console
from . import albatross_cut_over as beside
from .albatross_labels import free_label, labels_in_use, labels_of, note_second_label
from .albatross_place import Place, Places
from .albatross_records import Attributed, Created, Records, attributed, not_ours
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
        running = self._attributed(name, client, place, records)
        newest = max(record.order for record in records)
        return [
            self._alive(name, running[record.number])
            if record.number in running
            else Instance(name, record.number, False, exit=self._end_of(client, place, record, record.order == newest))
            for record in records
        ]

    def _attributed(
        self, name: str, client: Client, place: Place, records: Sequence[Created]
    ) -> dict[int, Attributed]:
        """What runs of these, by number."""
        found: dict[int, Attributed] = {}
        there = self._there(client, place, (*labels_in_use(self._layout, name), *(one.label for one in records)))
        for label, info in there.items():
            one = attributed([record for record in records if record.label == label], info)
            if one is not None:
                found[one.number] = one
        unknown = [label for label in there if all(record.label != label for record in records)]
        if unknown and records:
            newest = max(records, key=lambda record: record.order)
            found[newest.number] = not_ours(newest, found.get(newest.number), place.name(unknown[0]), there[unknown[0]])
        return found

    def _there(self, client: Client, place: Place, labels: Iterable[str]) -> dict[str, UnikernelInfo]:
        """What runs under these labels."""
        asked = {label: client.unikernel(place.name(label)) for label in dict.fromkeys(labels)}
        return {label: info for label, info in asked.items() if info is not None}

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

    def validate(self, name: str, release: Release) -> None:
        try:
            image = self._images.verify(release.image)
        except ImageMissing as error:
            raise ReleaseRefused(f"{name}: {release} cannot run: {error} Nothing was stopped or started.") from error
        place = self._places.of(name) or Place()
        reasons = [*refusals_of_options(release.configuration, place), *refusals_of_image(release, image)]
        unready = beside.why_no_ready_check(release.configuration)
        if unready is not None and beside.waits_for_console(release.configuration):
            reasons.append(unready)
        if release.running and not reasons:
            client = place.client()
            there = self._there(client, place, labels_of(name))
            serving = self._serving(name, there, None)
            reasons = refusals_of_server(name, place, release, client, serving or name)
            if serving is not None and not reasons and release.configuration.swap is SwapMethod.CUT_OVER:
                obstacles = self._obstacles(name, place, client, release, there[serving], serving)
                reasons = [f"swap: cut_over is not possible: {reason}" for reason in obstacles]
        if reasons:
            raise ReleaseRefused(
                f"{name}: {release} cannot run on {place}: {'; '.join(reasons)}. Nothing was stopped or started."
            )

    # --- changing ---

    def swap(self, name: str, old: Optional[Release], new: Optional[Release]) -> Optional[Instance]:
        """What runs as ``new`` would is left running and counts as it from now on. Else it is created beside what runs
        where that is asked for and can be, or else by force create in its place. Nothing else of ours runs afterwards,
        whatever a change that was cut short has left."""
        if new is None or not new.running:
            self._destroy_all(name, "replaced" if new is None else "stopped")
            if new is not None:
                self._note_as_stopped(name, new)
            return None
        place = self._places.of(name) or Place()
        client = place.client()
        there = self._there(client, place, labels_of(name))
        alike = next((label for label, info in there.items() if self._runs_as(name, place, new, label, info)), None)
        if alike is not None:
            label, info = alike, there[alike]
            record = self._records(name).of(new.number)
            if len(there) > 1 and record is not None and record.label == label and record.started is None:
                # A change was cut short before it was known whether it came up.
                info = self._proven(name, place, client, new, label, record.asked_at)
        else:
            serving = self._serving(name, there, old)
            self._clear(name, place, client, there, serving)
            there = {label: info for label, info in there.items() if label == serving}
            label, info = self._replaced(name, place, client, old, new, serving, there)
        self._clear(name, place, client, there, label)
        self._note(name, place, new, label, info)
        return next((one for one in self._instances(name) if one.release == new.number), None)

    def _serving(self, name: str, there: Mapping[str, UnikernelInfo], old: Optional[Release]) -> Optional[str]:
        """The label of what is to be replaced. Of two, the other one is left from a change that was cut short."""
        if len(there) < 2:
            return next(iter(there), None)
        orders = {}
        for label, info in there.items():
            of_label = [one for one in self._records(name).all() if one.label == label]
            mine = attributed(of_label, info)
            record = next((one for one in of_label if mine is not None and one.number == mine.number), None)
            orders[label] = (
                record is not None and old is not None and record.number == old.number,
                record.order if record is not None else 0,
            )
        return max(orders, key=lambda label: orders[label])

    def _runs_as(self, name: str, place: Place, release: Release, label: str, found: UnikernelInfo) -> bool:
        """Whether what runs is what is wanted already: with other words for it, nothing need be stopped."""
        records = [one for one in self._records(name).all() if one.label == label]
        mine = attributed(records, found)
        record = next((one for one in records if mine is not None and one.number == mine.number), None)
        unseen = record.running.add_name if record is not None and mine is not None and mine.altered is None else None
        return not differences(wanted(name, place, release, label), replace(told(found), add_name=unseen))

    def _replaced(
        self,
        name: str,
        place: Place,
        client: Client,
        old: Optional[Release],
        new: Release,
        serving: Optional[str],
        there: Mapping[str, UnikernelInfo],
    ) -> tuple[str, UnikernelInfo]:
        """Under which label it runs then, and as what. At a cut-over the old one runs still."""
        found = there[serving] if serving is not None else None
        if serving is not None and found is not None and beside.asked_for(new, old):
            free = free_label(name, serving)
            if free is not None and not self._obstacles(name, place, client, new, found, serving):
                return free, self._created_beside(name, place, client, new, free, serving, found)
        label = serving or name
        return label, self._replace(name, place, client, new, label, found)

    # --- beside what runs ---

    def _obstacles(
        self, name: str, place: Place, client: Client, release: Release, running: UnikernelInfo, serving: str
    ) -> list[str]:
        """What forbids to run both for a moment, in clauses."""
        reasons = beside.obstacles(name, release, running)
        if reasons:
            return reasons
        # Under another label it replaces nothing, so there has to be room for both.
        free = free_label(name, serving)
        found = refusals_of_server(name, place, release, client, free or name)
        return [f"beside the one that runs, {reason}" for reason in found]

    def _created_beside(
        self,
        name: str,
        place: Place,
        client: Client,
        release: Release,
        label: str,
        serving: str,
        found: UnikernelInfo,
    ) -> UnikernelInfo:
        """Running under its own label, and proven to. Where it is not, it is gone again, and the old one was not
        touched."""
        image = self._verified(name, release)
        content = image.read_bytes()
        running = wanted(name, place, release, label)
        self._keep_way_back(name, place, client, serving, found)
        note_second_label(self._layout, name)
        self._records(name).begin(self._record(name, release, running, None, label), release, image)
        full = place.name(label)
        said_before = beside.last_line_at(client, full)
        try:
            client.create(full, config_of(running, content))
        except (NotSent, Unsendable, Refused) as error:
            raise DriverError(f"{name}: {release} was not started: {error} What ran before still runs.") from error
        except AnswerLost as lost:
            try:
                self._made_sure(name, client, full, release, running, None, lost)
            except DriverError:
                self._destroy(name, client, full)
                raise
        return self._proven(name, place, client, release, label, said_before)

    def _proven(
        self, name: str, place: Place, client: Client, release: Release, label: str, said_before: Optional[str]
    ) -> UnikernelInfo:
        """What runs beside another one, once it was seen to be up. DriverError, after it was destroyed, where it is
        not. Nothing is written down yet: that takes time, and with each millisecond that both run requests are lost."""
        full = place.name(label)
        known = self._record_of(name, release).ran_before
        try:
            return beside.prove(client, full, release, said_before, known, self._pause)
        except DriverError as error:
            self._destroy(name, client, full)
            raise DriverError(
                f"{name}: {release} did not come up beside what runs, which was left running: {error}"
            ) from error

    def _clear(
        self, name: str, place: Place, client: Client, there: Mapping[str, UnikernelInfo], keep: Optional[str]
    ) -> None:
        """Destroy what else runs under a label of it; also of that, the image is kept."""
        for label, info in there.items():
            if label != keep:
                self._keep_way_back(name, place, client, label, info)
                self._destroy(name, client, place.name(label))

    # --- what is written down ---

    def _note(
        self,
        name: str,
        place: Place,
        release: Release,
        label: str,
        info: UnikernelInfo,
        running: Optional[Running] = None,
    ) -> None:
        """That this is what runs, and nothing else of us; ``running``: not as its configuration says."""
        records = self._records(name)
        running = running or wanted(name, place, release, label)
        there = records.of(release.number)
        if there is None or (there.running, there.ended, there.label) != (running, "", label):
            record = replace(self._record(name, release, running, None, label), started=info.started)
            records.begin(record, release, self._verified(name, release))
        elif there.started != info.started:
            records.put(replace(there, started=info.started))
        for other in records.all():
            if other.number != release.number and not other.ended:
                records.put(replace(other, ended="replaced"))

    def _note_as_stopped(self, name: str, release: Release) -> None:
        """So that somebody else's start of it is seen."""
        place = self._place(name)
        record = replace(self._record(name, release, wanted(name, place, release), None, name), ended="stopped")
        self._records(name).begin(record, release, None)

    def _record(self, name: str, release: Release, running: Running, before: Optional[str], label: str) -> Created:
        self._places.write(name)
        records = self._records(name).all()
        mine = next((one for one in records if one.number == release.number), None)
        return Created(
            number=release.number,
            order=max((one.order for one in records if one is not mine), default=0) + 1,
            label=label,
            running=running,
            asked_at=console.stamp(),
            before=before,
            ran_before=mine is not None and (mine.ran_before or mine.started is not None),
        )

    def _replace(
        self,
        name: str,
        place: Place,
        client: Client,
        release: Release,
        label: str,
        found: Optional[UnikernelInfo],
    ) -> UnikernelInfo:
        image = self._verified(name, release)
        content = image.read_bytes()
        running = wanted(name, place, release, label)
        self._keep_way_back(name, place, client, label, found)
        before = found.started if found is not None else None
        self._records(name).begin(self._record(name, release, running, before, label), release, image)
        full = place.name(label)
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

    def _keep_way_back(
        self, name: str, place: Place, client: Client, label: str, found: Optional[UnikernelInfo]
    ) -> None:
        """The image of what is about to be killed, in the store: also of what somebody else put there."""
        if found is not None and not self._images.holds(found.digest.hex()):
            self._fetched(name, place, client, label, found)

    def _fetched(self, name: str, place: Place, client: Client, label: str, found: UnikernelInfo) -> Image:
        digest = found.digest.hex()
        content = client.image(place.name(label))
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
        for label in dict.fromkeys((*labels_in_use(self._layout, name), *(record.label for record in there))):
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
        if release in self._attributed(name, client, place, there):
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
        if release in self._attributed(name, place.client(), place, records.all()):
            raise DriverError(f"{name}, release {release}, runs on {place}, so its records were kept.")
        records.discard(release)

    # --- adopting ---

    def discovered(self, name: str, number: int) -> Optional[Release]:
        found = self._found(name)
        if found is None:
            return None
        place, _client, label, info = found
        recorded = self._recorded(name, label, info)
        if recorded is not None:
            return recorded
        return Release(number, Image(info.digest.hex(), 0), found_configuration(name, place, info, label))

    def fetch_image(self, name: str, number: int) -> Optional[tuple[Release, Image]]:
        found = self._found(name)
        if found is None:
            return None
        place, client, label, info = found
        recorded = self._recorded(name, label, info)
        if recorded is not None:
            with suppress(ImageMissing):
                self._images.verify(recorded.image)
                return recorded, recorded.image
        image = self._fetched(name, place, client, label, info)
        if recorded is not None:
            return recorded, recorded.image
        configuration = found_configuration(name, place, info, label)
        with open(self._images.verify(image), "rb") as file:
            abi, devices = read_notes(file)
        release = Release(number, image, configuration, abi=abi, devices=devices)
        # What it runs as is what was found, and not what its configuration would be sent as: that may be less exact.
        if label != name:
            note_second_label(self._layout, name)
        self._note(name, place, release, label, info, told(info))
        return release, image

    def _found(self, name: str) -> Optional[tuple[Place, Client, str, UnikernelInfo]]:
        """Under its name; or under its second label, where all that was known of it here was lost."""
        place = self._places.of(name)
        if place is None:
            return None
        client = place.client()
        for label in labels_of(name):
            info = client.unikernel(place.name(label))
            if info is not None:
                return place, client, label, info
        return None

    def _recorded(self, name: str, label: str, info: UnikernelInfo) -> Optional[Release]:
        """The release that it was started from by us, unchanged since: where a state was lost."""
        records = self._records(name)
        mine = attributed([one for one in records.all() if one.label == label], info)
        return records.release(mine.number) if mine is not None and mine.altered is None else None


def _left(client: Client, full: Name) -> str:
    """What a refusal left, for the message: some come before the kill, and some after it."""
    with suppress(DriverError):
        return " What ran before still runs." if client.unikernel(full) is not None else " What ran before was killed."
    return ""
