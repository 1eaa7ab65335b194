"""One change carried out on the tables and the live plan: rows anew, what cannot stay out, the rest re-timed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from scheduler.planning.claimed import ClaimedPlan
from scheduler.planning.core import (
    CHOICE,
    ELIG_HIGH,
    ELIG_LOW,
    FREE,
    MACHINE,
    PINNED,
    POS,
    SHOP,
    START,
    TAIL,
    TAIL_TICKS,
    TICKS,
)
from scheduler.planning.eligibility import Alternatives
from scheduler.planning.events import Changes
from scheduler.planning.explaining import Explanation
from scheduler.planning.growing import Growing
from scheduler.planning.problem import NEVER
from scheduler.planning.snapshot import PlanJob, PlanMachine

#: Jobs without a place that are tried again at one event.
TRIED_AGAIN = 64


#: Says where jobs are, or why they wait, given the rows that were written or linked anew until now.
Telling = Callable[[Sequence[str], set[int]], list[Explanation]]


def quoted(book: Growing, live: ClaimedPlan, jobs: Sequence[PlanJob], tell: Telling) -> list[Explanation]:
    """Where new jobs that are not fixed would go together; nothing changes."""
    for job in jobs:
        book.enter(job)
    rows = [book.write(job, book.alternatives_of(job)) for job in jobs]
    around = list(dict.fromkeys(name for job in jobs for name in (job.id, *job.predecessors, *book.after(job.id))))
    _relink(book, live, around)
    live.place_again(rows)
    told = tell([job.id for job in jobs], {*rows, *(book.row[job] for job in around if job in book.row)})
    for o, job in zip(rows, jobs, strict=True):
        live.take(o)
        book.leave_lists(job.id)
        book.drop(job.id)
    _relink(book, live, around)
    live.retime(())
    return told


def _relink(book: Growing, live: ClaimedPlan, jobs: Iterable[str]) -> None:
    book.relink(job for job in jobs if job in book.row)
    live.exchange(book.core)


class Change:
    """What one change touches, gathered while it is carried out."""

    def __init__(
        self, book: Growing, live: ClaimedPlan, changes: Changes, tell: Telling, asked: str | None = None
    ) -> None:
        self.book, self.live, self.changes, self.tell, self.asked = book, live, changes, tell, asked
        self.lost: dict[str, None] = {}
        """Jobs that lost their place."""
        self.touched: dict[str, None] = {job.id: None for job in changes.jobs}
        """Jobs whose rows have to be looked at."""
        self.linked: dict[str, None] = {}
        """Jobs whose links have to be looked at."""
        self.pinned: dict[str, None] = {}
        """Machines whose fixed work changed."""
        self.seeds: dict[int, None] = {}
        """Rows to time anew."""
        self.told: Explanation | None = None
        """Where the job that was asked for went, before others made use of what is left."""
        self.rewritten: set[int] = set()
        """Rows that were written anew."""
        self.dearer: set[int] = set()
        """Rows that stay as they are and cost otherwise."""
        self.possible = True
        """False: the queues contradict each other now, and have to be made anew."""

    @property
    def anew(self) -> set[int]:
        """Rows that were written or linked anew."""
        named = (*self.touched, *self.linked)
        return self.rewritten | {self.book.row[job] for job in named if job in self.book.row}

    def carry_out(self, now: datetime | None) -> None:
        """All of it."""
        changes, view = self.changes, self.book.view
        if now is not None:
            self._clock(max(view.tick(now), self.live.now))
        if changes.made is not None:
            for job in view.made ^ set(changes.made):
                self._touch(self.book.after(job))
            view.made = frozenset(changes.made)
        if changes.pressures is not None:
            before = self.book.core.pressure.copy()
            self.book.registers.pressures = changes.pressures
            self.book.new_pressure()
            self.dearer.update(self._in_shops(before != self.book.core.pressure))
        for job in changes.gone_jobs:
            self._gone(job)
        for machine in changes.gone_machines:
            self._machine_gone(machine)
        for one in changes.machines:
            if view.machine.get(one.id) != one:
                self._machine(one)
        old = {job.id: view.job.get(job.id) for job in changes.jobs}
        for job_ in changes.jobs:
            self._enter(job_, old[job_.id])
        pins = self._pins()
        for job in list(self.touched):
            self._row(job, old.get(job))
        _relink(self.book, self.live, {**self.touched, **self.linked})
        self._put_pins(pins)
        self._retime()
        self._place_lost()

    def _in_shops(self, which: NDArray[np.bool_]) -> list[int]:
        """Placed rows in these shops."""
        machine = self.live.schedule.at[:, MACHINE]
        rows = np.flatnonzero(machine >= 0)
        there: list[int] = rows[which[self.book.core.mach[machine[rows], SHOP]]].tolist()
        return there

    # --- what is touched -------------------------------------------------------------------------------------------

    def _touch(self, jobs: Iterable[str]) -> None:
        self.touched.update(dict.fromkeys(job for job in jobs if job in self.book.view.job))

    def _circles(self, jobs: Iterable[str]) -> None:
        """A circle through these may have closed or opened: who is in it loses or regains links to its parts."""
        family = self.book.family_of(jobs)
        self._touch(family)
        known = self.book.view.job
        self.linked.update({before: None for job in family if job in known for before in known[job].predecessors})

    def _lift(self, o: int) -> None:
        if self.live.schedule.at[o, POS] >= 0:
            self.seeds.update(dict.fromkeys(self.live.behind(o)))
            self.live.take(o)
            self.lost[self.book.jobs[o].id] = None

    def _clock(self, now: int) -> None:
        self.book.view.now = now
        self.live.clock(now)
        self.seeds.update(dict.fromkeys(self.live.late_starts()))
        self.pinned.update(dict.fromkeys(self.book.overdue(now)))

    def _gone(self, job_id: str) -> None:
        if job_id not in self.book.row:
            return
        self._lift(self.book.row[job_id])
        self.lost.pop(job_id, None)
        job = self.book.leave_lists(job_id)
        assert job is not None, "what has a row is known"
        if job.fixed is not None:
            self.pinned[job.fixed.machine] = None
        self.linked.update(dict.fromkeys(job.predecessors))
        self.touched.pop(job_id, None)
        self._circles([job_id])
        self.seeds.pop(self.book.row[job_id], None)
        self.book.drop(job_id)

    def _machine_gone(self, machine: str) -> None:
        m = self.book.able.row_of(machine)
        if m < 0:
            return
        for o in self.live.queue(m):
            self._lift(o)
        self._touch(job.id for job in self.book.fixed_on(machine))
        self._guide_again(self.book.drop_machine(machine).tolist())
        self._touch_former(machine)

    def _machine(self, machine: PlanMachine) -> None:
        book, live = self.book, self.live
        old = book.view.machine.get(machine.id)
        new_shop = machine.shop not in book.registers.shops
        m = book.able.row_of(machine.id)
        busy = int(book.core.mach[m, FREE]) if m >= 0 else 0
        changed = book.put_machine(machine)
        live.exchange(book.core)
        m = book.able.row_of(machine.id)
        if old is None or old.shop != machine.shop:
            self._touch_former(machine.id)
        if new_shop:
            self._touch(job.id for job in book.view.job.values() if job.own_shop == machine.shop)
        self.pinned[machine.id] = None
        self.rewritten.update(changed.tolist())
        self._refresh(changed.tolist())
        later = int(book.core.mach[m, FREE])
        for o in live.queue(m):
            if book.core.ops[o, PINNED] < 0 and later > busy and live.schedule.at[o, START] < later:
                self._lift(o)
        self.seeds.update(dict.fromkeys(live.queue(m)))
        if old is not None and old.shop != machine.shop:
            # Its parts come from elsewhere now, even where they are done when they were; others' people take them out.
            for o in live.queue(m):
                self.seeds.update(dict.fromkeys(live.behind(o)))
            self.dearer.update(self.seeds)
        self._guide_again(changed.tolist())

    def _guide_again(self, rows: Iterable[int]) -> None:
        """Who may be made where has changed: what that says to the parts before and after."""
        jobs = (self.book.jobs[o] for o in rows)
        self.linked.update({job.id: None for job in jobs if job.predecessors or self.book.after(job.id)})

    def _touch_former(self, machine: str) -> None:
        """Jobs that were made there before weigh a move from it."""
        self._touch(job.id for job in self.book.view.job.values() if job.previous_machine == machine)

    def _refresh(self, rows: Iterable[int]) -> None:
        """Placed rows whose alternatives changed: the same machine under another number, or out."""
        at = self.live.schedule.at
        for o in rows:
            if at[o, POS] < 0 or self.book.core.ops[o, PINNED] >= 0:
                continue
            k = self.book.choice_on(o, int(at[o, MACHINE]))
            if k < 0:
                self._lift(o)
            else:
                self._choose(o, k)

    def _choose(self, o: int, k: int) -> None:
        at, core = self.live.schedule.at, self.book.core
        at[o, CHOICE], at[o, TICKS], at[o, TAIL] = k, core.elig_ticks[k], core.elig_more[k, TAIL_TICKS]
        self.seeds[o] = None

    def _enter(self, job: PlanJob, old: PlanJob | None) -> None:
        for one in (old, job):
            if one is not None:
                self.linked.update(dict.fromkeys(one.predecessors))
                if one.fixed is not None:
                    self.pinned[one.fixed.machine] = None
        self.book.enter(job)
        if old is None or old.predecessors != job.predecessors:
            self._circles([job.id])
        else:
            self.linked.update(dict.fromkeys(self.book.after(job.id)))

    def _pins(self) -> dict[str, None]:
        """Fixed jobs that have to be put where they now are."""
        out: dict[str, None] = {}
        fixed = (self.book.view.job[job].fixed for job in self.touched)
        self.pinned.update({one.machine: None for one in fixed if one is not None})
        for machine in self.pinned:
            for job, pin in self.book.pins(machine).items():
                if self.book.pin_of(job) != pin or job in self.touched:
                    self.book.set_pin(job, pin)
                    out[job] = None
        self._touch(out)
        return out

    def _row(self, job_id: str, old: PlanJob | None) -> None:
        """The row anew; where the job cannot stay in its queue it goes out first."""
        book, at = self.book, self.live.schedule.at
        job = book.view.job[job_id]
        alternatives = book.alternatives_of(job)
        o = book.row.get(job_id)
        if o is not None and at[o, POS] >= 0 and not self._stays(o, job, old, alternatives):
            self._lift(o)
        elif o is None:
            self.lost[job_id] = None
        o = book.write(job, alternatives)
        self.rewritten.add(o)
        self.live.exchange(book.core)
        if self.live.schedule.at[o, POS] >= 0:
            self._choose(o, book.choice_on(o, int(self.live.schedule.at[o, MACHINE])))
        else:
            self.lost[job_id] = None
        self.linked[job_id] = None

    def _stays(self, o: int, job: PlanJob, old: PlanJob | None, alternatives: Alternatives) -> bool:
        """Whether the job may keep its place in its queue, whatever its times then are."""
        m = int(self.live.schedule.at[o, MACHINE])
        if job.fixed is not None or self.book.core.ops[o, PINNED] >= 0:
            return False
        if old is not None and old.predecessors != job.predecessors:
            return False
        return bool(((alternatives.machine == m) & (alternatives.after < NEVER)).any())

    # --- the plan --------------------------------------------------------------------------------------------------

    def _lost_rows(self) -> set[int]:
        return {self.book.row[job] for job in self.lost if job in self.book.row}

    def _put_pins(self, pins: dict[str, None]) -> None:
        book, live = self.book, self.live
        rows = sorted((book.row[job] for job in pins), key=lambda o: int(book.core.ops[o, PINNED]))
        for o in rows:
            here = book.choices(o)
            if here.stop == here.start or live.schedule.at[o, POS] >= 0:
                continue
            k = here.start
            out = live.put_pinned(o, int(book.core.elig_machine[k]), k, int(book.core.elig_ticks[k]))
            self.lost.update({book.jobs[y].id: None for y in out})
            live.exchange(book.core)
            self.lost.pop(book.jobs[o].id, None)
            self.seeds.update(dict.fromkeys(live.behind(o)))

    def _retime(self) -> None:
        """Times anew; where they do not work out, the queues concerned are made anew."""
        live, at = self.live, self.live.schedule.at
        seeds = [o for o in {**self.seeds, **live.left} if o < len(at) and at[o, POS] >= 0]
        if live.retime(seeds):
            return
        for o in seeds:
            if live.schedule.at[o, POS] < 0:
                continue
            for y in live.queue(int(live.schedule.at[o, MACHINE])):
                if self.book.core.ops[y, PINNED] < 0:
                    self._lift(y)
        self.possible = live.retime_whole()

    def _place_lost(self) -> None:
        live, book = self.live, self.book
        if self.asked is not None and self.asked in book.row:
            live.place_again([book.row[self.asked]])
            self.told = self.tell([self.asked], self.anew)[0]
        at, ops = live.schedule.at, book.core.ops
        lost = self._lost_rows()
        able = (at[:, MACHINE] < 0) & (ops[:, PINNED] < 0) & (ops[:, ELIG_HIGH] > ops[:, ELIG_LOW])
        others = [o for o in np.flatnonzero(able).tolist() if o not in lost][:TRIED_AGAIN]
        again = [o for o in sorted(lost) if at[o, MACHINE] < 0 and ops[o, PINNED] < 0]
        live.place_again(again + others)
