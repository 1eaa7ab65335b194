"""One round of planning, beside the dispatcher's own thread: look, compose plates and sheets, ask for toolpaths, plan.

Its long steps hold neither the dispatcher nor the database: they read, or wait for other processes. What it writes are
short transactions, each of which moves only what nobody else moved since the look.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from scheduler.dispatch.batches import in_batches
from scheduler.dispatch.moves import Mover
from scheduler.dispatch.picture import Picture, take_picture
from scheduler.dispatch.quoting import Planned, Planner, plan_and_quote
from scheduler.dispatch.timings import Step, Timings
from scheduler.orders import composing
from scheduler.orders.composer import Answer, Composer
from scheduler.orders.laying import Table, lay_table, worth_composing
from scheduler.orders.making import ToolpathRoom
from scheduler.planning.snapshot import Carbon, PlanPolicy
from scheduler.store import Store, queries

#: Toolpaths asked for in one transaction.
_WANTED_AT_ONCE: Final = 10
#: A round waits so long for its plates and sheets to be composed; what comes later is carried out by a later round.
COMPOSED_WITHIN_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Found:
    """What a round found. `planned` is None where nothing waits."""

    picture: Picture
    planned: Planned | None
    looked_s: float
    """What looking took, in seconds."""


class Rounds:
    """Makes rounds, one at a time."""

    def __init__(
        self,
        store: Store,
        mover: Mover,
        planner: Planner,
        composer: Composer,
        room: ToolpathRoom,
        *,
        policy: PlanPolicy,
        carbon: tuple[Carbon, ...] = (),
        timings: Timings,
        news: Callable[[], object],
    ) -> None:
        self._store, self._mover, self._planner, self._composer, self._room = store, mover, planner, composer, room
        self._policy, self._carbon, self._timings = policy, carbon, timings
        self._news = news
        self._composed: tuple[object, ...] = ()
        self._composing: tuple[Table, Future[Answer]] | None = None
        self._told = False

    def make(self, now: datetime) -> Found:
        """Look and plan. Raises PlannerLost; what was composed and asked for until then stands."""
        began = time.monotonic()
        picture = self.look(now)
        looked_s = time.monotonic() - began
        if not any(job.fixed is None for job in picture.snapshot.jobs) and not picture.held_back:
            return Found(picture, None, looked_s)
        with self._timings.of(Step.PLAN):
            return Found(picture, plan_and_quote(self._planner, picture), looked_s)

    def look(self, now: datetime) -> Picture:
        """Everything a plan depends on, once waiting pieces lie well and all toolpaths are asked for."""
        picture = self._look(now)
        if self._compose(picture, now):
            picture = self._look(now)
        self._ask_for_toolpaths(picture, now)
        return picture

    def _look(self, now: datetime) -> Picture:
        with self._timings.of(Step.LOOK), self._store.read() as c:
            return take_picture(c, now, self._mover.limits, self._policy, self._carbon)

    def _compose(self, picture: Picture, now: datetime) -> bool:
        """Let waiting pieces share plates and sheets, and part those that cannot. Whether anything changed."""
        touched: list[str] = []
        for change in self._changes(picture):
            with self._timings.of(Step.REARRANGE), self._store.write() as c:
                touched += composing.carry_out(c, self._mover, change, now)
        for job, why in composing.misfits(picture).items():
            with self._timings.of(Step.REARRANGE), self._store.write() as c:
                touched += composing.separate(c, picture, job, why, now)
        return bool(touched)

    def _changes(self, picture: Picture) -> list[composing.Change]:
        """What the composer proposes, waited for a little: a plan does not wait for a better plate."""
        if self._composing is None:
            seen = composing.fingerprint(picture)
            if seen == self._composed:
                return []
            self._composed = seen
            table = lay_table(picture)
            if not worth_composing(table):
                return []
            self._composing = table, self._composer.begin(table)
        table, answer = self._composing
        with self._timings.of(Step.COMPOSE):
            done, _ = wait([answer], COMPOSED_WITHIN_S)
        if not done:
            if not self._told:
                self._told = True
                answer.add_done_callback(lambda _: self._news())
            return []
        self._composing, self._told = None, False
        packed = None if answer.cancelled() else answer.result()
        return [] if packed is None else composing.changes(table, packed)

    def _ask_for_toolpaths(self, picture: Picture, now: datetime) -> None:
        wanted = picture.wanted
        for some in in_batches(wanted.missing.items(), _WANTED_AT_ONCE):
            with self._timings.of(Step.WANT), self._store.write() as c:
                known = queries.recipes(c, [key for key, _ in some])
                for key, recipe in some:
                    if key not in known:
                        self._room.want(c, recipe, wanted.file_keys[key], now)
        self._room.begin({**wanted.missing, **wanted.asked})
