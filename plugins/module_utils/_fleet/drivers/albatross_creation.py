# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One unikernel being made to run on its albatross: by force create in its place, or beside it under another label.

albatross kills what runs before it looks at what is to replace it, calls a started tender a success, and sometimes
never answers. So the way back is fetched first, what is asked is written down before, and what really runs is asked for
afterwards: it alone decides.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Optional, Protocol

from ..albatross.client import Client
from ..albatross.errors import AnswerLost, NotSent, Refused, Unsendable
from ..albatross.names import Name
from ..albatross.records import UnikernelInfo
from ..errors import DriverError, Hindered, ImageError, ImageMissing
from ..layout import NodeLayout
from ..model import Image, Release
from . import albatross_console as console, albatross_cut_over as beside
from .albatross_console_daemon import refusals_of_console
from .albatross_ending import POLL_S, SETTLES_WITHIN_S, destroy_for_sure
from .albatross_failures import failure, left, sentence
from .albatross_labels import free_label
from .albatross_place import Place, Places
from .albatross_records import Created, Records, attributed
from .albatross_refusals import refusals_of_server
from .albatross_running import Running, config_of, differences, told, wanted

There = Mapping[str, UnikernelInfo]
"""What runs of a unikernel, by its labels."""


class Images(Protocol):
    """What the driver needs of the node's image store."""

    def holds(self, sha256: str) -> bool: ...

    def verify(self, image: Image) -> Path: ...

    def add_stream(self, chunks: Iterable[bytes], expected: Optional[Image] = None) -> Image: ...


def what_runs(client: Client, place: Place, labels: Iterable[str]) -> dict[str, UnikernelInfo]:
    """Under these labels, in their order; told in one answer, so of one moment."""
    listed = {entry.name: entry.info for entry in client.unikernels(place.name(None))}
    asked = {label: listed.get(place.name(label)) for label in labels}
    return {label: info for label, info in asked.items() if info is not None}


