"""Which machines may make a job, and at what fixed cost: the checkers of `feasibility`, asked for all machines at once.

`first_shut` is what a person reads; here the same answer comes as one mask over all machines, so that a fleet's problem
is compiled, and one more job taken in, without asking every machine a dozen questions. The tests hold both to the same
answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.contract.vocabulary import Process, Ring
from scheduler.planning.feasibility import (
    View,
    check_calendar,
    check_envelope,
    check_machine_known,
    check_material,
    check_pool,
    check_power,
    check_process,
    check_ring,
    check_toolpath,
    check_tools,
    duration_of,
)
from scheduler.planning.problem import Longs
from scheduler.planning.snapshot import DurationOption, MaterialNeed, PlanJob, PlanMachine, PlanTool

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
#: Ticks beyond any horizon, and far from what 64 bits hold.
_UNCOUNTABLE: Final = 1e15


class Alternatives(NamedTuple):
    """A job's machines in rising rows, with what each costs whatever the time. Shapes: all (alternatives)."""

    machine: Longs
    ticks: Longs
    tail: Longs
    cost: Longs
    after: Longs
    """Not before this tick."""
    moved: Longs
    """The part of `cost` for having moved."""

    def keep(self, chosen: Mask) -> Alternatives:
        """Those that are chosen."""
        return Alternatives(*(column[chosen] for column in self))


