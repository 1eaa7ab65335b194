"""What the compiled core reads and writes: a problem and a schedule in a few packed tables.

One row an operation, one row a machine; the columns have names. Few tables mean few arguments in the innermost calls,
and one row in one cache line. `make_core` copies, so that changing the core (a machine's time, a shop's pressure) never
changes the problem it came from.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scheduler.planning.jit import HAS_COMPILER
from scheduler.planning.problem import NEVER, Ints, Longs, Problem

#: Plain Python multiplies numpy's 32-bit numbers in 32 bits; the compiler in 64.
NUMBER: Final[type[np.int32]] = np.int32 if HAS_COMPILER else np.int64  # type: ignore[assignment]

# Columns of `Core.ops`; see Problem for what they mean. EARLIEST moves with the clock, SINCE is the release for good.
EARLIEST, DUE, WEIGHT, FLOW, SINCE, ZONE, PROMISE, PROMISE_WEIGHT = range(8)
GUIDE_DUE, GUIDE_WEIGHT, PINNED, FAMILY, HOME = range(8, 13)
PRED_LOW, PRED_HIGH, SUCC_LOW, SUCC_HIGH, ELIG_LOW, ELIG_HIGH = range(13, 19)
# ANCHOR: the shop that it was planned in before; elsewhere costs `rates[MOVING]`. -1: none.
ANCHOR: Final = 19
# LATEST: its part must be free by then, because another shard's search counts on it. NEVER: nobody does.
LATEST: Final = 20
# CLEARED: nobody has taken its part out before this tick, because the people of the shop are at other machines.
CLEARED: Final = 21
OP_COLUMNS: Final = 22
# Columns of `Core.mach`.
SHOP, FREE, FAMILY_ON, MATRIX, ATTENDED, RUN, HOME_RUN, STAFF, CURVE, LOAD, UNLOAD = range(11)
# Columns of `Core.elig_more`.
TAIL_TICKS, COST, AFTER = range(3)
# Places in `Core.rates`. FENCE: nothing unpinned starts before this tick; it moves with the clock.
FIRST_SETUP, SETUP_COST, LEG_COST, BUCKET, FENCE, MOVING = range(6)
# Columns of `Core.cal`.
OPEN, SHUT = range(2)
# Columns of `Schedule.at`.
MACHINE, POS, CHOICE, TICKS, TAIL, START, END, AVAIL, SETUP = range(9)


class Core(NamedTuple):
    """The problem, packed."""

    ops: Ints
    """(n, OP_COLUMNS)"""
    elig_machine: Ints
    """(e)"""
    elig_ticks: Ints
    """(e)"""
    elig_more: Ints
    """(e, 3), or (0, 3) where all of it is zero."""
    mach: Ints
    """(m, 11)"""
    setup: Ints
    """(matrices, f, f)"""
    legs: Ints
    """(s, s)"""
    delivery: Ints
    """(s, z)"""
    pressure: Longs
    """(s)"""
    cal: Ints
    """(windows, 2): a calendar's windows in order, then one that never opens."""
    cal_hint: Ints
    """(c, buckets)"""
    links: Ints
    """predecessors and successors of all operations in a row."""
    rates: Longs
    carbon: Longs
    """(curves, ticks of a day + 1): what a machine of that curve costs from the epoch's time of day on, in
    `1 / CARBON_UNIT` of a cost unit; (0, 1) where no curve is known."""


class Schedule(NamedTuple):
    """Sequences and times: what changes while planning."""

    seq: Ints
    """(m, capacity) operations of a machine in order."""
    length: Ints
    """(m)"""
    at: Ints
    """(n, 9): machine (-1 unplaced), place in its sequence (-1 retired: done and out of it), alternative, planned
    ticks, tail, start (setting up begins), end (the machine stops), avail (a person can take the part), setup ticks."""

    @property
    def machine(self) -> Ints:
        """(n) a view; -1 unplaced."""
        return self.at[:, MACHINE]

    @property
    def choice(self) -> Ints:
        """(n) a view; the chosen alternative."""
        return self.at[:, CHOICE]

    @property
    def start(self) -> Ints:
        """(n) a view; setting up begins."""
        return self.at[:, START]

    @property
    def end(self) -> Ints:
        """(n) a view; the machine stops."""
        return self.at[:, END]

    @property
    def avail(self) -> Ints:
        """(n) a view; a person can take the part."""
        return self.at[:, AVAIL]

    @property
    def setup(self) -> Ints:
        """(n) a view; setup ticks."""
        return self.at[:, SETUP]

    @property
    def tail(self) -> Ints:
        """(n) a view; ticks from the planned to the safe end."""
        return self.at[:, TAIL]

    @property
    def pos(self) -> Ints:
        """(n) a view; place in the machine's sequence."""
        return self.at[:, POS]