class Creations:
    """Of one unikernel, at its place."""

    def __init__(
        self,
        name: str,
        place: Place,
        client: Client,
        layout: NodeLayout,
        images: Images,
        places: Places,
        pause: Callable[[float], None],
    ) -> None:
        self._name = name
        self._place = place
        self._client = client
        self._layout = layout
        self._images = images
        self._places = places
        self._pause = pause
        self._records = Records(layout, name)

    # --- what there is

    def there(self, labels: Iterable[str]) -> dict[str, UnikernelInfo]:
        return what_runs(self._client, self._place, labels)

    def serving(self, there: There, old: Optional[Release]) -> Optional[str]:
        """The label of what is to be replaced. Of two, the other one is left from a change that was cut short."""
        if len(there) < 2:
            return next(iter(there), None)
        records = {label: self._record_under(label, info) for label, info in there.items()}

        def rank(label: str) -> tuple[bool, int]:
            record = records[label]
            if record is None:
                return False, 0
            return old is not None and record.number == old.number, record.order

        return max(there, key=rank)

    def alike(self, there: There, release: Release) -> Optional[str]:
        """The label of what runs as is wanted already: with other words for it, nothing need be stopped."""
        for label, info in there.items():
            record = self._record_under(label, info, as_it_was=True)
            unseen = None if record is None else record.running.add_name
            if not differences(self.wanted(release, label), replace(told(info), add_name=unseen)):
                return label
        return None

    def _record_under(self, label: str, info: UnikernelInfo, as_it_was: bool = False) -> Optional[Created]:
        """Of which what runs there is; ``as_it_was``: unless somebody altered it."""
        records = [one for one in self._records.all() if one.label == label]
        mine = attributed(records, info)
        if mine is None or (as_it_was and mine.altered is not None):
            return None
        return next(one for one in records if one.number == mine.number)

    def wanted(self, release: Release, label: str) -> Running:
        return wanted(self._name, self._place, release, label)

    # --- making it run

    def made(self, old: Optional[Release], new: Release, there: There) -> tuple[str, UnikernelInfo]:
        """Under which label ``new`` runs now, and as what. Nothing else of the unikernel does."""
        label = self.alike(there, new)
        if label is not None:
            info = self._kept(label, new, there)
        else:
            serving = self.serving(there, old)
            self._clear(there, serving)
            there = {label: info for label, info in there.items() if label == serving}
            label, info = self._replaced(old, new, serving, there)
        self._clear(there, label)
        return label, info

    def _kept(self, label: str, release: Release, there: There) -> UnikernelInfo:
        record = self._records.of(release.number)
        untried = record is not None and record.label == label and record.started is None
        if record is not None and untried and len(there) > 1 and not beside.why_no_ready_check(release.configuration):
            # A change was cut short before it was known whether it came up.
            with beside.listening(self._client, self._place.name(label), release.configuration, record.asked_at) as ear:
                return self._proven(release, label, ear)
        return there[label]

    def _replaced(
        self, old: Optional[Release], new: Release, serving: Optional[str], there: There
    ) -> tuple[str, UnikernelInfo]:
        """After a cut-over, the old one runs still."""
        if serving is None:
            return self._name, self._forced(new, self._name, None)
        if beside.asked_for(new, old):
            free = free_label(self._name, serving)
            if free is not None and not self.obstacles(new, there[serving], serving):
                return free, self._beside(new, free, serving, there[serving])
        return serving, self._forced(new, serving, there[serving])

    def obstacles(self, release: Release, running: UnikernelInfo, serving: str) -> list[str]:
        """What forbids to run both for a moment, in clauses."""
        free = free_label(self._name, serving)
        reasons = beside.obstacles(self._name, release, running)
        if reasons or free is None:
            return reasons
        # Under another label it replaces nothing, so there has to be room for both.
        found = refusals_of_server(self._name, self._place, release, self._client, free)
        return [f"beside the one that runs, {reason}" for reason in found]

    def _beside(self, release: Release, label: str, serving: str, running: UnikernelInfo) -> UnikernelInfo:
        """Proven to be up. Where it is not, it is gone again, and the old one was not touched."""
        image = self.verified(release)
        content = image.read_bytes()
        self._keep_way_back(serving, running)
        record = self._asked(release, label, None)
        self._records.begin(record, release, image)
        full = self._place.name(label)
        with beside.listening(self._client, full, release.configuration) as ear:
            self._create(full, release, record, content)
            return self._proven(release, label, ear)

    def _create(self, full: Name, release: Release, record: Created, content: bytes) -> None:
        try:
            self._client.create(full, config_of(record.running, content))
        except (NotSent, Unsendable, Refused) as error:
            self._answered(record)
            said = f"{self._name}: {release} was not started: {sentence(error)} What ran before still runs."
            raise failure(error, said) from error
        except AnswerLost as lost:
            try:
                self._made_sure(full, release, record, lost)
            except DriverError:
                self.destroy(record.label)
                raise

    def _proven(self, release: Release, label: str, ear: beside.Ear) -> UnikernelInfo:
        """What runs beside another one, once it was seen to be up. DriverError, after it was destroyed, where it is
        not. Nothing is written down yet: that takes time, and with each millisecond that both run requests are lost."""
        known = self._record_of(release).ran_before
        try:
            return beside.prove(self._client, self._place.name(label), release, ear, known, self._pause)
        except DriverError as error:
            try:
                self.destroy(label)
            except DriverError as undone:
                raise failure(
                    error,
                    f"{self._name}: {release} was started beside what runs, and was not seen to be up: {error} It "
                    f"could not be destroyed again, so both run now: {undone}",
                ) from error
            said = f"{self._name}: {release} did not come up beside what runs, which was left running: {error}"
            raise failure(error, said) from error

    def _forced(self, release: Release, label: str, running: Optional[UnikernelInfo]) -> UnikernelInfo:
        """By force create, in the place of what runs there."""
        image = self.verified(release)
        content = image.read_bytes()
        if running is not None:
            self._keep_way_back(label, running)
            hindrances = refusals_of_console(self._place, self._client, label)
            if hindrances:
                raise Hindered(
                    f"{self._name}: {release} was not started: {'; '.join(hindrances)}. What ran before still runs."
                )
        before = running.started if running is not None else None
        record = self._asked(release, label, before)
        self._records.begin(record, release, image)
        full = self._place.name(label)
        try:
            self._client.force_create(full, config_of(record.running, content))
        except (NotSent, Unsendable) as error:
            self._answered(record)
            raise failure(error, f"{self._name}: {release} was not started: {error}") from error
        except Refused as refused:
            self._answered(record)
            what_is_left = "" if running is None else left(self._client, full)
            said = f"{self._name}: {release} was not started: {sentence(refused)}{what_is_left}"
            raise failure(refused, said) from refused
        except AnswerLost as lost:
            return self._made_sure(full, release, record, lost)
        info = self._client.unikernel(full)
        if info is None:
            # albatross calls it a success when the tender was started, and drops what ended from its list.
            words = console.spoken_by(self._client, full, self._record_of(release), ())
            raise DriverError(f"{self._name}: {release} ended right after its start: it {console.last_words(words)}")
        return info

    def _record_of(self, release: Release) -> Created:
        record = self._records.of(release.number)
        if record is None:
            raise DriverError(f"{self._name}: the record of {release} was removed by somebody while it was started")
        return record

    def _made_sure(self, full: Name, release: Release, asked: Created, lost: AnswerLost) -> UnikernelInfo:
        """What became of a request without an answer: by what runs, for a bounded time, never by guessing."""
        give_up = time.monotonic() + SETTLES_WITHIN_S
        seen = "albatross could not be asked what runs now"
        while True:
            with suppress(DriverError):
                info = self._client.unikernel(full)
                if info is not None and info.started != asked.before and not differences(asked.running, told(info)):
                    return info
                seen = "nothing runs under its name"
                if info is not None:
                    before = info.started == asked.before
                    seen = "what ran before still runs" if before else "something else runs there now"
            if time.monotonic() >= give_up:
                raise Hindered(
                    f"{self._name}: {release} was asked for, and its answer was lost ({lost}) {SETTLES_WITHIN_S:g} s "
                    f"later {seen}."
                ) from lost
            self._pause(POLL_S)

    # --- what is stopped for it

    def _clear(self, there: There, keep: Optional[str]) -> None:
        """Destroy what else runs under a label of it; also of that, the image is kept."""
        for label, info in there.items():
            if label != keep:
                self._keep_way_back(label, info)
                self.destroy(label)

    def destroy(self, label: str) -> None:
        destroy_for_sure(self._name, self._client, self._place.name(label), self._pause)

    def _keep_way_back(self, label: str, running: UnikernelInfo) -> None:
        """The image of what is about to be killed, in the store: also of what somebody else put there."""
        if not self._images.holds(running.digest.hex()):
            self.fetched(label, running)

    def fetched(self, label: str, running: UnikernelInfo) -> Image:
        digest = running.digest.hex()
        content = self._client.image(self._place.name(label))
        if content is None:
            raise DriverError(
                f"{self._name}: it ended while its image was fetched from {self._place}. Look at its console."
            )
        try:
            return self._images.add_stream([content], Image(digest, len(content)))
        except ImageError as error:
            raise DriverError(
                f"{self._name} runs on {self._place}, and its image could not be brought into the store, so there "
                f"would be no way back to it: {error} It was left running."
            ) from error

    def verified(self, release: Release) -> Path:
        try:
            return self._images.verify(release.image)
        except ImageMissing as error:
            raise DriverError(f"{self._name}: {release} was not started: {error} Nothing was stopped.") from error

    # --- what is written down

    def note(self, release: Release, label: str, info: UnikernelInfo, running: Optional[Running] = None) -> None:
        """That this is what runs, and nothing else of us; ``running``: not as its configuration says."""
        running = running or self.wanted(release, label)
        there = self._records.of(release.number)
        if there is None or (there.running, there.ended, there.label) != (running, "", label):
            record = replace(self._record(release, running, None, label), started=info.started)
            self._records.begin(record, release, self.verified(release))
        elif there.started != info.started:
            self._records.put(replace(there, started=info.started, unanswered=False))
        for other in self._records.all():
            if other.number != release.number and not other.ended:
                self._records.put(replace(other, ended="replaced"))

    def note_as_stopped(self, release: Release) -> None:
        """So that somebody else's start of it is seen."""
        record = self._record(release, self.wanted(release, self._name), None, self._name)
        self._records.begin(replace(record, ended="stopped"), release, None)

    def _asked(self, release: Release, label: str, before: Optional[str]) -> Created:
        """Of what is about to be asked for. Whoever asks may be killed before the answer, so it counts as unanswered
        until there is one."""
        return replace(self._record(release, self.wanted(release, label), before, label), unanswered=True)

    def _answered(self, record: Created) -> None:
        """It is certain that nothing comes of it any more."""
        with suppress(DriverError):
            self._records.put(replace(record, unanswered=False))

    def _record(self, release: Release, running: Running, before: Optional[str], label: str) -> Created:
        self._places.write(self._name)
        records = self._records.all()
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