class Eligibility:
    """Answers for a list of machines; row i is `machines[i]`, None where a machine has gone."""

    def __init__(self, view: View, machines: Sequence[PlanMachine | None]) -> None:
        self._view = view
        self.machines: list[PlanMachine | None] = list(machines)
        self._masks: dict[Kind, Mask] = {}
        self._parts: dict[object, Mask] = {}
        self._kinds: dict[Kind, int] = {}
        self._spans: dict[tuple[DurationOption, ...], int] = {}
        self._made: _Columns | None = None
        self._row = {machine.id: row for row, machine in enumerate(self.machines) if machine is not None}
        self._process: dict[str, int] = {}
        self._shop: dict[str, int] = {}
        self._alike: dict[object, int] = {}

    def put(self, row: int, machine: PlanMachine | None) -> None:
        """Another machine in the row (one past the last adds one); None: it has gone."""
        columns = self._columns
        if row == len(self.machines):
            self.machines.append(machine)
            empty = _Columns.empty(1)
            self._made = _Columns(*(np.concatenate(pair) for pair in zip(columns, empty, strict=True)))
            self._masks = {kind: np.append(mask, False) for kind, mask in self._masks.items()}
        else:
            gone = self.machines[row]
            if gone is not None:
                self._row.pop(gone.id, None)
            self.machines[row] = machine
        self._parts.clear()
        self._fill(row, machine)
        for kind, mask in self._masks.items():
            mask[row] = machine is not None and self._may(kind, row, machine)

    def kind(self, job: PlanJob) -> int:
        """A number for what the job asks of a machine, durations and declines aside."""
        kind = _kind_of(job)
        self._mask(kind)
        return self._kinds.setdefault(kind, len(self._kinds))

    def span(self, job: PlanJob) -> int:
        """A number for how long the job takes where."""
        return self._spans.setdefault(job.options, len(self._spans))

    def column(self, row: int, kinds: Longs, spans: Longs) -> tuple[Mask, Alternatives]:
        """One machine for many jobs, by their numbers: which it may make, and those as alternatives.

        Where jobs were made before, and what owners declined, is for the caller to add.
        """
        machine, view, columns = self.machines[row], self._view, self._columns
        able = np.zeros(len(kinds), bool)
        if machine is None:
            return able, Alternatives(*(np.zeros(0, np.int64) for _ in Alternatives._fields))
        lut = np.zeros(max(1, len(self._kinds)), bool)
        own = np.zeros(max(1, len(self._kinds)), bool)
        for kind, number in self._kinds.items():
            lut[number], own[number] = self._mask(kind)[row], kind.own_shop == machine.shop
        able = lut[kinds]
        times = np.full((max(1, len(self._spans)), 3), -1.0)
        options = list(self._spans)
        for span in np.unique(spans[able]).tolist():
            times[span] = self._times_on(replace(_NO_JOB, options=options[span]), machine)
        p50, p80, p90 = times[spans].T
        ticks = np.maximum(1, _ticks(p80, view.policy.tick_s))
        safe, need = _ticks(p90, view.policy.tick_s), _ticks(p90, view.policy.tick_s)
        need = need + view.ticks(view.policy.setup_s)
        stretch = np.where(own[kinds], columns.longest[row, 1], columns.longest[row, 0])
        staffed = np.where(own[kinds], columns.longest[row, 3], columns.longest[row, 2])
        able &= (p50 > 0) & (stretch >= need) & (staffed >= need if machine.attended else columns.visited[row])
        cost = 100 * view.policy.ring_minutes * columns.ring[row] + self._again(p50, columns.chance[row])
        nothing = np.zeros(len(kinds), np.int64)
        found = Alternatives(nothing + row, ticks, np.maximum(0, safe - ticks), cost, nothing, nothing)
        return able, found.keep(able)

    def row_of(self, machine: str) -> int:
        """The machine's row; -1 where there is none."""
        return self._row.get(machine, -1)

    def alternatives(self, job: PlanJob) -> Alternatives:
        """Everywhere the job may be made."""
        view, policy = self._view, self._view.policy
        rows, p50, p80, p90 = self._durations(job, np.flatnonzero(self._mask(_kind_of(job))))
        columns = self._columns
        ticks = np.maximum(1, _ticks(p80, policy.tick_s))
        safe = _ticks(p90, policy.tick_s)
        fits = self._hours(job, rows, safe + view.ticks(policy.setup_s))
        rows, ticks, safe, p50 = rows[fits], ticks[fits], safe[fits], p50[fits]
        after, shut = self._declined(job, rows)
        moved = self._moved(job, rows)
        cost = 100 * policy.ring_minutes * columns.ring[rows] + self._again(p50, columns.chance[rows]) + moved
        found = Alternatives(rows, ticks, np.maximum(0, safe - ticks), cost, after, moved)
        return found.keep(~shut) if shut.any() else found

    def _again(self, p50: Floats, chance: Floats) -> Longs:
        """Cost of the runs that will have to be made again."""
        again: Longs = np.rint(100 * (p50 / 60) * (1 / chance - 1) * self._view.policy.flow_percent).astype(np.int64)
        return again

    def _times_on(self, job: PlanJob, machine: PlanMachine) -> tuple[float, float, float]:
        """P50, P80 and P90 seconds; -1 where the job has no duration on the machine."""
        if check_toolpath(self._view, job, machine) is not None:
            return -1.0, -1.0, -1.0
        duration = duration_of(job, machine)
        assert duration is not None, "the toolpath checker let a job through that has no duration"
        return duration.p50_s, duration.p80_s, duration.p90_s

    # --- masks -----------------------------------------------------------------------------------------------------

    def _mask(self, kind: Kind) -> Mask:
        """Everything but durations, hours and what the owner declined."""
        known = self._masks.get(kind)
        if known is None:
            known = self._masks[kind] = self._made_mask(kind)
        return known

    def _may(self, kind: Kind, row: int, machine: PlanMachine) -> bool:
        """`_made_mask` for one machine."""
        job = _job_of(kind)
        checks = (check_process, check_ring, check_pool, check_envelope, check_tools, check_material)
        return bool(self._columns.able[row]) and all(check(self._view, job, machine) is None for check in checks)

    def _made_mask(self, kind: Kind) -> Mask:
        columns, job = self._columns, _job_of(kind)
        mask: Mask = columns.able & (columns.process == self._process.get(kind.process, -1))
        mask &= self._by_value(("ring", kind.ring), lambda m: m.ring, lambda m: check_ring(self._view, job, m) is None)
        own = self._shop.get(kind.own_shop, -1) if kind.own_shop is not None else -1
        mask &= columns.pool | (columns.shop == own)
        if kind.bounds_mm is not None:
            mask &= (np.array(kind.bounds_mm) <= columns.envelope + 1e-6).all(axis=1)
        if kind.tools:
            mask &= self._by_value(
                ("tools", kind.tools), lambda m: m.tools, lambda m: check_tools(self._view, job, m) is None
            )
        if kind.need is not None and kind.need.material:
            mask &= self._by_value(
                ("need", kind.need),
                lambda m: (m.loaded, m.loadable),
                lambda m: check_material(self._view, job, m) is None,
            )
        return mask

    def _by_value(
        self, key: object, value: Callable[[PlanMachine], object], asks: Callable[[PlanMachine], bool]
    ) -> Mask:
        """The checker asked once for machines that are alike in what it looks at."""
        known = self._parts.get(key)
        if known is None:
            said: dict[object, bool] = {}
            known = np.zeros(len(self.machines), bool)
            for row, machine in enumerate(self.machines):
                if machine is None:
                    continue
                alike = value(machine)
                if alike not in said:
                    said[alike] = asks(machine)
                known[row] = said[alike]
            self._parts[key] = known
        return known

    # --- numbers ---------------------------------------------------------------------------------------------------

    def _durations(self, job: PlanJob, rows: Longs) -> tuple[Longs, Floats, Floats, Floats]:
        """Rows that have a duration, and P50, P80 and P90 seconds there; one look per class of machines."""
        particular = {option.machine for option in job.options if option.machine is not None}
        alike = self._columns.durations[rows]
        said: dict[int, tuple[float, float, float]] = {}
        table = np.full((len(rows), 3), -1.0)
        for at in range(len(rows)) if particular else np.unique(alike, return_index=True)[1].tolist():
            machine = self.machines[rows[at]]
            assert machine is not None, "a machine that has gone is able to do nothing"
            if particular and machine.id not in particular and int(alike[at]) in said:
                table[at] = said[int(alike[at])]
                continue
            found = self._times_on(job, machine)
            table[at] = found
            if machine.id not in particular:
                said[int(alike[at])] = found
        if not particular and len(rows):
            lut = np.full((int(alike.max()) + 1, 3), -1.0)
            for number, found in said.items():
                lut[number] = found
            table = lut[alike]
        has = table[:, 0] > 0
        return rows[has], table[has, 0], table[has, 1], table[has, 2]

    def _hours(self, job: PlanJob, rows: Longs, need: Longs) -> Mask:
        columns = self._columns
        own = columns.shop[rows] == (self._shop.get(job.own_shop, -2) if job.own_shop is not None else -2)
        have = np.where(own, columns.longest[rows, 1], columns.longest[rows, 0])
        staffed = np.where(own, columns.longest[rows, 3], columns.longest[rows, 2])
        there = np.where(columns.attended[rows], staffed >= need, columns.visited[rows])
        fits: Mask = (have >= need) & there
        return fits

    def _declined(self, job: PlanJob, rows: Longs) -> tuple[Longs, Mask]:
        after, shut = np.zeros(len(rows), np.int64), np.zeros(len(rows), bool)
        for declined in job.declined:
            here = rows == self._row.get(declined.machine, -1)
            if declined.not_before is None or self._view.tick(declined.not_before) >= self._view.horizon:
                shut |= here
            else:
                after[here] = np.maximum(after[here], self._view.tick(declined.not_before))
        return after, shut

    def _moved(self, job: PlanJob, rows: Longs) -> Longs:
        before = None if job.previous_machine is None else self._row.get(job.previous_machine)
        if before is None:
            return np.zeros(len(rows), np.int64)
        shop = self._columns.shop
        far = np.where(shop[rows] == shop[before], 20, 100) * self._view.policy.nervousness
        return np.where(rows == before, 0, far).astype(np.int64)

    # --- columns ---------------------------------------------------------------------------------------------------

    @property
    def _columns(self) -> _Columns:
        if self._made is None:
            self._made = _Columns.empty(len(self.machines))
            for row, machine in enumerate(self.machines):
                self._fill(row, machine)
        return self._made

    def _fill(self, row: int, m: PlanMachine | None) -> None:
        columns, view = self._columns, self._view
        if m is None:
            columns.able[row] = False
            return
        self._row[m.id] = row
        columns.process[row] = self._process.setdefault(m.process, len(self._process))
        columns.shop[row] = self._shop.setdefault(m.shop, len(self._shop))
        alike = (m.model, m.warmup_s, m.cooldown_s)
        columns.durations[row] = self._alike.setdefault(alike, len(self._alike))
        columns.ring[row] = m.ring.width
        columns.pool[row] = m.accepts_pool
        columns.attended[row] = m.attended
        columns.chance[row] = min(1.0, max(0.05, m.reliability))
        columns.longest[row] = view.times[m.id].longest
        columns.visited[row] = columns.longest[row, 4] > 0
        columns.envelope[row] = np.inf if m.envelope_mm is None else m.envelope_mm
        checks = (check_machine_known, check_calendar, check_power)
        columns.able[row] = all(check(view, _NO_JOB, m) is None for check in checks)