def make_core(p: Problem) -> Core:
    """Pack a validated problem."""
    n = p.operations
    ops = np.zeros((n, OP_COLUMNS), NUMBER)
    after_preds = len(p.preds)
    columns = {
        EARLIEST: p.release, DUE: p.due, WEIGHT: p.weight, FLOW: p.flow, SINCE: p.release, ZONE: p.zone,
        PROMISE: p.promise, PROMISE_WEIGHT: p.promise_weight, GUIDE_DUE: p.guide_due, GUIDE_WEIGHT: p.guide_weight,
        PINNED: p.pinned, FAMILY: p.family, HOME: p.home, PRED_LOW: p.pred_ptr[:-1], PRED_HIGH: p.pred_ptr[1:],
        SUCC_LOW: p.succ_ptr[:-1] + after_preds, SUCC_HIGH: p.succ_ptr[1:] + after_preds,
        ELIG_LOW: p.elig_ptr[:-1], ELIG_HIGH: p.elig_ptr[1:],
    }  # fmt: skip
    values: NDArray[np.int64]
    for column, values in columns.items():  # type: ignore[assignment]
        ops[:, column] = values
    ops[:, ANCHOR] = -1
    ops[:, LATEST] = NEVER
    more = np.zeros((0, 3), NUMBER)
    if p.elig_tail.any() or p.elig_cost.any() or len(p.elig_after):
        after = p.elig_after if len(p.elig_after) else np.zeros_like(p.elig_tail)
        more = np.column_stack([p.elig_tail, p.elig_cost, after]).astype(NUMBER)
    columns_of_machines = (
        p.machine_shop, p.machine_free, p.machine_family, p.machine_matrix,
        p.attended, p.run_calendar, p.home_calendar, p.staff_calendar,
        p.machine_curve if len(p.machine_curve) else np.full_like(p.machine_shop, -1),
        *(p.machine_hands.T if len(p.machine_hands) else np.zeros((2, p.machines), np.int32)),
    )  # fmt: skip
    mach: Ints = np.column_stack(columns_of_machines).astype(NUMBER)
    cal, hint = _calendars(p)
    return Core(
        ops,
        p.elig_machine.astype(NUMBER, copy=False),
        p.elig_ticks.astype(NUMBER, copy=False),
        more,
        mach,
        p.setup.astype(NUMBER),
        p.legs.astype(NUMBER),
        p.delivery.astype(NUMBER),
        p.pressure.copy(),
        cal,
        hint,
        np.concatenate([p.preds, p.succs]).astype(NUMBER),
        np.array([p.first_setup, p.setup_cost, p.leg_cost, p.bucket, 0, 0], np.int64),
        p.carbon,
    )


def _calendars(p: Problem) -> tuple[Ints, Ints]:
    """Windows with a closing row after each calendar, and the hint table moved along."""
    count = len(p.cal_ptr) - 1
    rows: list[NDArray[np.int32]] = []
    for c in range(count):
        low, high = p.cal_ptr[c], p.cal_ptr[c + 1]
        rows.append(np.column_stack([p.cal_open[low:high], p.cal_shut[low:high]]))
        rows.append(np.array([[NEVER, NEVER]], np.int32))
    cal = np.concatenate(rows) if rows else np.full((1, 2), NEVER, np.int32)
    hint = p.cal_hint + np.arange(len(p.cal_hint))[:, None]
    return cal.astype(NUMBER), hint.astype(NUMBER)


def empty_schedule(core: Core, capacity: int | None = None) -> Schedule:
    """Nothing placed. `capacity` is the longest sequence a machine can hold."""
    n, m = len(core.ops), max(1, len(core.mach))
    if capacity is None:
        capacity = min(n + 1, max(64, 12 * n // m + 32)) + 1
    at = np.zeros((n, 9), NUMBER)
    at[:, [MACHINE, POS, CHOICE]] = -1
    return Schedule(np.full((m, capacity), -1, NUMBER), np.zeros(m, NUMBER), at)


def copy_schedule(schedule: Schedule) -> Schedule:
    """An independent copy."""
    return Schedule(schedule.seq.copy(), schedule.length.copy(), schedule.at.copy())


def restore_schedule(target: Schedule, source: Schedule) -> None:
    """Write `source` into `target`'s own arrays."""
    target.seq[...] = source.seq
    target.length[...] = source.length
    target.at[...] = source.at
