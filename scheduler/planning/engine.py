"""The rolling horizon: one object that holds the live plan and answers quotes, commits, repairs and explanations.

Events change the compiled problem and the live plan in place (`growing`, `claimed`): a row is written anew, what can no
longer stay where it is is lifted out and inserted again, and the rest is re-timed. Nothing is compiled whole but at the
start, when the rules of the network change, and once in a while to bring the epoch up to the clock.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scheduler.planning.answering import placement_of
from scheduler.planning.changing import Change, quoted
from scheduler.planning.claimed import ClaimedPlan
from scheduler.planning.core import MACHINE, START, empty_schedule
from scheduler.planning.delays import Delays
from scheduler.planning.events import (
    Changes,
    Ended,
    Event,
    Pinned,
    applied,
    changes_of,
)
from scheduler.planning.explaining import Explanation, explained
from scheduler.planning.growing import Growing
from scheduler.planning.loading import Kept, carried, load
from scheduler.planning.people import hours_of, shop_weeks
from scheduler.planning.planner import plan
from scheduler.planning.replaying import replayed
from scheduler.planning.saying import Saying
from scheduler.planning.snapshot import Fixed, Placement, Plan, PlanJob, Snapshot, Waiting
from scheduler.planning.stock import ration

#: After so long the plan is compiled anew with the clock's time as its epoch.
EPOCH = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Decision:
    """What was answered on what: enough to compute it again."""

    snapshot: Snapshot
    seed: int
    moves: int
    plan: Plan


@dataclass(frozen=True, slots=True)
class Repaired:
    """What an event changed: jobs placed anew, jobs without a place now, seconds it took."""

    moved: tuple[str, ...]
    waiting: tuple[str, ...]
    wall_s: float


class Planner:
    """The façade. Not safe for several threads at once; improving releases Python's lock while it runs.

    The clock of a plan runs in ticks: its `now` is the first tick at or after the moment it was told.
    """

    def __init__(self, snapshot: Snapshot, seed: int = 0) -> None:
        """Plan a snapshot. Raises BadSnapshot."""
        self._world: Snapshot | None
        self.book: Growing
        self.live: ClaimedPlan
        self.delays: Delays | None
        self.seed = seed
        self.decisions: list[Decision] = []
        self._rounds = 0
        self._asked: str | None = None
        self._told: Explanation | None = None
        self._load(snapshot, {})

    # --- questions -------------------------------------------------------------------------------------------------

    @property
    def snapshot(self) -> Snapshot:
        """The world as it is planned for."""
        if self._world is None:
            view = self.book.view
            self._world = replace(
                self._rules,
                now=view.moment(self.live.now),
                machines=tuple(view.machine.values()),
                jobs=tuple(view.job.values()),
                made=tuple(sorted(view.made)),
                pressures=self.book.registers.pressures,
            )
        return self._world

    def quote(self, job: PlanJob) -> Placement | Waiting:
        """Where and when the job would be made if it were ordered now; nothing changes."""
        return self.quotes((job,))[0]

    def quotes(self, jobs: Sequence[PlanJob]) -> tuple[Placement | Waiting, ...]:
        """Where and when jobs that come together (an order's) would be made; nothing changes.

        New jobs are put into the live plan and taken out again. A copy answers where one is known or fixed already.
        """
        known = self.book.view.job
        if all(job.fixed is None and job.id not in known for job in jobs):
            with self._undelayed() as anew:
                told = quoted(self.book, self.live, jobs, self._tell)
                around = {job for new in jobs for job in (*new.predecessors, *self.book.after(new.id))}
                anew.update(self.book.row[job] for job in around if job in self.book.row)
            return tuple(map(_answer, told))
        other = self.copy()
        if len(jobs) == 1:
            return (other.commit(jobs[0]),)
        other.apply(Changes(jobs=tuple(jobs)))
        return tuple(_answer(explained(other.book, other.live, job.id)) for job in jobs)

    def would_displace(self, event: Event) -> Repaired:
        """What an event would move and what would lose its place, if it happened (a booking, say); nothing changes."""
        return self.copy().repair(event)

    def current(self) -> Plan:
        """The whole plan as it stands, checked."""
        with self._undelayed():
            ration(self.book.jobs, self.book.machines, self.live)
            wanted = hours_of(self.book, self.live.schedule)
        made = self._said.plan(self.snapshot, self.book, self.live, seed=self.seed)
        hours = shop_weeks(self.book, hours_of(self.book, self.live.schedule), wanted)
        return replace(made, epoch=self._rules.now, hours=hours)

    def explain(self, job: str) -> Explanation:
        """Where the job is and why there; per other machine the first failing checker and the cheapest change.

        Raises:
            KeyError: the snapshot has no such job.
        """
        return explained(self.book, self.live, job, alternatives=True)

    # --- changes ---------------------------------------------------------------------------------------------------

    def commit(self, job: PlanJob) -> Placement | Waiting:
        """Take the job into the plan; the answer is binding from here as far as plans are."""
        self._asked = job.id
        self.apply(Changes(jobs=(job,)))
        self._asked, told = None, self._told
        return _answer(told if told is not None else explained(self.book, self.live, job.id))

    def repair(self, event: Event) -> Repaired:
        """Bring the plan up to date with what happened.

        Raises:
            KeyError: the event names a job or machine that the snapshot does not have, or says that a job ended which
                neither ran nor was planned anywhere.
        """
        view = self.book.view
        if isinstance(event, Ended) and view.job[event.job].fixed is None:
            o = self.book.row[event.job]
            if self.live.schedule.at[o, MACHINE] >= 0:
                place = placement_of(self.book, self.live.schedule, o)
                event = Pinned(event.job, Fixed(place.machine, place.start, event.at))
        return self.apply(changes_of(event, view.job, view.machine, sorted(view.made)))

    def advance(self, now: datetime) -> Repaired:
        """The clock has moved: what nobody claimed in time slides in front of it."""
        return self.apply(Changes(now=now))

    def apply(self, changes: Changes) -> Repaired:
        """Bring the plan up to date with everything that is other than it was."""
        began = time.perf_counter()
        book, epoch = self.book, self._rules.now
        machines = [machine.id for machine in book.machines]
        before = list(book.jobs), machines, self.live.schedule.at[:, [MACHINE, START]].copy()
        told = None if changes.now is None else max(changes.now, self.book.view.moment(self.live.now))
        old_epoch = (told or self._rules.now) - self._rules.now > EPOCH
        self._told = None
        if changes.whole or old_epoch:
            self._load(applied(self.snapshot, replace(changes, now=told)), self._carried())
        else:
            self._carry_out(changes, told)
        if self._rules.now != epoch:
            before[2][:, 1] -= int((self._rules.now - epoch).total_seconds() // self._rules.policy.tick_s)
        moved, waiting = compared(before, self.book, self.live, same_rows=self.book is book)
        return Repaired(moved, waiting, time.perf_counter() - began)

    def _carry_out(self, changes: Changes, told: datetime | None) -> None:
        self._world = None
        with self._undelayed() as anew:
            change = Change(self.book, self.live, changes, self._tell, self._asked)
            change.carry_out(told)
            anew.update(change.anew)
            self._told = change.told
        self._said.look_again(change.rewritten | change.dearer)
        if not change.possible:
            self._load(self.snapshot, self._carried())

    def improve(self, *, budget_s: float | None = None, moves: int | None = None) -> int:
        """Search on in what is free to move. How much cheaper the plan became, in hundredths of a weight-minute."""
        if not self.book.row:
            return 0
        self._rounds += 1
        if self.delays is not None:
            return self.delays.improve(moves, budget_s, self.seed + self._rounds)
        done = self.live.improve(budget_s=budget_s, moves=moves, seed=self.seed + self._rounds)
        return done.before - done.after

    # --- records ---------------------------------------------------------------------------------------------------

    def decide(self, *, moves: int = 2_000) -> Decision:
        """Plan the snapshot anew, deterministically, and keep the decision."""
        made = plan(self.snapshot, seed=self.seed, moves=moves)
        decision = Decision(self.snapshot, self.seed, moves, made)
        self.decisions.append(decision)
        return decision

    @staticmethod
    def replay(decision: Decision) -> bool:
        """Whether computing the decision again gives the same placements, terms and waits."""
        return replayed(decision.snapshot, decision.plan).same

    # --- inside ----------------------------------------------------------------------------------------------------

    @contextmanager
    def _undelayed(self) -> Iterator[set[int]]:
        """The live plan as if machines shared nothing; afterwards delayed anew, with the rows that were put in."""
        if self.delays is not None:
            self.delays.lift()
        anew: set[int] = set()
        yield anew
        self._delay(anew)

    def _delay(self, anew: Iterable[int]) -> None:
        if not self.book.binds:
            self.delays = None
        elif self.delays is None:
            self.delays = Delays(self.live, self.book.shared)
        else:
            self.delays.lay(self.book.shared, anew)

    def _tell(self, jobs: Sequence[str], anew: set[int]) -> list[Explanation]:
        """Where jobs are while a change is being carried out, or why they wait: delays counted."""
        self._delay(anew)
        told = [explained(self.book, self.live, job) for job in jobs]
        if self.delays is not None:
            self.delays.lift()
        return told

    def _carried(self) -> Kept:
        with self._undelayed():
            return carried(self.book, self.live)

    def _load(self, snapshot: Snapshot, kept: Kept) -> None:
        """Compile whole, put what is kept where it was in its queue, and insert the rest."""
        book = Growing(snapshot)
        schedule = empty_schedule(book.core)
        policy = snapshot.policy
        live = ClaimedPlan(
            book.core, schedule, freeze=policy.freeze_s // policy.tick_s, nervousness=100 * policy.nervousness
        )
        self._rules, self._world, self.book, self.live = snapshot, None, book, live
        self._said = Saying()
        load(book, live, kept)
        self.delays = Delays(live, book.shared) if book.binds else None

    def copy(self) -> Planner:
        """Another planner at the same point."""
        other = Planner.__new__(Planner)
        other.seed, other._rounds, other.decisions, other._asked, other._told = self.seed, 0, [], None, None
        other._rules, other._world, other.book, other.live = self._rules, self._world, self.book, self.live
        other._load(self.snapshot, self._carried())
        return other


def compared(
    before: tuple[list[PlanJob], list[str], NDArray[Any]], book: Growing, live: ClaimedPlan, *, same_rows: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Jobs that are elsewhere than they were, and those that have lost their place."""
    jobs, machines, places = before
    at = live.schedule.at
    rows = np.flatnonzero(places[: len(jobs), 0] >= 0)
    if same_rows:
        same = (at[rows][:, [MACHINE, START]] == places[rows]).all(axis=1)
        rows = rows[~same]
    moved, waiting = [], []
    for o in rows.tolist():
        job = jobs[o].id
        now = book.row.get(job)
        if now is None:
            continue
        if at[now, MACHINE] < 0:
            waiting.append(job)
        elif book.machines[at[now, MACHINE]].id != machines[places[o, 0]] or at[now, START] != places[o, 1]:
            moved.append(job)
    return tuple(moved), tuple(waiting)


def _answer(told: Explanation) -> Placement | Waiting:
    if told.placement is not None:
        return told.placement
    assert told.waiting is not None, "a job is placed or waits"
    return told.waiting
