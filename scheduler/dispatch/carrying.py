"""A plan on its way into the database: in slices, each a short transaction, so that nobody waits long to write.

Between two slices anything may happen. So every slice reads anew what it is about to change, and leaves alone what
moved since the plan's instant. A scheduler that dies between two slices plans again; nothing is owed for the rest.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

import sqlalchemy as sa

from agents.contract.vocabulary import JobState
from scheduler.dispatch.batches import in_batches
from scheduler.dispatch.board import post_marks
from scheduler.dispatch.moves import Mover
from scheduler.dispatch.offers import (
    Reach,
    keep_place,
    keep_plan,
    not_yet,
    offer_job,
    room_left,
    store_waiting,
    unheard,
)
from scheduler.dispatch.owners import make_way
from scheduler.dispatch.picture import Picture
from scheduler.dispatch.quoting import Planned, write_quotes
from scheduler.dispatch.reservations import in_the_way, reserved_windows
from scheduler.planning.snapshot import Placement, Waiting
from scheduler.store import queries

#: A slice takes up further pieces of work for so long; one piece takes some milliseconds.
SLICE_S: Final = 0.01
#: Jobs in one piece of work.
_AT_ONCE: Final = 10
#: An offer takes some 3 ms: the job, its record and its message are written.
_OFFERED_AT_ONCE: Final = 3

_Deed = Callable[[sa.Connection, datetime], None]


@dataclass(frozen=True, slots=True)
class _Standing:
    """What stands at the beginning of one transaction, for all offers that it makes: nobody else writes meanwhile."""

    room: Counter[str]
    """Places left on each machine; counted down by the offers made."""
    shut: str
    booked: Mapping[str, Sequence[tuple[datetime, datetime]]]


class Carrying:
    """One plan. `slice` until it says that nothing is left."""

    def __init__(self, mover: Mover, picture: Picture, planned: Planned, reach: Reach) -> None:
        self._mover, self._picture, self._planned, self._reach = mover, picture, planned, reach
        self._number = 0
        self._passed: Counter[str] = Counter()
        """Places on each machine that this plan gives to jobs that are not offered yet."""
        self.offered: list[str] = []
        self.news = False
        """Whether something changed that a further plan depends on."""
        self._standing: _Standing | None = None
        self._left = deque(self._deeds())

    def __str__(self) -> str:
        plan = self._planned.plan
        return f"planned {len(plan.placements)}, waiting {len(plan.waiting)}, offered {len(self.offered)}"

    def slice(self, c: sa.Connection, now: datetime, seconds: Callable[[], float] = time.monotonic) -> bool:
        """Do some of it in this transaction. Whether anything is left."""
        until = seconds() + SLICE_S
        self._standing = None
        while self._left:
            self._left.popleft()(c, now)
            if seconds() >= until:
                break
        return bool(self._left)

    def _deeds(self) -> Iterator[_Deed]:
        plan = self._planned.plan
        waiting = {each.job: each for each in plan.waiting}
        placed = [placement for placement in plan.placements if not placement.fixed]
        yield self._keep
        for jobs in in_batches(sorted(self._picture.jobs), 4 * _AT_ONCE):
            yield partial(self._post, jobs)
        for names in in_batches(sorted({*waiting, *self._picture.held_back}), _AT_ONCE):
            yield partial(self._say_why, waiting, names)
        for some in in_batches(sorted(placed, key=lambda each: (each.start, each.job)), _OFFERED_AT_ONCE):
            yield partial(self._offer, some)
        yield self._quote
        yield self._make_way

    def _keep(self, c: sa.Connection, now: datetime) -> None:
        self._number = keep_plan(c, self._picture, self._planned.plan, now)

    def _post(self, jobs: Sequence[str], c: sa.Connection, now: datetime) -> None:
        if not unheard(c):  # an old database may call a job open that a shop has made
            post_marks(c, self._mover, self._picture, jobs, self._reach, now)

    def _say_why(self, waiting: Mapping[str, Waiting], names: Sequence[str], c: sa.Connection, _now: datetime) -> None:
        store_waiting(c, self._picture, waiting, names)

    def _offer(self, placements: Sequence[Placement], c: sa.Connection, now: datetime) -> None:
        jobs = {job.id: job for job in queries.jobs(c, ids=[placement.job for placement in placements])}
        limits, picture = self._mover.limits, self._picture
        standing = self._standing = self._standing or self._look(c, now)
        room = standing.room
        for placement in placements:
            job, machine = jobs[placement.job], picture.machines[placement.machine]
            if job.state is not JobState.WAITING or job.version != picture.jobs[job.id].version:
                continue
            why = standing.shut or not_yet(machine, placement, room[machine.key], now, limits, self._reach.term)
            # Somebody may have reserved the machine while this plan was made.
            why = why or in_the_way(standing.booked.get(machine.key, ()), placement.start, placement.finish)
            room[machine.key] -= 1
            keep_place(c, job, placement, self._planned.plan, self._number, why)
            if why:
                self._passed[machine.key] += 1
            else:
                offer_job(c, self._mover, picture, self._planned.plan, placement, now, self._reach)
                self.offered.append(job.id)

    def _look(self, c: sa.Connection, now: datetime) -> _Standing:
        room = room_left(c, self._picture.machines, self._mover.limits)
        room.subtract(self._passed)
        return _Standing(room, unheard(c), reserved_windows(c, now))

    def _quote(self, c: sa.Connection, now: datetime) -> None:
        self.news = bool(write_quotes(c, self._planned, now)) or self.news

    def _make_way(self, c: sa.Connection, now: datetime) -> None:
        self.news = bool(make_way(c, self._mover, self._picture, self._planned.plan, now)) or self.news
