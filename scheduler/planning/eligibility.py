"""Which machines may make a job, and at what fixed cost: the checkers of `feasibility`, asked for all machines at once.

`first_shut` is what a person reads; here the same answer comes as one mask over all machines, so that a fleet's problem
is compiled, and one more job taken in, without asking every machine a dozen questions. The tests hold both to the same
answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scheduler.planning.feasibility import (
    View,
    check_calendar,
    check_machine_known,
    check_material,
    check_power,
    check_ring,
    check_toolpath,
    check_tools,
    duration_of,
)
from scheduler.planning.problem import Longs
from scheduler.planning.snapshot import PlanJob, PlanMachine

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
#: Distinct requirements remembered; beyond it the memory starts anew.
_REMEMBERED: Final = 20_000
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
        self._reset()

    def put(self, row: int, machine: PlanMachine | None) -> None:
        """Another machine in the row (one past the last adds one); None: it has gone."""
        if row == len(self.machines):
            self.machines.append(machine)
        else:
            self.machines[row] = machine
        self._reset()

    def row_of(self, machine: str) -> int:
        """The machine's row; -1 where there is none."""
        return self._row.get(machine, -1)

    def alternatives(self, job: PlanJob) -> Alternatives:
        """Everywhere the job may be made."""
        view, policy = self._view, self._view.policy
        rows, p50, p80, p90 = self._durations(job, np.flatnonzero(self._mask(job)))
        columns = self._columns
        ticks = np.maximum(1, _ticks(p80, policy.tick_s))
        safe = _ticks(p90, policy.tick_s)
        fits = self._hours(job, rows, safe + view.ticks(policy.setup_s))
        rows, ticks, safe, p50 = rows[fits], ticks[fits], safe[fits], p50[fits]
        after, shut = self._declined(job, rows)
        moved = self._moved(job, rows)
        again = np.rint(100 * (p50 / 60) * (1 / columns.chance[rows] - 1) * policy.flow_percent).astype(np.int64)
        cost = 100 * policy.ring_minutes * columns.ring[rows] + again + moved
        found = Alternatives(rows, ticks, np.maximum(0, safe - ticks), cost, after, moved)
        return found.keep(~shut) if shut.any() else found

    def alternative_on(self, job: PlanJob, row: int) -> Alternatives:
        """The one alternative on this machine; empty where it may not."""
        found = self.alternatives(job)
        return found.keep(found.machine == row)

    # --- masks -----------------------------------------------------------------------------------------------------

    def _mask(self, job: PlanJob) -> Mask:
        """Everything but durations, hours and what the owner declined."""
        key = (job.process, job.ring, job.own_shop, job.need, job.bounds_mm, job.tools)
        known = self._masks.get(key)
        if known is None:
            if len(self._masks) > _REMEMBERED:
                self._masks.clear()
            known = self._masks[key] = self._made_mask(job)
        return known

    def _made_mask(self, job: PlanJob) -> Mask:
        columns = self._columns
        mask: Mask = columns.able & (columns.process == self._process.get(job.process, -1))
        mask &= self._by_value(("ring", job.ring), lambda m: m.ring, lambda m: check_ring(self._view, job, m) is None)
        own = self._shop.get(job.own_shop, -1) if job.own_shop is not None else -1
        mask &= columns.pool | (columns.shop == own)
        if job.bounds_mm is not None:
            mask &= (np.array(job.bounds_mm) <= columns.envelope + 1e-6).all(axis=1)
        if job.tools:
            mask &= self._by_value(
                ("tools", job.tools), lambda m: m.tools, lambda m: check_tools(self._view, job, m) is None
            )
        if job.need is not None and job.need.material:
            mask &= self._by_value(
                ("need", job.need),
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
            if check_toolpath(self._view, job, machine) is not None:
                found = (-1.0, -1.0, -1.0)
            else:
                duration = duration_of(job, machine)
                assert duration is not None, "the toolpath checker let a job through that has no duration"
                found = (duration.p50_s, duration.p80_s, duration.p90_s)
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
        before = self._row.get(job.previous_machine) if job.previous_machine is not None else None
        if before is None:
            return np.zeros(len(rows), np.int64)
        shop = self._columns.shop
        far = np.where(shop[rows] == shop[before], 20, 100) * self._view.policy.nervousness
        return np.where(rows == before, 0, far).astype(np.int64)

    # --- columns ---------------------------------------------------------------------------------------------------

    def _reset(self) -> None:
        self._masks: dict[object, Mask] = {}
        self._parts: dict[object, Mask] = {}
        self._made: _Columns | None = None
        self._row: dict[str | None, int] = {m.id: row for row, m in enumerate(self.machines) if m is not None}

    @property
    def _columns(self) -> _Columns:
        if self._made is None:
            self._made = self._make_columns()
        return self._made

    def _make_columns(self) -> _Columns:
        view, count = self._view, len(self.machines)
        columns = _Columns.empty(count)
        self._process: dict[str, int] = {}
        self._shop: dict[str, int] = {}
        durations: dict[object, int] = {}
        for row, m in enumerate(self.machines):
            if m is None:
                continue
            columns.process[row] = self._process.setdefault(m.process, len(self._process))
            columns.shop[row] = self._shop.setdefault(m.shop, len(self._shop))
            columns.durations[row] = durations.setdefault((m.model, m.warmup_s, m.cooldown_s), len(durations))
            columns.ring[row] = m.ring.width
            columns.pool[row] = m.accepts_pool
            columns.attended[row] = m.attended
            columns.chance[row] = min(1.0, max(0.05, m.reliability))
            columns.longest[row] = view.times[m.id].longest
            columns.visited[row] = m.attended_windows is None or columns.longest[row, 4] > 0
            if m.envelope_mm is not None:
                columns.envelope[row] = m.envelope_mm
            checks = (check_machine_known, check_calendar, check_power)
            columns.able[row] = all(check(view, _NO_JOB, m) is None for check in checks)
        return columns


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
