"""A compiled problem that lives on: jobs and machines come, change and go by rows, and nothing else is compiled again.

Every job of the snapshot has a row, also one that nothing can make: it has no alternatives there. The tables
themselves are in `roomy`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from scheduler.planning.compiling import (
    NOTHING,
    Pin,
    circuits_of,
    compile_snapshot,
    job_side,
    machine_side,
    milliwatts,
    ordered_fixed,
    parts_of,
    pinned_alternative,
    pins_on,
)
from scheduler.planning.core import (
    AFTER,
    CURVE,
    DUE,
    GUIDE_DUE,
    GUIDE_WEIGHT,
    NUMBER,
    PINNED,
    SUCC_HIGH,
    SUCC_LOW,
    WEIGHT,
    make_core,
)
from scheduler.planning.eligibility import Alternatives
from scheduler.planning.people import CrewTicks, crews_of
from scheduler.planning.problem import NEVER, Longs, Problem
from scheduler.planning.roomy import NOWHERE, Roomy
from scheduler.planning.snapshot import PlanJob, PlanMachine, Snapshot
from scheduler.planning.staggering import Shared
from scheduler.planning.waits import circle_of


class Growing(Roomy):
    """The tables of one snapshot under change. Rows are stable: a job keeps its row while it is there."""

    def __init__(self, snapshot: Snapshot, now: int = 0) -> None:
        """Compile whole; `now` in ticks after the snapshot's own now. Raises BadSnapshot."""
        compiled = compile_snapshot(snapshot, now)
        self.view, self.registers, self.able = compiled.view, compiled.registers, compiled.able
        self.machines: list[PlanMachine] = list(compiled.machines)
        self.jobs: list[PlanJob] = []
        self.row: dict[str, int] = {}
        self.gone: set[int] = set()
        """Rows of machines that have gone."""
        self._shared: Shared | None = None
        self._free_rows: list[int] = []
        self._after: dict[str, dict[str, None]] = {}
        self._fixed = ordered_fixed(compiled.view.job.values())
        self._pins: dict[str, Pin] = {}
        for machine_id in self._fixed:
            if machine_id in self.view.machine:
                self._pins |= pins_on(self.view, machine_id, self._fixed)
        self._sizes = self.registers.sizes
        for waits in compiled.waiting:
            self.registers.take_job(self.view.job[waits.job])
        self._calendars = len(self.registers.calendars)
        self._take_tables(compiled.core, compiled.moving)
        self._new_sizes()
        waiting = {waiting.job for waiting in compiled.waiting}
        for job in (*compiled.jobs, *(job for job in compiled.view.job.values() if job.id in waiting)):
            self.jobs.append(job)
            self.row[job.id] = len(self.jobs) - 1
            for before in job.predecessors:
                self._after.setdefault(before, {})[job.id] = None
        self._first_rows(len(compiled.jobs))

    def _first_rows(self, compiled: int) -> None:
        """What is known of rows that came compiled; rows for jobs that wait."""
        # Room from the start: the first order must not wait until large tables have been copied.
        self._widen(len(self.jobs) + 1, self._used + 1, self._linked + 1)
        for o, job in enumerate(self.jobs):
            self._number(o, job)
        for o in range(compiled, len(self.jobs)):
            self._write_row(o, self.jobs[o], self.alternatives_of(self.jobs[o]))
        for job in self.jobs:
            if job.predecessors or job.id in self._after:
                self._link(job.id)
        self._guide(job.id for job in self.jobs[compiled:])

    # --- questions -------------------------------------------------------------------------------------------------

    @property
    def circuits(self) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """Milliwatts allowed and machines of each circuit that can bind."""
        return self.shared.circuits

    @property
    def crews(self) -> tuple[CrewTicks, ...]:
        """The people that are counted."""
        return self.shared.crews

    @property
    def binds(self) -> bool:
        """Whether machines share anything that is counted."""
        return self.shared.binds

    @property
    def shared(self) -> Shared:
        """All that machines share; the same object until a machine changes."""
        if self._shared is None:
            here, view = self.view.snapshot, self.view
            there = [replace(m, shop="") if i in self.gone else m for i, m in enumerate(self.machines)]
            self._shared = Shared(
                circuits_of(view, self.machines) if here.circuits else (),
                tuple(milliwatts(m) for m in self.machines) if here.circuits else (),
                crews_of(view, there) if here.crews else (),
                view.horizon,
            )
        return self._shared

    def alternatives_of(self, job: PlanJob) -> Alternatives:
        """Everywhere the job may be made as things are; nowhere while it needs a part that nobody makes, or its own."""
        if job.fixed is not None:
            row = self.able.row_of(job.fixed.machine)
            return NOTHING if row < 0 else pinned_alternative(row, self._pins[job.id])
        if self._waits_for_nothing(job):
            return NOTHING
        return self.able.alternatives(job)

    def _waits_for_nothing(self, job: PlanJob) -> bool:
        """Whether it needs a part that nobody makes, or its own."""
        if not job.predecessors:
            return False
        unknown = (before not in self.view.job and before not in self.view.made for before in job.predecessors)
        return any(unknown) or bool(circle_of(self.view, job))

    def after(self, job: str) -> tuple[str, ...]:
        """Jobs that need its part."""
        return tuple(self._after.get(job, ()))

    def pins(self, machine: str) -> dict[str, Pin]:
        """Start tick and ticks of the jobs fixed on it."""
        return pins_on(self.view, machine, self._fixed) if machine in self.view.machine else {}

    def overdue(self, now: int) -> list[str]:
        """Machines on which fixed work should have ended."""
        late = (
            machine
            for machine, jobs in self._fixed.items()
            for job in jobs
            if sum(self._pins.get(job.id, (NEVER, 0))) <= now
        )
        return list(dict.fromkeys(late))

    def fixed_on(self, machine: str) -> tuple[PlanJob, ...]:
        """Jobs fixed on the machine."""
        return tuple(self._fixed.get(machine, ()))

    # --- jobs ------------------------------------------------------------------------------------------------------

    def enter(self, job: PlanJob) -> None:
        """Make the job known, new or changed; `write` gives it its row's contents."""
        self.leave_lists(job.id)
        self.view.job[job.id] = job
        if job.fixed is not None:
            self._fixed.setdefault(job.fixed.machine, []).append(job)
        for before in job.predecessors:
            self._after.setdefault(before, {})[job.id] = None
        self.registers.take_job(job)
        self._new_sizes()

    def leave_lists(self, job_id: str) -> PlanJob | None:
        """Take the job off every list; its row stays. Returns what it was."""
        old = self.view.job.pop(job_id, None)
        if old is None:
            return None
        for before in old.predecessors:
            self._after.get(before, {}).pop(job_id, None)
        if old.fixed is not None:
            left = [job for job in self._fixed[old.fixed.machine] if job.id != job_id]
            self._fixed[old.fixed.machine] = left
            self._pins.pop(job_id, None)
        return old

    def set_pin(self, job_id: str, pin: Pin) -> None:
        """Where a fixed job is; `write` puts it into its row."""
        self._pins[job_id] = pin

    def pin_of(self, job_id: str) -> Pin | None:
        """Where a fixed job was last written."""
        return self._pins.get(job_id)

    def write(self, job: PlanJob, alternatives: Alternatives) -> int:
        """The job's row, written anew (its links and guides: `relink`)."""
        o = self.row.get(job.id)
        if o is None:
            o = self._free_rows.pop() if self._free_rows else len(self.jobs)
            self.row[job.id] = o
            if o == len(self.jobs):
                self.jobs.append(job)
                self._widen(o + 1, 0, 0)
        self.jobs[o] = job
        self._number(o, job)
        self._write_row(o, job, alternatives)
        return o

    def drop(self, job_id: str) -> None:
        """The row is free again; nothing may be placed in it."""
        o = self.row.pop(job_id)
        self._owner[self.choices(o)] = NOWHERE
        self._room_of[o] = 0
        self._link_room[o] = 0
        self.core.ops[o] = 0
        self.core.ops[o, PINNED] = -1
        self._kind[o] = -1
        self._free_rows.append(o)

    def relink(self, job_ids: Iterable[str]) -> None:
        """Who waits for whom around these jobs, and what that says about when they should be done."""
        known = list(dict.fromkeys(job_ids))
        for job_id in known:
            self._link(job_id)
        self._guide(known)

    def _number(self, o: int, job: PlanJob) -> None:
        fixed = job.fixed is not None
        self._kind[o] = -1 if fixed else self.able.kind(job)
        self._span[o] = -1 if fixed else self.able.span(job)
        self._before[o] = NOWHERE if job.previous_machine is None else self.able.row_of(job.previous_machine)

    def _write_row(self, o: int, job: PlanJob, alternatives: Alternatives) -> None:
        self._put_row(o, _row_of(self, job, alternatives, self._pins.get(job.id)), alternatives)

    # --- who waits for whom ----------------------------------------------------------------------------------------

    def _link(self, job_id: str) -> None:
        o, job = self.row[job_id], self.view.job[job_id]
        before = [self.row[b] for b in parts_of(self.view, job) if b in self.row]
        after = [self.row[a] for a in self._after.get(job_id, ()) if job_id in parts_of(self.view, self.view.job[a])]
        self._put_links(o, before, after)

    def family_of(self, job_ids: Iterable[str]) -> list[str]:
        """These jobs and all that need their parts, through others too."""
        found: dict[str, None] = {}
        edge = list(job_ids)
        while edge:
            here = edge.pop()
            if here not in found:
                found[here] = None
                edge += [a for a in self._after.get(here, ()) if a in self.view.job]
        return list(found)

    def _guide(self, job_ids: Iterable[str]) -> None:
        """Dates and weights that operations inherit from those that need their parts; see `compiling.guides`."""
        edge = [job for job in self.family_of(job_ids) if job in self.row]
        affected: dict[str, None] = {}
        while edge:
            here = edge.pop()
            if here not in affected:
                affected[here] = None
                edge += [b for b in parts_of(self.view, self.view.job[here]) if b in self.row]
        done: dict[str, bool] = {}
        for job_id in affected:
            self._guide_one(job_id, affected, done, {})

    def _guide_one(self, job_id: str, affected: dict[str, None], done: dict[str, bool], able: dict[str, bool]) -> None:
        """Afterwards the row is guided; those that need its part are guided first."""
        if done.setdefault(job_id, False) or job_id not in affected:
            return
        done[job_id] = True
        o, ops = self.row[job_id], self.core.ops
        due, weight = int(ops[o, DUE]), int(ops[o, WEIGHT])
        for y in self.core.links[ops[o, SUCC_LOW] : ops[o, SUCC_HIGH]].tolist():
            self._guide_one(self.jobs[y].id, affected, done, able)
            if self._plannable(self.jobs[y].id, able):
                if ops[y, GUIDE_DUE] < NEVER:
                    due = min(due, int(ops[y, GUIDE_DUE]) - self._least(y))
                weight = max(weight, int(ops[y, GUIDE_WEIGHT]))
        ops[o, GUIDE_DUE], ops[o, GUIDE_WEIGHT] = due, weight

    def _least(self, o: int) -> int:
        here = self.choices(o)
        possible = self.core.elig_more[here, AFTER] < NEVER
        return int(self.core.elig_ticks[here][possible].min()) if possible.any() else 0

    def _plannable(self, job_id: str, known: dict[str, bool]) -> bool:
        """Whether the job and all whose parts it needs have a machine; not in a circle."""
        if job_id not in known:
            known[job_id] = False
            job = self.view.job[job_id]
            here = self.core.elig_more[self.choices(self.row[job_id]), AFTER]
            known[job_id] = bool((here < NEVER).any()) and (
                job.fixed is not None or all(self._plannable(b, known) for b in job.predecessors if b in self.view.job)
            )
        return known[job_id]

    # --- machines --------------------------------------------------------------------------------------------------

    def put_machine(self, machine: PlanMachine) -> Longs:
        """A new machine, or another one of that id. Returns the rows of jobs whose alternatives changed."""
        m = self.able.row_of(machine.id)
        self._shared = None
        self.view.put_machine(machine)
        self.registers.take_machine(machine)
        self._new_sizes()
        self._new_calendars()
        if m < 0:
            m = min(self.gone, default=len(self.machines))
            self.gone.discard(m)
        if m == len(self.machines):
            self.machines.append(machine)
            self.core = self.core._replace(mach=np.vstack([self.core.mach, np.zeros_like(self.core.mach[:1])]))
        self.machines[m] = machine
        self.able.put(m, machine)
        side = machine_side(self.view, self.registers, [machine])
        drawn = int(self.core.mach[m, CURVE])
        made = make_core(_tiny(self, **side))
        self.core.mach[m] = made.mach[0]
        if len(made.carbon) > len(self.core.carbon):
            self.core = self.core._replace(carbon=made.carbon)
        changed = self._new_column(m)
        if drawn == self.core.mach[m, CURVE]:
            return changed
        # What its current costs is in no row: whatever may run there is looked at again.
        there = self._owner[np.flatnonzero(self.core.elig_machine[: self._used] == m)]
        return np.union1d(changed, there[there >= 0])

    def drop_machine(self, machine_id: str) -> Longs:
        """The machine has gone. Returns the rows of jobs that lost it."""
        m = self.able.row_of(machine_id)
        self._shared = None
        self.able.put(m, None)
        del self.view.machine[machine_id]
        for job in self._fixed.get(machine_id, ()):
            self._pins.pop(job.id, None)
        self.view.forget(machine_id)
        self.gone.add(m)
        self.machines[m] = replace(self.machines[m], circuit="", power_w=None)
        return self._new_column(m)

    def _new_column(self, m: int) -> Longs:
        """All alternatives on one machine anew."""
        entries = np.flatnonzero(self.core.elig_machine[: self._used] == m)
        had = self._owner[entries]
        mine = (had >= 0) & (self._kind[had] >= 0)
        entries, had = entries[mine], had[mine]
        rows = np.flatnonzero(self._kind[: len(self.jobs)] >= 0)
        able, found = self.able.column(m, self._kind[rows], self._span[rows])
        rows, able = rows[able], np.zeros(len(self.jobs), bool)
        found, rows = self._particulars(m, found, rows)
        able[rows] = True
        place = np.full(len(self.jobs), -1, np.int64)
        place[rows] = np.arange(len(rows))
        changed = self._same_place(entries, had, place, found, able)
        held = np.zeros(len(self.jobs), bool)
        held[had] = True
        new = ~held[rows]
        self._add_alternatives(rows[new], found.keep(new))
        return np.union1d(changed, rows[new])

    def _particulars(self, m: int, found: Alternatives, rows: Longs) -> tuple[Alternatives, Longs]:
        """Where jobs were made before, what owners declined, and parts that nobody makes."""
        shop = np.array([self.registers.shop(machine.shop) for machine in self.machines])
        before = self._before[rows]
        far = np.where(shop[before] == shop[m], 20, 100) * self.view.policy.nervousness
        moved = np.where((before < 0) | (before == m), 0, far)
        after, keep = found.after.copy(), np.ones(len(rows), bool)
        for i, o in enumerate(rows.tolist()):
            job = self.jobs[o]
            if not job.declined and not job.predecessors:
                continue
            keep[i] = not self._waits_for_nothing(job)
            for declined in job.declined:
                if declined.machine == self.machines[m].id:
                    at = NEVER if declined.not_before is None else self.view.tick(declined.not_before)
                    keep[i] &= at < self.view.horizon
                    after[i] = max(after[i], min(NEVER, at))
        found = found._replace(cost=found.cost + moved, moved=moved, after=after)
        return found.keep(keep), rows[keep]

    # --- shared tables ---------------------------------------------------------------------------------------------

    def _new_sizes(self) -> None:
        if self._sizes == self.registers.sizes:
            return
        self._sizes = self.registers.sizes
        made = make_core(_tiny(self, **self.registers.rates()))
        self.core = self.core._replace(setup=made.setup, legs=made.legs, delivery=made.delivery, pressure=made.pressure)

    def new_pressure(self) -> None:
        """The registers' fairness prices have changed."""
        self.core.pressure[:] = self.registers.pressure()

    def _new_calendars(self) -> None:
        """Calendars that the registers know and the tables do not: windows, a closing row, a row of hints."""
        new = self.registers.calendars[self._calendars :]
        if not new:
            return
        bucket = int(self.registers.packed_calendars()["bucket"])
        first = self._calendars == 0
        self._calendars += len(new)
        cal, hint = self.core.cal, self.core.cal_hint
        for windows in new:
            last = max((end for _, end in windows), default=0)
            wide = max(hint.shape[1], last // bucket + 2)
            hint = np.pad(hint, ((0, 0), (0, wide - hint.shape[1])), mode="edge")
            ends = [end for _, end in windows]
            line = len(cal) + np.searchsorted(np.array(ends, np.int64), np.arange(wide) * bucket, side="left")
            hint = np.vstack([hint[: 0 if first else len(hint)], line.astype(NUMBER)])
            cal = np.vstack([cal, np.array([*windows, (NEVER, NEVER)], NUMBER).reshape(-1, 2)])
            first = False
        self.core = self.core._replace(cal=cal, cal_hint=hint)


def _row_of(growing: Growing, job: PlanJob, alternatives: Alternatives, pin: Pin | None) -> Any:
    """The packed row of one job, as `make_core` packs it."""
    side = job_side(growing.view, growing.registers, [job], [alternatives], [pin], [[]])
    return make_core(_tiny(growing, **side)).ops[0]


def _tiny(growing: Growing, **side: Any) -> Problem:
    """A problem of one side alone; the others are empty."""
    empty: dict[str, Any] = job_side(growing.view, growing.registers, [], [], [], [])
    empty |= machine_side(growing.view, growing.registers, [])
    one = np.zeros((1, 1), np.int32)
    empty |= {"setup": np.zeros((2, 1, 1), np.int32), "first_setup": 0, "setup_cost": 0, "leg_cost": 0}
    empty |= {"legs": one, "delivery": one, "pressure": np.zeros(1, np.int64)}
    nothing = np.zeros(0, np.int32)
    empty |= {"cal_ptr": np.zeros(1, np.int64), "cal_open": nothing, "cal_shut": nothing, "cal_hint": one, "bucket": 1}
    return Problem(**(empty | side))