class Kind(NamedTuple):
    """What a job asks of a machine, durations and declines aside."""

    process: Process
    ring: Ring
    own_shop: str | None
    need: MaterialNeed | None
    bounds_mm: tuple[float, float, float] | None
    tools: tuple[PlanTool, ...]


def _kind_of(job: PlanJob) -> Kind:
    return Kind(job.process, job.ring, job.own_shop, job.need, job.bounds_mm, job.tools)


def _job_of(kind: Kind) -> PlanJob:
    """Any job of the kind."""
    return replace(_NO_JOB, **kind._asdict())


class _Columns(NamedTuple):
    """What is asked of every machine, one row each."""

    process: Longs
    shop: Longs
    durations: Longs
    """Machines of one number take the same time for a job that names no machine."""
    ring: Longs
    pool: Mask
    attended: Mask
    visited: Mask
    """Somebody comes at all."""
    able: Mask
    chance: NDArray[np.float64]
    envelope: NDArray[np.float64]
    longest: Longs

    @staticmethod
    def empty(count: int) -> _Columns:
        """No machine yet in any of the rows."""

        def numbers() -> Longs:
            return np.full(count, -1, np.int64)

        def flags() -> Mask:
            return np.zeros(count, bool)

        envelope = np.full((count, 3), np.inf)
        longest = np.zeros((count, 5), np.int64)
        return _Columns(
            numbers(), numbers(), numbers(), numbers(), flags(), flags(), flags(), flags(), np.ones(count), envelope,
            longest,
        )  # fmt: skip


def _ticks(seconds: NDArray[np.float64], tick_s: int) -> Longs:
    """Whole ticks that cover so many seconds; see `View.ticks`."""
    ticks: Longs = np.minimum(np.ceil(seconds / tick_s - 1e-9), _UNCOUNTABLE).astype(np.int64)
    return ticks


#: Three checkers look at the machine alone.
_NO_JOB: Final = PlanJob("", "", "", ())  # type: ignore[arg-type]
