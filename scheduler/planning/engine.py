"""The rolling horizon: one object that holds the live plan and answers quotes, commits, repairs and explanations.

An event makes a new snapshot, and the plan is carried over to it: what still may and can stays where it was, in its
old order; the rest is inserted anew. (`live.LivePlan` below it works on rows and ticks in place, for fleets.) Every
decision is kept with the snapshot it was made on, so that it can be replayed to the same answer.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np

from scheduler.planning.answering import answer, best_rejected, no_room, placement_of
from scheduler.planning.compiling import compile_snapshot
from scheduler.planning.construction import place_pins, priority_orders
from scheduler.planning.core import MACHINE, NUMBER, PINNED, POS, Schedule, empty_schedule
from scheduler.planning.feasibility import first_shut
from scheduler.planning.live import LivePlan
from scheduler.planning.planner import plan
from scheduler.planning.power import stagger
from scheduler.planning.problem import NEVER
from scheduler.planning.refusing import only_possible
from scheduler.planning.search import alternative_on
from scheduler.planning.snapshot import Fixed, Placement, Plan, PlanJob, PlanMachine, Shut, Snapshot, Waiting
from scheduler.planning.timing import choose, put_in, time_one


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Nobody wants the job any more."""

    job: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A running job ended, or is now expected to end, at this moment."""

    job: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Down:
    """A machine failed or was switched off, until then as far as anybody knows."""

    machine: str
    until: datetime


@dataclass(frozen=True, slots=True)
class MachineChanged:
    """A new machine, or another calendar, material or rule of a known one."""

    machine: PlanMachine


@dataclass(frozen=True, slots=True)
class Pinned:
    """A job was leased, started or put there by a person."""

    job: str
    fixed: Fixed


Event = Cancelled | Ended | Down | MachineChanged | Pinned


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


@dataclass(frozen=True, slots=True)
class Explanation:
    """One job: where it is and what that costs, or why it waits; per machine why not, or the best place there."""

    job: str
    placement: Placement | None
    waiting: Waiting | None
    machines: tuple[Shut, ...]


@dataclass
class Planner:
    """The façade. Not safe for several threads at once; improving releases Python's lock while it runs."""

    snapshot: Snapshot
    seed: int = 0
    decisions: list[Decision] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._compiled = compile_snapshot(self.snapshot)
        self._schedule(empty_schedule(self._compiled.core, self._compiled.problem.operations + 2), {})

    # --- questions -------------------------------------------------------------------------------------------------

    def quote(self, job: PlanJob) -> Placement | Waiting:
        """Where and when the job would be made if it were ordered now; nothing changes."""
        trial = Planner.__new__(Planner)
        trial.snapshot, trial.seed, trial.decisions = self.snapshot, self.seed, []
        trial._compiled, trial._row, trial.live = self._compiled, self._row, self.live
        return trial.commit(job)

    def current(self) -> Plan:
        """The whole plan as it stands, checked."""
        made = answer(self._compiled, self.live.schedule, engine="live", seed=self.seed, wall_s=0.0, alternatives=False)
        return only_possible(self.snapshot, made)

    def explain(self, job: str) -> Explanation:
        """Where the job is and why there; per other machine the first failing checker and the cheapest change.

        Raises:
            KeyError: the snapshot has no such job.
        """
        view = self._compiled.view
        wanted = view.job[job]
        machines = [first_shut(view, wanted, machine) for machine in self.snapshot.machines]
        shut = tuple(reason for reason in machines if reason is not None)
        o = self._row.get(job)
        if o is None:
            waiting = next(one for one in self._compiled.waiting if one.job == job)
            return Explanation(job, None, waiting, shut)
        if self.live.schedule.at[o, MACHINE] < 0:
            return Explanation(job, None, no_room(self._compiled, self.live.schedule, o), shut)
        rejected = None
        if self.live.schedule.at[o, POS] >= 0:
            rejected = best_rejected(self._compiled, self.live.schedule, self.live.journal, o)
        return Explanation(job, placement_of(self._compiled, self.live.schedule, o, rejected), None, shut)

    # --- changes ---------------------------------------------------------------------------------------------------

    def commit(self, job: PlanJob) -> Placement | Waiting:
        """Take the job into the plan; the answer is binding from here as far as plans are."""
        self._rebuild(replace(self.snapshot, jobs=(*self.snapshot.jobs, job)))
        told = self.explain(job.id)
        if told.placement is not None:
            return told.placement
        assert told.waiting is not None, "a job is placed or waits"
        return told.waiting

    def repair(self, event: Event) -> Repaired:
        """Bring the plan up to date with what happened.

        Raises:
            KeyError: the event names a job or machine that the snapshot does not have, or says that a job ended which
                neither ran nor was planned anywhere.
        """
        began = time.perf_counter()
        before = self._places()
        self._rebuild(self._after(event))
        after = self._places()
        moved = tuple(job for job, place in after.items() if job in before and before[job] != place)
        waiting = tuple(job for job in before if job not in after and job in self._compiled.view.job)
        return Repaired(moved, waiting, time.perf_counter() - began)

    def advance(self, now: datetime) -> None:
        """The clock has moved: what began is behind the fence, what ended is out of the queues."""
        self.live.clock(int((now - self.snapshot.now).total_seconds() // self.snapshot.policy.tick_s))

    def improve(self, *, budget_s: float | None = None, moves: int | None = None) -> int:
        """Search on in what is free to move. How much cheaper the plan became, in hundredths of a weight-minute."""
        if not self._row or self._compiled.circuits:
            return 0
        done = self.live.improve(budget_s=budget_s, moves=moves, seed=self.seed)
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
        again = plan(decision.snapshot, seed=decision.seed, moves=decision.moves)
        return replace(again, wall_s=0.0) == replace(decision.plan, wall_s=0.0)

    # --- inside ----------------------------------------------------------------------------------------------------

    def _schedule(self, schedule: Schedule, kept: dict[str, tuple[str, int]]) -> None:
        """A live plan on the compiled problem: pins, then what is kept in its old order, then the rest."""
        compiled = self._compiled
        self._row = {job.id: o for o, job in enumerate(compiled.jobs)}
        place_pins(compiled.problem, compiled.core, schedule)
        freeze = self.snapshot.policy.freeze_s // self.snapshot.policy.tick_s
        nervousness = 100 * self.snapshot.policy.nervousness
        self.live = LivePlan(compiled.core, schedule, freeze=freeze, nervousness=nervousness)
        machine_row = {machine.id: m for m, machine in enumerate(compiled.machines)}
        for job_id, (machine_id, _) in sorted(kept.items(), key=lambda item: item[1][1]):
            o, m = self._row.get(job_id), machine_row.get(machine_id)
            if o is not None and m is not None:
                self._append(o, m)
        orders = priority_orders(compiled.problem)
        for o in next(iter(orders.values())):
            if schedule.at[o, MACHINE] < 0:
                self.live.insert(int(o))
        stagger(compiled.core, schedule, compiled.circuits, compiled.power)

    def _append(self, o: int, m: int) -> None:
        """Put o behind what machine m has, where it still may and can."""
        core, s = self._compiled.core, self.live.schedule
        k = int(alternative_on(core, o, m))
        if k < 0 or s.at[o, MACHINE] >= 0 or core.ops[o, PINNED] >= 0:
            return
        waits = self._compiled.problem
        before = waits.preds[waits.pred_ptr[o] : waits.pred_ptr[o + 1]]
        if any(s.at[q, MACHINE] < 0 for q in before):
            return
        choose(core, s, o, k)
        put_in(s, m, int(s.length[m]), o)
        start, end, avail, setup = time_one(core, s, o)
        if avail >= NEVER:
            s.length[m] -= 1
            s.at[o, [MACHINE, POS]] = -1
            return
        s.at[o, 5:9] = np.array([start, end, avail, setup], NUMBER)

    def _places(self) -> dict[str, tuple[str, int]]:
        at = self.live.schedule.at
        return {
            job.id: (self._compiled.machines[at[o, MACHINE]].id, int(at[o, 5]))
            for o, job in enumerate(self._compiled.jobs)
            if at[o, MACHINE] >= 0
        }

    def _rebuild(self, snapshot: Snapshot) -> None:
        kept = self._places()
        self.snapshot = snapshot
        self._compiled = compile_snapshot(snapshot)
        self._schedule(empty_schedule(self._compiled.core, self._compiled.problem.operations + 2), kept)

    def _after(self, event: Event) -> Snapshot:
        """The world after the event."""
        now = self.snapshot
        if isinstance(event, MachineChanged):
            others = tuple(m for m in now.machines if m.id != event.machine.id)
            return replace(now, machines=(*others, event.machine))
        if isinstance(event, Down):
            machine = self._compiled.view.machine[event.machine]
            busy = max(event.until, machine.busy_until or event.until)
            down = replace(machine, busy_until=busy)
            machines = tuple(down if m.id == event.machine else m for m in now.machines)
            # What ran there or was held there is lost to it: it has to be made anew.
            held = [j for j in now.jobs if j.fixed is not None and j.fixed.machine == event.machine]
            freed = {j.id: replace(j, fixed=None) for j in held}
            return replace(now, machines=machines, jobs=tuple(freed.get(j.id, j) for j in now.jobs))
        job = self._compiled.view.job[event.job]
        if isinstance(event, Cancelled):
            return replace(now, jobs=tuple(j for j in now.jobs if j.id != job.id))
        if isinstance(event, Pinned):
            changed = replace(job, fixed=event.fixed)
        else:
            o = self._row[job.id]
            if self.live.schedule.at[o, MACHINE] < 0:
                raise KeyError(f"job {job.id} ended, but it had no machine: pin it first to where it ran")
            place = placement_of(self._compiled, self.live.schedule, o)
            held_there = job.fixed or Fixed(place.machine, place.start)
            changed = replace(job, fixed=replace(held_there, finish=event.at))
        return replace(now, jobs=tuple(changed if j.id == job.id else j for j in now.jobs))
